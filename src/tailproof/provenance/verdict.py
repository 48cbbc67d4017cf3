"""What an audit says of each artefact."""

from dataclasses import dataclass
from typing import Literal

State = Literal["proven", "stale", "altered", "orphan", "missing"]


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
    """

    path: str
    state: State
    why: str = ""
    after: str = ""
