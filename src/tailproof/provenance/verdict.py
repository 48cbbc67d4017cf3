"""What an audit says of each artefact."""

from dataclasses import dataclass
from typing import Literal

State = Literal["proven", "stale", "altered", "orphan", "missing"]


@dataclass(frozen=True)
class CodeChange:
    """That a file is stale by code only: inputs and parameters are as its record says.

    Attributes:
        made_by: the version of tailproof that made it.
        now: the version of tailproof that audits; the same one where its code was edited since.
    """

    made_by: str
    now: str

    def __str__(self) -> str:
        now = "edited" if self.made_by == self.now else f"now {self.now}"
        return f"stale by code only, since version {self.made_by} ({now})"


@dataclass(frozen=True)
class Verdict:
    """One artefact.

    Attributes:
        state: ``proven``, its bytes are on record and everything before it still holds; ``stale``,
            what it was made from or by has changed; ``altered``, its bytes are not those on
            record; ``orphan``, no record has it; ``missing``, it is on record or due, and not
            there.
        why: in a sentence; empty for what is proven.
        after: the artefact that this one is wrong because of, where it is not wrong by itself.
        code_only: of a stale one, that nothing but code changed: its own, or that of what it was
            made from.
    """

    path: str
    state: State
    why: str = ""
    after: str = ""
    code_only: CodeChange | None = None
