"""Says what to do with tables whose labels cannot be read as they are."""

import json
from pathlib import Path, PurePosixPath

from tailproof.data.sources.advised_commands import (
    import_command,
    python_command,
    python_text,
    read_table_code,
)
from tailproof.data.sources.folders.folder_layout import new_table
from tailproof.data.sources.folders.folder_survey import split_kinds
from tailproof.data.sources.tables.column_roles import find_roles
from tailproof.data.sources.tables.picture_table import Table, Tables
from tailproof.text import listed


def describe_fault(root: Path, tables: Tables) -> str:
    """Return why the labels of a table cannot be used, and what to do."""
    kinds = split_kinds([table.path for table in tables.faulty], files=True)
    table = min(tables.faulty, key=lambda table: kinds[table.path] != "train")
    if table.roles.fault:
        return f"{root / table.path}: {table.roles.fault}"
    return f"{root / table.path}: {_describe_one_hot(root, table, tables)}"


def _describe_one_hot(root: Path, table: Table, tables: Tables) -> str:
    """Return the command that makes one column of the columns of 0 and 1."""
    names, written = table.roles.one_hot, new_table(root)
    alike = [
        other
        for other in tables.faulty
        if other.roles.one_hot == names and other.filename == table.filename
    ]
    read = _read_all(root, alike) if len(alike) > 1 else f"t = {read_table_code(root / table.path)}"
    others = [
        other
        for other in [*tables.unlabelled, *tables.labelled]
        if table.filename in other.columns and other.rows == table.rows
    ]
    if others and len(alike) == 1:
        read += (
            f".merge({read_table_code(root / others[0].path)}, on={python_text(table.filename)})"
        )
    code = (
        f'import pandas as p; {read}; t["label"] = t[{json.dumps(names)}].idxmax(axis=1); '
        f"t.to_csv({python_text(written)}, index=False)"
    )
    return (
        f"{len(names)} columns such as {listed([repr(name) for name in names], 3)} mark the class "
        "of each row with a 1, expected one column of labels: write it with "
        f"{python_command(code)} and {import_command(written)}"
    )


def _read_all(root: Path, tables: list[Table]) -> str:
    """Return the code that reads tables of several sets into one, with a column of their splits."""
    places = [PurePosixPath(table.path) for table in tables]
    kinds = split_kinds([place.parent.name or place.stem for place in places])
    sets = [kinds[place.parent.name or place.stem] for place in places]
    if "test" not in sets:
        sets = ["test" if kind == "val" else kind for kind in sets]
    entries = [
        (table.path, "" if table.placement.images == "." else f"{table.placement.images}/", kind)
        for table, kind in zip(tables, sets, strict=True)
    ]
    name = json.dumps(tables[0].filename)
    read = read_table_code(root / tables[0].path, python_text(f"{root}/") + " + f")
    split = ", split=s" if None not in sets else ""
    return (
        f"t = p.concat([{read}.assign(**{{{name}: lambda t, d=d: d + "
        f"t[{name}]}}{split}) for f, d, s in {json.dumps(entries)}])"
    )


def describe_join(root: Path, table: Table, tables: Tables) -> str | None:
    """Return the command that adds the labels of a table that names no pictures; None if none."""
    written = new_table(root)
    for path, columns in tables.others.items():
        labels = find_roles(columns, "").ranks
        keys = [
            name
            for name, column in columns.items()
            if name in table.columns and name not in labels
            if set(table.columns[name].counts) & set(column.counts)
        ]
        if not (labels and keys):
            continue
        read = read_table_code(root / table.path, dtype="str")
        other = read_table_code(root / path, dtype="str")
        code = (
            f"import pandas as p; t = {read}.merge({other}, "
            f"on={json.dumps(keys)}); t.to_csv({python_text(written)}, index=False)"
        )
        return (
            f"it names pictures, and {root / path} seems to have their labels: join them with "
            f"{python_command(code)}, and import the result: {import_command(written)}"
        )
    return None
