"""Names the kinds of files with labels or pictures that are not read, and says what to do."""

from collections.abc import Iterable
from pathlib import PurePosixPath

NO_LABELS = (
    "a table without pictures of at least two classes: add a header, and write the paths of the "
    "pictures, relative to this folder, into one column and their labels into another"
)
FOREIGN = {
    ".xlsx": "an Excel workbook: save its sheet as 'CSV UTF-8'",
    ".xls": "an Excel workbook: save its sheet as 'CSV UTF-8'",
    ".ods": "a spreadsheet: save its sheet as CSV",
    ".mat": "a MATLAB file: write file names and labels to a CSV table with the columns filename "
    "and label, and pictures in it as PNG (scipy.io.loadmat reads it; h5py, if its version is 7.3)",
    ".xml": "annotations, which are not read: write file names and labels to a CSV table",
    ".npy": "a NumPy array, which is not read: save its pictures as PNG, or its arrays as parquet",
    ".arrow": "an Arrow file of Hugging Face datasets: write each one as parquet "
    "(datasets.Dataset.from_file('X.arrow').to_parquet('X.parquet'))",
    ".npz": "a NumPy archive: write its pictures as PNG, one folder per class",
    ".h5": "an HDF5 file: write its pictures as PNG, one folder per class",
    ".hdf5": "an HDF5 file: write its pictures as PNG, one folder per class",
    ".tfrecord": "a TFRecord, which is not read: write its pictures to files or to parquet",
    ".lmdb": "an LMDB database, which is not read: write its pictures to files or to parquet",
    ".mdb": "an LMDB database, which is not read: write its pictures to files or to parquet",
    ".dcm": "DICOM, which is not read: convert it to PNG, with the same scale for all pictures",
    ".nii": "NIfTI, which is not read: convert its slices to PNG, the same way for all",
    ".mp4": "a video: write its frames as pictures, and keep those of one video in one group",
    ".avi": "a video: write its frames as pictures, and keep those of one video in one group",
    ".mov": "a video: write its frames as pictures, and keep those of one video in one group",
    ".pkl": "a pickle, which can run code and is not read: write its pictures as PNG",
    ".pth": "PyTorch data, which are not read: write the pictures as PNG",
    ".pt": "PyTorch data, which are not read: write the pictures as PNG",
    ".jsonl": "JSON that no source recognizes: write file names and labels to a CSV table",
    ".json": "JSON that no source recognizes: write file names and labels to a CSV table",
    ".csv": NO_LABELS,
    ".tsv": NO_LABELS,
}
"""What a file is by its suffix, and what to do; the likeliest to hold labels first."""

_CONVERT = (
    "which is not read: convert all of them to PNG, for example with `mogrify -format png FILES`"
)
_RAW = (
    "a camera raw picture, which is not read: convert all of them to JPEG or PNG with the same "
    "settings"
)
_SLIDE = (
    "a microscope slide, which is not read: cut it into tiles, and keep the tiles of one slide "
    "in one group"
)

UNREAD = {
    ".gif": f"a GIF, {_CONVERT}",
    ".svg": "an SVG drawing, which is not read: render all of them as PNG of one size",
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), f"a netpbm picture, {_CONVERT}"),
    **dict.fromkeys((".jp2", ".j2k", ".jpx"), f"a JPEG 2000 picture, {_CONVERT}"),
    ".jxl": "a JPEG XL picture, which is not read: convert all of them to PNG with djxl",
    **dict.fromkeys((".tga", ".psd", ".ico", ".xcf", ".pcx"), f"a picture, {_CONVERT}"),
    **dict.fromkeys(
        (".exr", ".hdr", ".fits", ".fit", ".fts"),
        "a picture with floating-point values, which is not read: convert all of them to 8-bit "
        "PNG with the same scale",
    ),
    **dict.fromkeys(
        (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"), _RAW
    ),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".scn"), _SLIDE),
    **{suffix: FOREIGN[suffix] for suffix in (".dcm", ".nii", ".npy", ".mp4", ".avi", ".mov")},
}
"""Formats of pictures that are not read, and what to do."""


def describe_foreign(files: Iterable[str]) -> str | None:
    """Return what the likeliest of these files is, and what to do; None if there is none."""
    places = {suffix: place for place, suffix in enumerate(FOREIGN)}
    found = [file for file in files if PurePosixPath(file).suffix.lower() in places]
    if not found:
        return None
    file = min(found, key=lambda file: places[PurePosixPath(file).suffix.lower()])
    return f"'{file}' is {FOREIGN[PurePosixPath(file).suffix.lower()]}"


def describe_unread(files: Iterable[str]) -> str | None:
    """Return the kind of pictures that are not read, if many of the files are such, with advice."""
    files = list(files)
    unread = [file for file in files if PurePosixPath(file).suffix.lower() in UNREAD]
    if 3 * len(unread) < len(files) or not unread:
        return None
    return f"'{unread[0]}' is {UNREAD[PurePosixPath(unread[0]).suffix.lower()]}"
