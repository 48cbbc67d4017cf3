"""Reads anybody's training history: files in, one `RunHistory` per run and what was understood.

`files` turns a file into rows with its own names, `columns` and `units` decide what each column is,
`epochs` merges the rows of an epoch, and `reading` puts this together.
"""

from tailproof.diagnosis.readers.histories import Reading, read_histories, read_history

__all__ = ["Reading", "read_histories", "read_history"]
