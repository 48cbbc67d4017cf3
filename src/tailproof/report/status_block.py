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
        "criteria": [
            (SIGNS[criterion.state], STATE_WORDS[criterion.state], criterion)
            for criterion in criteria
        ],
        "holding": holding(criteria),
        "whole": all(criterion.state == "holds" for criterion in criteria),
    }


def wrong(cards: list[Card]) -> Markup:
    """Return the number of errors and warnings with the worst one; empty if there are none."""
    serious = [card for card in cards if card.severity != "info"]
    if not serious:
        return Markup()
    count = counted([card.severity for card in serious])
    worst = serious[0]
    which = "" if len(serious) == 1 else ". Worst"
    return Markup('<a href="#findings">Findings</a>: {}{} ({}): {}').format(
        count, which, worst.who, worst.title
    )


def holding(criteria: list[Criterion]) -> str:
    """Return how many criteria hold, and the names of the others."""
    others = [criterion.name for criterion in criteria if criterion.state != "holds"]
    kept = len(criteria) - len(others)
    count = f"{kept} of {len(criteria)} {'holds' if kept == 1 else 'hold'}"
    return f"{count}. Failed or open: {', '.join(others)}" if others else count
