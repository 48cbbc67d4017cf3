"""Prints in a terminal what a collection was taken for, what is in it, and what was written."""

import shlex
from collections.abc import Iterator

from rich.padding import Padding

from tailproof.importer.collection import Collection, Pictures
from tailproof.importer.command import Import
from tailproof.project import project_paths
from tailproof.terminal import Console, escape
from tailproof.text import listed, quantity

CLASSES = 5  # classes that are named


def print_import(result: Import, console: Console) -> None:
    """Print what was understood, and the next command."""
    choice, collection = result.choice, result.collection
    console.print(f"[bold]{escape(choice.name)}[/bold]  {escape(choice.recognition.reason)}")
    recognition = choice.recognition
    _print([*recognition.notes, *recognition.group_notes], console)
    for recognition in choice.others:
        _print(
            [
                f"also possible: {recognition.source['name']}, because {recognition.reason}; "
                f"`--as {recognition.source['name']}` chooses it"
            ],
            console,
        )
    _print([f"not possible: {refusal}" for refusal in choice.refusals], console)
    console.print("[bold]content[/bold]")
    _print(_contents(result), console)
    _print(_recipe(result), console)
    left_out = [
        f"left out: {skipped.reason} ({skipped.count:,})"
        + (f", such as {listed(list(skipped.examples), 3)}" if skipped.examples else "")
        for skipped in collection.skipped
    ]
    for doubt in choice.recognition.doubts:
        console.print(f"[yellow]check[/yellow]  {escape(doubt)}")
    for line in [*left_out, *collection.warnings]:
        console.print(f"[yellow]warning[/yellow]  {escape(line)}")
    for where, reason in list(collection.pictures.unread.items())[:3]:
        console.print(f"[yellow]warning[/yellow]  {escape(where)} cannot be read: {escape(reason)}")
    console.print(f"wrote {escape(result.file)}")
    name, page = shlex.quote(result.name), shlex.quote(project_paths().page(result.name))
    console.print(f"next: tailproof preflight {name}  (what training will cost)")
    console.print(f"      snakemake --cores 2 {page}")


def _print(lines: Iterator[str] | list[str] | tuple[str, ...], console: Console) -> None:
    for line in lines:
        console.print(Padding(escape(line), (0, 0, 0, 4), expand=False), style="dim")


def _contents(result: Import) -> Iterator[str]:
    collection = result.collection
    counts = collection.counts
    samples = quantity(len(collection.table), "sample")
    unlabelled = len(collection.table) - counts.total()
    without = f", {unlabelled:,} without a label" if unlabelled else ""
    yield f"{samples}{without}; {quantity(len(counts), 'class', 'classes')}: {_classes(collection)}"
    if len(collection.ranks) > 1:
        yield f"ranks, coarse to fine: {', '.join(collection.ranks)}"
    if collection.pools:
        pools = [f"{name} {count:,}" for name, count in collection.pools.items()]
        yield f"official sets: {', '.join(pools)}"
    if collection.groups:
        yield f"{quantity(collection.groups, 'group')} of several pictures, which stay together"
    splits = ", ".join(f"{name} {count:,}" for name, count in result.splits.items())
    yield f"splits, before copies are dropped: {splits}"
    yield _pictures(collection.pictures)


def _classes(collection: Collection) -> str:
    ordered = collection.counts.most_common()
    if len(ordered) <= 2 * CLASSES:
        return ", ".join(f"'{name}' {count:,}" for name, count in ordered)
    largest, smallest = ordered[:CLASSES], ordered[-CLASSES:]
    shown = [
        ", ".join(f"'{name}' {count:,}" for name, count in part) for part in (largest, smallest)
    ]
    return f"largest {shown[0]}; smallest {shown[1]}"


def _pictures(pictures: Pictures) -> str:
    kind = f"arrays of {quantity(pictures.bands, 'band')}" if pictures.bands else "grey"
    kind = "colour" if pictures.colour else kind
    heights, widths = zip(*pictures.sizes, strict=True)
    size = f"{min(widths)}×{min(heights)} to {max(widths)}×{max(heights)}"
    if pictures.of_one_size:
        size = f"all {widths[0]}×{heights[0]}"
    return f"{quantity(len(pictures.sizes), 'picture')} looked at: {kind}, {size} pixels"


def _recipe(result: Import) -> Iterator[str]:
    recipe = result.experiment.recipe
    yield (
        f"recipe: {recipe.model.name} at {recipe.image_size} pixels, "
        f"{quantity(recipe.epochs, 'epoch')}, experts {' and '.join(result.experiment.experts)}"
    )
