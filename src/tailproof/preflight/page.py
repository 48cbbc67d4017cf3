"""preflight.md: what the preflight found, for reading."""

from typing import Any

import yaml

from tailproof.preflight.clearance import sentence

SHOWN = 12  # experts in tables
SIGNS = {"error": "**error**", "warning": "**warning**", "info": "info"}


def page(
    name: str,
    found: dict[str, Any],
    probe: dict[str, Any],
    came: list[dict[str, Any]] | None = None,
) -> str:
    """Return the page as Markdown.

    Args:
        name: of the experiment.
        found: preflight.json.
        probe: preflight_probe.json.
        came: of each finished run what was estimated and what came, as `came.came_true` has it.
    """
    experts = dict(list(found["experts"].items())[:SHOWN])
    parts = [
        f"# Preflight of {name}",
        _findings([*probe["findings"], *found["findings"]]),
        _data(found["data"]),
        _learning(experts, len(found["experts"])),
        _losses(experts, found["data"]),
        _normalisation(experts),
        _sizes(experts),
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
        f"{_count(rare, 'class has', 'classes have')} fewer than 10. {data['val_samples']:,} "
        "samples in val."
    )


def _learning(experts: dict[str, Any], all_of_them: int) -> str:
    rows = []
    for name, each in experts.items():
        batches = ", ".join(
            f"{phase['batches_an_epoch']} of {phase['batch_size']}" for phase in each["phases"]
        )
        rates = ", ".join(
            f"{rate['learning_rate']:.2g} at {rate['epoch']}" for rate in each["learning_rates"]
        )
        warmup = each["warmup"]
        warm = (
            f"{warmup['epochs']:.2g} epochs ({warmup['steps']} steps)" if warmup["steps"] else "–"
        )
        resolved = each["resolved_on_val"]
        told = "–" if resolved is None else f"{100 * resolved:.1f} points"
        rows.append(
            [
                name,
                each["epochs"],
                batches,
                f"{each['updates']:,}",
                warm,
                rates,
                each["monitor"],
                told,
            ]
        )
    header = ["expert", "epochs", "batches an epoch", "updates", "warm-up", "rate at epoch"]
    more = f"\n\n{all_of_them - SHOWN} more are in preflight.json." if all_of_them > SHOWN else ""
    return (
        "## Learning\n\n"
        + _table([*header, "monitor", "least difference that val resolves"], rows)
        + more
    )


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
    kinds: dict[str, list[str]] = {}
    for name, each in experts.items():
        own = each["normalisation"]
        told = own["source"]
        if own["mean"] is not None:
            told += f", mean {_numbers(own['mean'])}, std {_numbers(own['std'])}"
        kinds.setdefault(told, []).append(name)
    lines = [f"- {', '.join(names)}: {told}" for told, names in kinds.items()]
    return "## Normalisation\n\nThe same at training and at evaluation.\n\n" + "\n".join(lines)


def _sizes(experts: dict[str, Any]) -> str:
    rows = []
    for name, each in experts.items():
        asked = each["request"]
        request = (
            f"{asked['nodes']} × {asked['cores_a_node']} cores, "
            f"{asked['memory_mb_a_node']:,} MB, {asked['gpus']} GPU, {asked['minutes']} min"
        )
        sizes = [
            f"{each[key]:,}" if key in each else "–"
            for key in (
                "parameters",
                "weights_mb",
                "estimated_memory_mb",
                "checkpoints_mb",
                "logits_mb",
            )
        ]
        rows.append([name, *sizes, request])
    header = ["expert", "parameters", "weights, MB", "memory to train, MB", "checkpoints, MB"]
    return "## Sizes and what is asked of Slurm\n\n" + _table(
        [*header, "logits, MB", "request of a run"], rows
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


def _came(came: list[dict[str, Any]]) -> str:
    if not came:
        return ""
    rows = [
        [
            f"{each['expert']}, seed {each['seed']}",
            _seconds(each["estimated"]),
            _seconds(each["came"]),
            f"{100 * (each['estimated'] / each['came'] - 1):+.0f} %",
        ]
        for each in came
    ]
    header = ["run", "epoch as estimated", "epoch as it came", "error of the estimate"]
    return "## What came\n\n" + _table(header, rows)


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _numbers(values: list[float]) -> str:
    shown = ", ".join(f"{value:.3g}" for value in values[:4])
    return shown + (", …" if len(values) > 4 else "")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _table(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
