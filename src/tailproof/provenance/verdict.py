"""The verdict of an audit on one artefact."""

from dataclasses import dataclass
from typing import Literal

State = Literal["proven", "stale", "altered", "orphan", "missing"]


@dataclass(frozen=True)
class CodeChange:
    """Marks a file as stale by code only: its inputs and parameters match its record.

    Attributes:
        made_by: version of tailproof that made the file.
        now: version of tailproof that audits; equal to `made_by` if the code was edited since.
    """

    made_by: str
    now: str

    def __str__(self) -> str:
        now = "edited" if self.made_by == self.now else f"now {self.now}"
        return f"stale by code only, since version {self.made_by} ({now})"


@dataclass(frozen=True)
class Verdict:
    """The state of one artefact.

    Attributes:
        state: ``proven``: its bytes match its record and everything upstream still holds.
            ``stale``: its inputs, parameters or code have changed. ``altered``: its bytes differ
            from its record. ``orphan``: no record lists it. ``missing``: it is recorded or
            expected, but does not exist.
        why: the reason, in a sentence; empty for a proven artefact.
        after: the artefact that causes this verdict, if the cause lies upstream.
        code_only: set for a stale artefact if only code changed, its own or upstream.
    """

    path: str
    state: State
    why: str = ""
    after: str = ""
    code_only: CodeChange | None = None
