"""The page's short account of what is wrong and what holds, right below its answer."""

from typing import Any

from markupsafe import Markup

from tailproof.report.checklist import Criterion, counted
from tailproof.report.finding_cards import Card

SIGNS = {"holds": "✓", "fails": "✗", "open": "○"}
WORDS = {"holds": "holds", "fails": "does not hold", "open": "open"}


def outcome(cards: list[Card], criteria: list[Criterion]) -> dict[str, Any]:
    """Return what `outcome.html.j2` shows.

    Args:
        cards: the findings, the worst first.
        criteria: what must hold.
    """
    return {
        "wrong": wrong(cards),
        "criteria": [(SIGNS[each.state], WORDS[each.state], each) for each in criteria],
        "holding": holding(criteria),
        "whole": all(each.state == "holds" for each in criteria),
    }


def wrong(cards: list[Card]) -> Markup:
    """Say how many errors and warnings there are and which is the worst; nothing where none is."""
    serious = [card for card in cards if card.severity != "info"]
    if not serious:
        return Markup()
    count = counted([card.severity for card in serious])
    worst = serious[0]
    which = "" if len(serious) == 1 else ", the worst"
    return Markup('<a href="#findings">What the runs say</a>: {}{} of {}: {}').format(
        count, which, worst.who, worst.title
    )


def holding(criteria: list[Criterion]) -> str:
    """Write how many criteria hold, and which do not."""
    others = [each.name for each in criteria if each.state != "holds"]
    told = f"{len(criteria) - len(others)} of {len(criteria)} hold"
    return f"{told}; not: {', '.join(others)}" if others else told
