"""preflight.md: what the preflight found, for reading."""

from typing import Any

import yaml

from tailproof.number_format import written
from tailproof.preflight.estimate_accuracy import EstimateCheck
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
    found: dict[str, Any],
    probe: dict[str, Any],
    came: list[EstimateCheck] | None = None,
) -> str:
    """Return the page as Markdown.

    Args:
        name: of the experiment.
        found: preflight.json.
        probe: preflight_timing.json.
        came: of each finished run what was estimated and what came.
    """
    experts = dict(list(found["experts"].items())[:SHOWN])
    parts = [
        f"# Preflight of {name}",
        _findings([*probe["findings"], *found["findings"]]),
        _data(found["data"]),
        _learning(experts, len(found["experts"])),
        _losses(experts, found["data"]),
        _normalisation(experts),
        _sizes(experts, probe),
        _times(experts, probe),
        _came(came or []),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _findings(findings: list[dict[str, Any]]) -> str:
    if not findings:
        return "## Findings\n\nNothing found."
    items = []
    for each in findings:
        expects = f" Expected of it: {each['expects']}." if each["expects"] else ""
        item = f"- {SIGNS[each['severity']]} {sentence(each)}.{expects}"
        if each["change"]:
            text = yaml.safe_dump(each["change"], default_flow_style=True, width=10_000).strip()
            item += f"\n\n      recipe: {text}"
        items.append(item)
    return "## Findings\n\n" + "\n".join(items)


def _data(data: dict[str, Any]) -> str:
    (head, most), (tail, least) = (*data["head"].items(), *data["tail"].items())
    rare = len(data["rare_classes"])
    return (
        f"## Data\n\n{data['samples']:,} training samples of {data['classes']} classes, "
        f"{most:,} of {head} to {least:,} of {tail}: imbalance {data['imbalance']:.3g}. "
        f"{quantity(rare, 'class has', 'classes have')} fewer than {FEW}. {data['val_samples']:,} "
        "samples in val."
    )


def _learning(experts: dict[str, Any], all_of_them: int) -> str:
    rows, rates = [], []
    for name, each in experts.items():
        batches = ", ".join(
            f"{phase['batches_an_epoch']} of {phase['batch_size']}" for phase in each["phases"]
        )
        steps, epochs = each["warmup"]["steps"], each["warmup"]["epochs"]
        warm = f"{epochs:.2g} epochs, {steps} steps" if steps else "–"
        rows.append([name, each["epochs"], batches, f"{each['updates']:,}", warm])
        told = ", ".join(
            f"{rate['learning_rate']:.2g} at epoch {rate['epoch']}"
            for rate in each["learning_rates"]
        )
        rates.append([name, f"{each['schedule']}, {told}{_resolved(each)}"])
    more = f"\n\n{all_of_them - SHOWN} more are in preflight.json." if all_of_them > SHOWN else ""
    header = ["expert", "epochs", "batches an epoch", "updates", "warm-up"]
    return f"## Learning\n\n{_table(header, rows)}\n\n{_list(rates)}{more}"


def _resolved(expert: dict[str, Any]) -> str:
    least = expert["resolved_on_val"]
    told = "" if least is None else f", of which val resolves {100 * least:.1f} points"
    return f"; monitored by {expert['monitor']}{told}"


def _losses(experts: dict[str, Any], data: dict[str, Any]) -> str:
    head, tail = next(iter(data["head"])), next(iter(data["tail"]))
    rows = [
        [
            name,
            *(
                f"{each['losses'][kind][of]:.2f}"
                for kind in ("zero", "random")
                for of in (head, tail)
            ),
        ]
        for name, each in experts.items()
    ]
    header = ["expert", "head, logits 0", "tail, logits 0", "head, random", "tail, random"]
    return (
        f"## Losses\n\nOf a sample of the head ({head}) and of the tail ({tail}), untrained.\n\n"
        + (_table(header, rows))
    )


def _normalisation(experts: dict[str, Any]) -> str:
    lines = []
    for name, each in experts.items():
        own = each["normalisation"]
        told = own["source"]
        if own["mean"] is not None:
            told += f", mean {_numbers(own['mean'])}, std {_numbers(own['std'])}"
        lines.append([name, told])
    return f"## Normalisation\n\nThe same at training and at evaluation.\n\n{_list(lines)}"


def _sizes(experts: dict[str, Any], probe: dict[str, Any]) -> str:
    keys = ("parameters", "weights_mb", "estimated_memory_mb", "checkpoints_mb", "logits_mb")
    rows, requests = [], []
    for name, each in experts.items():
        rows.append([name, *(f"{each[key]:,}" if key in each else "–" for key in keys)])
        asked = with_measurements(each["request"], probe["experts"].get(name, {}))
        nodes, gpus = quantity(asked["nodes"], "node"), quantity(asked["gpus"], "GPU")
        cores = quantity(asked["cores_a_node"], "core")
        told = f"{nodes} with {cores} and {asked['memory_mb_a_node']:,} MB each, {gpus}, "
        requests.append([name, f"{told}{asked['minutes']} minutes"])
    header = ["expert", "parameters", "weights", "training", "checkpoints", "logits"]
    return (
        "## Sizes\n\nIn MB; training is the memory for weights, gradients, the optimizer and what "
        f"the backward pass needs.\n\n{_table(header, rows)}\n\n"
        f"What a run asks Slurm for at its first attempt, unless slurm/config.yaml says "
        f"otherwise:\n\n{_list(requests)}"
    )


def _times(experts: dict[str, Any], probe: dict[str, Any]) -> str:
    rows = []
    for name in experts:
        own = probe["experts"][name]
        if "failed" in own:
            rows.append([name, "failed", "–", "–", "–"])
            continue
        each = ", ".join(_seconds(seconds) for seconds in own["epoch"])
        steps = ", ".join(f"{1000 * seconds:.3g} ms" for seconds in own["step"])
        rows.append([name, steps, each, _seconds(own["run"]), f"{own['peak_memory_mb']:,.0f}"])
    header = ["expert", "step", "epoch", "run of one seed", "peak memory, MB"]
    return f"## Time\n\nA few steps on {probe['device']}.\n\n" + _table(header, rows)


def _came(came: list[EstimateCheck]) -> str:
    if not came:
        return ""
    names = list(dict.fromkeys(name for each in came for name in (*each.seconds, *each.megabytes)))
    rows = [
        [run_name(each), *(", ".join(came_cells(each).get(name, ("–",))) for name in names)]
        for each in came
    ]
    return "## What came\n\nEstimated → came, and the error of the estimate.\n\n" + _table(
        ["run", *(WHAT[name] for name in names)], rows
    )


def run_name(came: EstimateCheck) -> str:
    """Return whose run it is, and what keeps it from being compared fairly."""
    notes = []
    if came.epochs < came.planned:
        notes.append(f"{came.epochs} of {came.planned} epochs")
    if came.resumed:
        notes.append(f"taken up again in epoch {', '.join(map(str, came.resumed))}")
    if came.afterwards:
        notes.append("estimated afterwards")
    name = f"{came.expert}, seed {came.seed}"
    return f"{name} ({'; '.join(notes)})" if notes else name


def came_cells(came: EstimateCheck) -> dict[str, tuple[str, str]]:
    """Return by name what was estimated and what came, and the error, as texts."""
    pairs = [
        *((name, pair, _seconds) for name, pair in came.seconds.items()),
        *((name, pair, _megabytes) for name, pair in came.megabytes.items()),
    ]
    return {
        name: (f"{write(estimated)} → {write(true)}", f"{written(estimated / true - 1, '+%.0')} %")
        for name, (estimated, true), write in pairs
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
    return "\n".join(f"- {names}: {told}" for names, told in _together(rows))


def _table(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *_together(rows)]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _together(rows: list[list[Any]]) -> list[list[Any]]:
    """Return the rows, those that differ in nothing but their name as one."""
    names: dict[tuple[Any, ...], list[str]] = {}
    for name, *cells in rows:
        names.setdefault(tuple(cells), []).append(name)
    return [[", ".join(those), *cells] for cells, those in names.items()]
