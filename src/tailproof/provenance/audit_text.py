"""An audit as lines for a terminal: each cause, and below it what depends on it."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from tailproof.provenance.audit import Audit
from tailproof.provenance.verdict import Verdict

SENTENCES = 10

COLOURS = {
    "proven": "green",
    "stale": "yellow",
    "altered": "red",
    "orphan": "magenta",
    "missing": "red",
}


def print_audit(found: Audit, console: Console) -> None:
    """Print causes with their consequences, then broken promises, notes and the counts."""
    for line in _lines(found):
        console.print(line, soft_wrap=True, highlight=False)


def _lines(found: Audit) -> Iterator[Text]:
    causes = [verdict for verdict in found.wrong if not verdict.after]
    known = {verdict.path for verdict in causes}
    for cause in causes:
        yield _line(cause)
        yield from _consequences(found, cause.path)
    elsewhere = {verdict.after for verdict in found.wrong if verdict.after} - known
    for path in sorted(elsewhere):
        yield Text.assemble(("changed   ", "yellow"), path)
        yield from _consequences(found, path)
    for sentence in found.broken[:SENTENCES]:
        yield Text.assemble(("broken    ", "red"), sentence)
    if len(found.broken) > SENTENCES:
        yield Text.assemble(("broken    ", "red"), f"and {len(found.broken) - SENTENCES} more")
    for sentence in found.notes:
        yield Text.assemble(("note      ", "cyan"), sentence)
    if any(verdict.state in ("altered", "missing") for verdict in causes):
        remedy = f"`tailproof restore {found.experiment}` and snakemake make it again"
        yield Text.assemble(("note      ", "cyan"), remedy)
    if old := sum(verdict.code_only is not None for verdict in found.wrong):
        remedy = f"{old} are stale by code only: keep them with their commit, or run snakemake"
        yield Text.assemble(("note      ", "cyan"), remedy)
    counted = [f"{count} {state}" for state, count in found.counts().items() if count]
    holds = "holds" if found.passed else "does not hold"
    colour = "green" if found.passed else "red"
    yield Text.assemble((f"{found.experiment} {holds}", f"bold {colour}"), ": ", ", ".join(counted))


def _line(verdict: Verdict) -> Text:
    state = (f"{verdict.state:<10}", COLOURS[verdict.state])
    return Text.assemble(state, verdict.path, (f"  {verdict.why}", "dim"))


def _consequences(found: Audit, path: str) -> Iterator[Text]:
    after = [verdict.path for verdict in found.wrong if verdict.after == path]
    if after:
        yield Text(f"          {len(after)} depend on it:")
        yield from (Text(f"            {name}") for name in after)
