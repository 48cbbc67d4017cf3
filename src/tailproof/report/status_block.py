"""The status block of the page: the worst finding and the checklist, below the headline."""

from typing import Any

from markupsafe import Markup

from tailproof.report.checklist import SIGNS, STATE_WORDS, Criterion, counted
from tailproof.report.finding_cards import Card


def status_block(cards: list[Card], criteria: list[Criterion]) -> dict[str, Any]:
    """Return the values of `status.html.j2`.

    Args:
        cards: the findings, the worst first.
        criteria: the checklist.
    """
    return {
        "wrong": wrong(cards),
        "criteria": [(SIGNS[each.state], STATE_WORDS[each.state], each) for each in criteria],
        "holding": holding(criteria),
        "whole": all(each.state == "holds" for each in criteria),
    }


def wrong(cards: list[Card]) -> Markup:
    """Count errors and warnings and name the worst; empty without any."""
    serious = [card for card in cards if card.severity != "info"]
    if not serious:
        return Markup()
    count = counted([card.severity for card in serious])
    worst = serious[0]
    which = "" if len(serious) == 1 else ", the worst"
    return Markup('<a href="#findings">Findings</a>: {}{} ({}): {}').format(
        count, which, worst.who, worst.title
    )


def holding(criteria: list[Criterion]) -> str:
    """Count the criteria that hold, and name the others."""
    others = [criterion.name for criterion in criteria if criterion.state != "holds"]
    count = f"{len(criteria) - len(others)} of {len(criteria)} hold"
    return f"{count}; not: {', '.join(others)}" if others else count
