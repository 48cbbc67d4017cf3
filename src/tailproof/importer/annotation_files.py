"""Recognizes files of labels that no source reads, and says how to write them as a table."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tailproof.data.sources.advised_commands import import_command, python_command, python_text
from tailproof.data.sources.folders.class_folders import is_picture
from tailproof.data.sources.folders.folder_layout import new_table, quoted
from tailproof.data.sources.folders.split_files import files_near
from tailproof.data.sources.folders.split_names import are_splits
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity
from tailproof.untrusted_files import open_regular, read_json

LARGEST = 64 * 2**20  # bytes of a JSON file
LOOKED_AT = 20  # entries of a file
FILES = 50  # files that are looked at
HEAD = 2**16  # bytes by which a file of XML or JSON lines is recognized
WRITTEN = "\0"
"""Stands for the table in code."""

ENTRIES = 3  # numbers in the entry of a picture: place, label, name

TOOLS = {
    ("shapes", "imagePath"): "annotations of LabelMe",
    ("_via_img_metadata",): "a project of VIA",
    ("item", "annotations", "version"): "annotations of V7 Darwin",
    ("imgMetadata",): "annotations of Supervisely",
}
"""The keys by which files of annotation tools are known."""

EXPORT = (
    "a form that is not read: export it as COCO JSON, which most tools write, or write a table "
    "with the columns filename"
)


def describe_annotations(path: Path) -> str | None:
    """Return what a file of labels in a folder is, and how to read it; None without one."""
    folder = path if path.is_dir() else path.parent
    suffixes = (".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml")
    near = [path] if path.is_file() else files_near(folder, suffixes)[:FILES]
    for file in near:
        if text := _describe_file(file, folder):
            return text
    return None


def _describe_file(file: Path, folder: Path) -> str | None:
    suffix = file.suffix.lower()
    try:
        if suffix in (".jsonl", ".ndjson"):
            lines = _head(file).splitlines()[:LOOKED_AT]
            entries = [json.loads(line) for line in lines if line.endswith("}")]
            return _describe_records(file, entries, ", lines=True")
        if suffix == ".xml":
            return _describe_xml(file)
        if suffix in (".yaml", ".yml"):
            return _describe_yolo(file, folder)
        if suffix == ".json":
            return _describe_json(file, read_json(file, limit=LARGEST))
    except (TailproofError, ValueError):
        return None
    return None


def _head(file: Path) -> str:
    with open_regular(file) as content:
        return content.read(HEAD).decode("utf-8-sig", "replace")


def _describe_json(file: Path, value: Any) -> str | None:
    if isinstance(value, list):
        entries = [entry for entry in value if isinstance(entry, dict)]
        if entries and all({"annotations", "data"} <= entry.keys() for entry in entries):
            return _describe_label_studio(file, len(entries))
        return _describe_records(file, entries)
    return _describe_mapping(file, value) if isinstance(value, dict) and value else None


def _describe_mapping(file: Path, value: dict[str, Any]) -> str | None:
    for keys, kind in TOOLS.items():
        if all(key in value for key in keys):
            return f"{file} has {kind}, {EXPORT} and label"
    if all(isinstance(each, dict) and {"filename", "regions"} <= each.keys() for each in
           value.values()):  # fmt: skip
        return f"{file} has annotations of VIA, {EXPORT} and label"
    if all(is_picture(name) and isinstance(label, str | int) for name, label in value.items()):
        code = (
            f"p.Series(json.load(open({python_text(file)})), "
            f'name="label").rename_axis("filename").to_csv({WRITTEN})'
        )
        return _describe(file, f"a label for each of {quantity(len(value), 'picture')}", code)
    if are_splits(value) and all(map(_is_split, value.values())):
        code = (
            "p.DataFrame([[e[0], e[-1], s] for s, l in "
            f"json.load(open({python_text(file)})).items() "
            'for e in l], columns=["filename", "label", "split"])'
            f".to_csv({WRITTEN}, index=False)"
        )
        return _describe(file, f"the sets {quoted(value)}", code)
    return None


def _is_split(value: Any) -> bool:
    """Return whether a value lists pictures with their labels, as [a.jpg, 3, cat]."""
    return isinstance(value, list) and all(
        isinstance(entry, list)
        and 1 < len(entry) <= ENTRIES
        and isinstance(entry[0], str)
        and is_picture(entry[0])
        for entry in value[:LOOKED_AT]
    )


def _describe_records(file: Path, entries: list[Any], options: str = "") -> str | None:
    """Describe a list of objects, of which a field names pictures and another may be the label."""
    shown = [entry for entry in entries[:LOOKED_AT] if isinstance(entry, dict)]
    if not shown or len(shown) < len(entries[:LOOKED_AT]):
        return None
    fields = [
        name
        for name in shown[0]
        if all(isinstance(entry.get(name), str | int | float) for entry in shown)
    ]
    names = [name for name in fields if all(is_picture(str(entry[name])) for entry in shown)]
    if not names or len(fields) < 2:
        return None
    columns = json.dumps(fields)
    read = f"p.read_json({python_text(file)}, dtype=False{options})"
    code = f"{read}[{columns}].to_csv({WRITTEN}, index=False)"
    return _describe(file, f"an object for each picture, with the fields {quoted(fields)}", code)


def _describe_label_studio(file: Path, count: int) -> str:
    code = (
        'p.DataFrame([{"filename": next(v for v in t["data"].values() if isinstance(v, str))'
        '.split("/")[-1], "label": "|".join(c for r in t["annotations"][0]["result"] for c in '
        'r["value"].get("choices", []))} for t in json.load(open('
        + python_text(file)
        + f')) if t["annotations"]]).to_csv({WRITTEN}, index=False)'
    )
    return _describe(file, f"{quantity(count, 'task')} of Label Studio", code)


def _describe_xml(file: Path) -> str | None:
    text = _head(file)
    if "<annotations>" in text and re.search(r"<image [^>]*name=", text) and "<tag " in text:
        code = (
            'p.DataFrame([(i.get("name"), i.find("tag").get("label")) for i in ElementTree.'
            f'parse({python_text(file)}).iter("image") if i.find("tag") is not None], '
            f'columns=["filename", "label"]).to_csv({WRITTEN}, index=False)'
        )
        return _describe(
            file, "tags of pictures by CVAT", code, "from xml.etree import ElementTree"
        )
    if "<annotation" in text and "<object" in text:
        return f"{file} has annotations of Pascal VOC, {EXPORT} and label"
    return None


def _describe_yolo(file: Path, folder: Path) -> str | None:
    text = _head(file)
    is_yolo = re.search(r"^names\s*:", text, re.MULTILINE) and re.search(
        r"^train\s*:", text, re.MULTILINE
    )
    labels = next(_label_files(folder), None) if is_yolo else None
    if labels is None:
        return None
    return f"{file} and {labels} are boxes of YOLO, {EXPORT}, label, x, y, w and h"


def _label_files(folder: Path) -> Iterator[Path]:
    """Yield text files in folders called labels."""
    for pattern in ("labels/*.txt", "*/labels/*.txt", "labels/*/*.txt", "*/*/labels/*.txt"):
        yield from folder.glob(pattern)


def _describe(file: Path, what: str, code: str, start: str = "import json") -> str:
    """Return the sentence with the command that writes a table."""
    written = new_table(file.parent)
    code = f"{start}; import pandas as p; {code.replace(WRITTEN, python_text(written))}"
    return (
        f"{file} has {what}; labels are read from a table: write it with "
        f"{python_command(code)}, and import it: {import_command(written)}"
    )
