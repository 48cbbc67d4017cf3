"""Names the files that people have labels or pictures in, and that are not read."""

from collections.abc import Iterable
from pathlib import PurePosixPath

NO_LABELS = (
    "a table in which pictures with two or more labels were not found: below a header, write their "
    "paths, relative to this folder, into one column and their labels into another"
)
FOREIGN = {
    ".xlsx": "an Excel workbook: save its sheet as 'CSV UTF-8'",
    ".xls": "an Excel workbook: save its sheet as 'CSV UTF-8'",
    ".ods": "a spreadsheet: save its sheet as CSV",
    ".mat": "a MATLAB file: write file names and labels to a CSV table with the columns filename "
    "and label (scipy.io.loadmat reads it)",
    ".xml": "annotations, which are not read: write file names and labels to a CSV table",
    ".npy": "an array of numpy: pictures are read from files of pictures, arrays from parquet",
    ".arrow": "an Arrow file of Hugging Face datasets: write it as parquet "
    "(datasets.load_from_disk(FOLDER).to_parquet(FILE))",
    ".npz": "an array of numpy: write its pictures as PNG, one folder per class",
    ".h5": "an HDF5 file: write its pictures as PNG, one folder per class",
    ".hdf5": "an HDF5 file: write its pictures as PNG, one folder per class",
    ".tfrecord": "a TFRecord, which is not read: write its pictures to files or to parquet",
    ".lmdb": "an LMDB database, which is not read: write its pictures to files or to parquet",
    ".mdb": "an LMDB database, which is not read: write its pictures to files or to parquet",
    ".dcm": "DICOM, which is not read: convert it to PNG, with the same scale for all pictures",
    ".nii": "NIfTI, which is not read: convert its slices to PNG, the same way for all",
    ".gif": "a GIF, which is not read: convert it to PNG",
    ".mp4": "a video: write its frames as pictures, and keep those of one video in one group",
    ".avi": "a video: write its frames as pictures, and keep those of one video in one group",
    ".mov": "a video: write its frames as pictures, and keep those of one video in one group",
    ".pkl": "a pickle, which can run code and is not read: write its pictures as PNG",
    ".pth": "PyTorch data, which are not read: write the pictures as PNG",
    ".pt": "PyTorch data, which are not read: write the pictures as PNG",
    ".jsonl": "JSON that no source recognises: write file names and labels to a CSV table",
    ".json": "JSON that no source recognises: write file names and labels to a CSV table",
    ".csv": NO_LABELS,
    ".tsv": NO_LABELS,
}
"""What a file is by its suffix, and what to do; the likeliest to hold labels first."""


def describe_foreign(files: Iterable[str]) -> str | None:
    """Return what the likeliest of these files is, and what to do; None if there is none."""
    places = {suffix: place for place, suffix in enumerate(FOREIGN)}
    found = [file for file in files if PurePosixPath(file).suffix.lower() in places]
    if not found:
        return None
    file = min(found, key=lambda file: places[PurePosixPath(file).suffix.lower()])
    return f"'{file}' is {FOREIGN[PurePosixPath(file).suffix.lower()]}"
