"""A rich console for text that others wrote."""

from collections.abc import Iterator
from typing import Any

import rich.console
import rich.markup
from rich.segment import Segment

from tailproof.untrusted_text import printable


class Console(rich.console.Console):
    """A console that prints control characters of text as escapes."""

    def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
        """Return the segments of a renderable."""
        for segment in super().render(*arguments, **options):
            text = segment.text
            if not segment.control and not text.isprintable():
                text = "\n".join(map(printable, text.split("\n")))
            yield segment._replace(text=text)


def escape(text: object) -> str:
    """Return text on one line, to be shown as it is within rich's markup."""
    return rich.markup.escape(printable(text))
