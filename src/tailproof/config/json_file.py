"""The base of models of JSON files that are shared, and that a stranger may have written."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import ValidationError

from tailproof.config.base import Strict
from tailproof.config.messages import explain_errors
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import read_json

LARGEST = 16 * 2**20  # bytes: the names of 100,000 classes


class JsonFile(Strict):
    """The content of a JSON file in the folder of an expert.

    Attributes:
        largest: the largest number of bytes that are read.
    """

    largest: ClassVar[int] = LARGEST

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read and validate the file.

        Raises:
            TailproofError: the file is missing, not JSON, or a field is missing, unknown or wrong.
        """
        value = read_json(path, limit=cls.largest)
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise _damaged(path, explain_errors(error, cls)) from None


def _damaged(path: str | Path, sentences: list[str]) -> TailproofError:
    more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
    return TailproofError(
        f"{path}: {sentences[0]}{more}: copy the folder again, or make it again with this version "
        "of Tailproof"
    )
