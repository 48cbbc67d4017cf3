"""Refuses to read file names in another encoding than UTF-8.

Names of files are names of classes and samples. In a locale such as ``en_US`` or ``ja_JP.SJIS``,
Python would read other letters from the same folder, and the same images would give other results.
"""

import codecs
import sys

from tailproof.runtime.errors import TailproofError


def require_utf8() -> None:
    """Check that Python reads file names as UTF-8.

    Raises:
        TailproofError: it does not.
    """
    encoding = sys.getfilesystemencoding()
    if codecs.lookup(encoding).name != "utf-8":
        raise TailproofError(
            f"Python reads the names of files as {encoding}, which the locale sets, expected "
            "UTF-8: set PYTHONUTF8=1, or a locale such as LC_ALL=C.UTF-8"
        )
