"""The commands that messages advise: one writes a table of labels, another imports it."""

import json
import shlex
from pathlib import Path

from tailproof.data.sources.tables.text_table import TextTable, find_encoding
from tailproof.untrusted_files import read_bytes


def python_command(code: str) -> str:
    """Return the command that runs code of Python, as messages show commands."""
    return f"`python -c {shlex.quote(code)}`"


def import_command(path: Path) -> str:
    """Return the command that imports a file or folder, as messages show commands."""
    return f"`tailproof import {shlex.quote(str(path))}`"


def python_text(text: str | Path) -> str:
    """Return a text as it is written in Python, in double quotes."""
    return json.dumps(str(text), ensure_ascii=False)


def read_table_code(file: Path, path: str | None = None, **options: str) -> str:
    """Return the code that reads a table of text with pandas, imported as `p`.

    Args:
        file: the table, which decides the separator, the encoding and the line of the header.
        path: the code of its path. Default: the path as a text.
        options: further arguments of `read_csv`, as code.
    """
    encoding = find_encoding(read_bytes(file, limit=file.stat().st_size))
    table = TextTable(file, [], encoding)
    arguments = {"skipinitialspace": "True"} | options
    if table.separator != ",":
        arguments["sep"] = python_text(table.separator)
    if table.encoding != "utf-8-sig":
        arguments["encoding"] = python_text(table.encoding)
    if table.start:
        arguments["skiprows"] = str(table.start)
    code = "".join(f", {name}={value}" for name, value in arguments.items())
    return f"p.read_csv({path or python_text(file)}{code})"
