"""preflight.md: the preflight as a page to read."""

from typing import Any

import yaml

from tailproof.number_format import format_number
from tailproof.preflight.estimate_errors import EstimateCheck
from tailproof.preflight.experiment_facts import FEW
from tailproof.preflight.gate import sentence
from tailproof.preflight.slurm_resources import with_measurements
from tailproof.text import quantity

SHOWN = 12  # experts in tables
WHAT = {
    "epoch": "epoch",
    "run": "whole run",
    "memory": "memory",
    "weights": "weights",
    "checkpoints": "checkpoints",
    "logits": "logits",
}
SIGNS = {"error": "**error**", "warning": "**warning**", "info": "info"}


def page(
    name: str,
    summary: dict[str, Any],
    timing: dict[str, Any],
    checks: list[EstimateCheck] | None = None,
) -> str:
    """Return the page as Markdown.

    Args:
        name: the name of the experiment.
        summary: preflight.json.
        timing: preflight_timing.json.
        checks: the estimates and actual values of each finished run.
    """
    experts = dict(list(summary["experts"].items())[:SHOWN])
    parts = [
        f"# Preflight of {name}",
        _findings([*timing["findings"], *summary["findings"]]),
        _data(summary["data"]),
        _learning(experts, len(summary["experts"])),
        _losses(experts, summary["data"]),
        _normalization(experts),
        _sizes(experts, timing),
        _times(experts, timing),
        _estimates(checks or []),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _findings(findings: list[dict[str, Any]]) -> str:
    if not findings:
        return "## Findings\n\nNo findings."
    items = []
    for finding in findings:
        expects = f" Expected effect: {finding['expects']}." if finding["expects"] else ""
        item = f"- {SIGNS[finding['severity']]} {sentence(finding)}.{expects}"
        if finding["change"]:
            text = yaml.safe_dump(finding["change"], default_flow_style=True, width=10_000).strip()
            item += f"\n\n      recipe: {text}"
        items.append(item)
    return "## Findings\n\n" + "\n".join(items)


def _data(data: dict[str, Any]) -> str:
    ((head, most),), ((tail, least),) = data["head"].items(), data["tail"].items()
    rare = len(data["rare_classes"])
    return (
        f"## Data\n\n{data['samples']:,} training samples of {data['classes']} classes, "
        f"{most:,} of {head} to {least:,} of {tail}: imbalance {data['imbalance']:.3g}. "
        f"{quantity(rare, 'class has', 'classes have')} fewer than {FEW}. {data['val_samples']:,} "
        "samples in val."
    )


def _learning(experts: dict[str, Any], total: int) -> str:
    rows, rates = [], []
    for name, expert in experts.items():
        batches = ", ".join(
            f"{phase['batches_an_epoch']} of {phase['batch_size']}" for phase in expert["phases"]
        )
        steps, epochs = expert["warmup"]["steps"], expert["warmup"]["epochs"]
        length = f"{epochs:.2g}"
        warm = f"{length} epoch{'s' * (length != '1')}, {quantity(steps, 'step')}" if steps else "–"
        rows.append([name, expert["epochs"], batches, f"{expert['updates']:,}", warm])
        steps_of_rate = ", ".join(
            f"{rate['learning_rate']:.2g} at epoch {rate['epoch']}"
            for rate in expert["learning_rates"]
        )
        rates.append([name, f"{expert['schedule']}, {steps_of_rate}{_monitor(expert)}"])
    more = f"\n\npreflight.json has {total - SHOWN} more." if total > SHOWN else ""
    header = ["expert", "epochs", "batches per epoch", "updates", "warm-up"]
    return f"## Learning\n\n{_table(header, rows)}\n\n{_list(rates)}{more}"


def _monitor(expert: dict[str, Any]) -> str:
    least = expert["resolved_on_val"]
    resolution = "" if least is None else f" (resolution on val: {100 * least:.1f} points)"
    return f"; monitor: {expert['monitor']}{resolution}"


def _losses(experts: dict[str, Any], data: dict[str, Any]) -> str:
    head, tail = next(iter(data["head"])), next(iter(data["tail"]))
    rows = [
        [
            name,
            *(
                f"{expert['losses'][kind][group]:.2f}"
                for kind in ("zero", "random")
                for group in (head, tail)
            ),
        ]
        for name, expert in experts.items()
    ]
    header = ["expert", "head, zero logits", "tail, zero logits", "head, random", "tail, random"]
    return (
        f"## Losses\n\nThe loss of a sample of the head ({head}) and of the tail ({tail}) before "
        "training.\n\n" + (_table(header, rows))
    )


def _normalization(experts: dict[str, Any]) -> str:
    lines = []
    for name, expert in experts.items():
        values = expert["normalization"]
        text = values["source"]
        if values["mean"] is not None:
            text += f", mean {_numbers(values['mean'])}, std {_numbers(values['std'])}"
        lines.append([name, text])
    return f"## Normalization\n\nThe same in training and in evaluation.\n\n{_list(lines)}"


def _sizes(experts: dict[str, Any], timing: dict[str, Any]) -> str:
    keys = (
        "parameters", "trained_parameters", "weights_mb", "estimated_memory_mb", "checkpoints_mb",
        "logits_mb",
    )  # fmt: skip
    rows, requests = [], []
    for name, expert in experts.items():
        rows.append([name, *(f"{expert[key]:,}" if key in expert else "–" for key in keys)])
        request = with_measurements(expert["request"], timing["experts"].get(name, {}))
        nodes, gpus = quantity(request["nodes"], "node"), quantity(request["gpus"], "GPU")
        cores = quantity(request["cores_a_node"], "core")
        machines = f"{nodes} with {cores} and {request['memory_mb_a_node']:,} MB each, {gpus}, "
        requests.append([name, f"{machines}{request['minutes']} minutes"])
    header = ["expert", "parameters", "trained", "weights", "training", "checkpoints", "logits"]
    return (
        "## Sizes\n\nIn MB. Training is the memory for weights, gradients, optimizer state and the "
        f"activations of the backward pass.\n\n{_table(header, rows)}\n\n"
        f"Slurm resources of the first attempt, unless slurm/config.yaml sets "
        f"others:\n\n{_list(requests)}"
    )


def _times(experts: dict[str, Any], timing: dict[str, Any]) -> str:
    rows = []
    for name in experts:
        times = timing["experts"][name]
        if "failed" in times:
            rows.append([name, "failed", "–", "–", "–"])
            continue
        epochs = ", ".join(_seconds(seconds) for seconds in times["epoch"])
        steps = ", ".join(f"{1000 * seconds:.3g} ms" for seconds in times["step"])
        rows.append(
            [name, steps, epochs, _seconds(times["run"]), f"{times['peak_memory_mb']:,.0f}"]
        )
    header = ["expert", "step", "epoch", "run of one seed", "peak memory, MB"]
    return f"## Time\n\nMeasured in a few steps on {timing['device']}.\n\n" + _table(header, rows)


def _estimates(checks: list[EstimateCheck]) -> str:
    if not checks:
        return ""
    names = list(
        dict.fromkeys(name for check in checks for name in (*check.seconds, *check.megabytes))
    )
    rows = [
        [run_name(check), *(", ".join(estimate_cells(check).get(name, ("–",))) for name in names)]
        for check in checks
    ]
    return "## Estimates\n\nEstimated → actual, and the error of the estimate.\n\n" + _table(
        ["run", *(WHAT[name] for name in names)], rows
    )


def run_name(check: EstimateCheck) -> str:
    """Return the name of a run, with notes on what makes the comparison unfair."""
    notes = []
    if check.epochs < check.planned:
        notes.append(f"{check.epochs} of {check.planned} epochs")
    if check.resumed:
        notes.append(f"resumed in epoch {', '.join(map(str, check.resumed))}")
    if check.afterwards:
        notes.append("estimated afterwards")
    name = f"{check.expert}, seed {check.seed}"
    return f"{name} ({'; '.join(notes)})" if notes else name


def estimate_cells(check: EstimateCheck) -> dict[str, tuple[str, str]]:
    """Return by name estimate and actual value, and the error of the estimate, as texts."""
    pairs = [
        *((name, pair, _seconds) for name, pair in check.seconds.items()),
        *((name, pair, _megabytes) for name, pair in check.megabytes.items()),
    ]
    return {
        name: (
            f"{write(estimated)} → {write(actual)}",
            f"{format_number(estimated / actual - 1, '+%.0')} %",
        )
        for name, (estimated, actual), write in pairs
    }


def _megabytes(size: float) -> str:
    return f"{size:,.0f} MB" if size >= 100 else f"{size:.3g} MB"


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _numbers(values: list[float]) -> str:
    shown = ", ".join(f"{value:.3g}" for value in values[:4])
    return shown + (", …" if len(values) > 4 else "")


def _list(rows: list[list[str]]) -> str:
    return "\n".join(f"- {names}: {text}" for names, text in _merged(rows))


def _table(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *_merged(rows)]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _merged(rows: list[list[Any]]) -> list[list[Any]]:
    """Return the rows; rows that differ only in their name become one."""
    names: dict[tuple[Any, ...], list[str]] = {}
    for name, *cells in rows:
        names.setdefault(tuple(cells), []).append(name)
    return [[", ".join(sharing), *cells] for cells, sharing in names.items()]
