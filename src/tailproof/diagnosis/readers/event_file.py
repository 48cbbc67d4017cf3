"""Reads the scalars of TensorBoard's event files.

An event file is a sequence of records: length, checksum of the length, an `Event` as protocol
buffer, checksum of the event. Checksums are CRC-32C, masked. Of an event only its step and the
scalars of its summary are read.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from tailproof.diagnosis.readers.table import PassedOver, Rows, Table
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import read_bytes

_LARGEST = 2**20
"""Larger records hold images or graphs, not scalars, and are passed over unchecked."""
_STEP, _SUMMARY = 2, 5  # of an Event
_VALUE, _TAG, _SIMPLE, _TENSOR = 1, 1, 2, 8  # of a Summary and its values
_DTYPE, _CONTENT, _FLOATS, _DOUBLES = 1, 4, 5, 6  # of a tensor
_FORMATS = {1: "<f", 2: "<d"}  # by data type
Field = tuple[int, int | bytes]


def is_event_file(path: Path) -> bool:
    """Return whether the name is that of an event file."""
    return ".tfevents." in path.name


def read_event_file(path: Path) -> Table:
    """Return one row per step with the scalars of all tags.

    Raises:
        TailproofError: the file is damaged, or has no scalars.
    """
    steps: dict[int, dict[str, float]] = {}
    passed_over: tuple[PassedOver, ...] = ()
    content = read_bytes(path)
    records = _records(path, content)
    try:
        for record in records:
            if record is None:
                passed_over = (PassedOver("unfinished last records", 1),)
                break
            step, scalars = _scalars(record)
            if scalars:
                steps.setdefault(step, {}).update(scalars)
    except (IndexError, struct.error, UnicodeDecodeError, ValueError):
        raise TailproofError(
            f"{path} is a damaged event file: a record has no valid content; copy it again"
        ) from None
    if not steps:
        raise TailproofError(
            f"{path} is an event file without scalars: wait until the run writes some"
        )
    rows: Rows = [{"step": step, **steps[step]} for step in sorted(steps)]
    return Table(rows, "TensorBoard event file", passed_over=passed_over)


def _records(path: Path, content: bytes) -> Iterator[bytes | None]:
    """Yield the records of a file; None stands for a last one that is not complete yet."""
    position = 0
    while position < len(content):
        header = content[position : position + 12]
        if len(header) < 12:
            yield None
            return
        length, checksum = struct.unpack("<QI", header)
        if _masked_crc(header[:8]) != checksum:
            raise TailproofError(
                f"{path} is not an event file, or is damaged: the checksum at byte {position} is "
                "wrong; copy it again"
            )
        start, end = position + 12, position + 12 + length
        if end + 4 > len(content):
            yield None
            return
        if length <= _LARGEST:
            data = content[start:end]
            if _masked_crc(data) != struct.unpack("<I", content[end : end + 4])[0]:
                raise TailproofError(
                    f"{path} is damaged: the checksum of the record at byte {position} is wrong; "
                    "copy it again"
                )
            yield data
        position = end + 4


def _scalars(event: bytes) -> tuple[int, dict[str, float]]:
    step, scalars = 0, dict[str, float]()
    for number, value in _fields(event):
        if number == _STEP and isinstance(value, int):
            step = value - 2**64 if value >= 2**63 else value
        elif number == _SUMMARY and isinstance(value, bytes):
            for place, entry in _fields(value):
                if place == _VALUE and isinstance(entry, bytes):
                    scalars |= _scalar(entry)
    return step, scalars


def _scalar(entry: bytes) -> dict[str, float]:
    """Return tag and number of one value of a summary; nothing if it is not a scalar."""
    tag, number = "", None
    for place, value in _fields(entry):
        if place == _TAG and isinstance(value, bytes):
            tag = value.decode()
        elif place == _SIMPLE and isinstance(value, bytes) and len(value) == 4:
            number = struct.unpack("<f", value)[0]
        elif place == _TENSOR and isinstance(value, bytes):
            number = _tensor(value)
    is_setting = tag.startswith("hparam/")  # `add_hparams` writes last values next to settings
    return {} if number is None or not tag or is_setting else {tag: number}


def _tensor(tensor: bytes) -> float | None:
    kind, content = 0, b""
    for place, value in _fields(tensor):
        if place == _DTYPE and isinstance(value, int):
            kind = value
        elif place in (_CONTENT, _FLOATS, _DOUBLES) and isinstance(value, bytes):
            content = value
    layout = _FORMATS.get(kind)
    if layout is None or len(content) != struct.calcsize(layout):
        return None
    return struct.unpack(layout, content)[0]


def _fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of a protocol buffer: whole numbers as int, everything else as bytes."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == 2:
            length, position = _varint(message, position)
        else:
            length = {1: 8, 5: 4}.get(wire, -1)
        if length < 0 or position + length > len(message):
            raise ValueError("a field does not fit into its message")
        yield number, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is too long")


def _table_of_crc32c() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC32C = _table_of_crc32c()


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
