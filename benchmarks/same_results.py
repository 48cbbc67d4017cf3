"""Compare the results of two versions: the same bytes of weights, histories and logits?

    python benchmarks/same_results.py OLD NEW digits_lt lens_small

OLD and NEW are folders, for instance two clones, in which both versions built these experiments.
Weights, histories and logits are compared byte by byte, metrics.json without its notes; files that
only one side has are listed. The exit status is 1 where anything differs.
"""

import argparse
import json
import sys
from pathlib import Path

FILES = ("model.safetensors", "history.csv", "logits/*.parquet", "raw_logits/*.parquet")


def files_of(folder: Path) -> dict[str, bytes]:
    """Return what is compared of an experiment, by path."""
    paths = [path for name in FILES for path in folder.glob(f"experts/*/seed-*/{name}")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def compare(old: Path, new: Path) -> list[str]:
    """Return the files that differ, and print a row."""
    one, other = files_of(old), files_of(new)
    differ = [path for path in sorted(one | other) if one.get(path) != other.get(path)]
    metrics = [
        json.loads((folder / "evaluation" / "metrics.json").read_text()) for folder in (old, new)
    ]
    for value in metrics:
        value.pop("notes")  # sentences, which may be reworded
    if metrics[0] != metrics[1]:
        differ.append("evaluation/metrics.json")
    same = len(one | other) + 1 - len(differ)
    print(f"{old.name:<20} {same:>4} the same, {len(differ)} differ")
    return differ


def main() -> None:
    """Compare every experiment that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("experiments", nargs="+")
    options = parser.parse_args()
    folders = [
        [root / "results" / name for root in (options.old, options.new)]
        for name in options.experiments
    ]
    differ = [path for old, new in folders for path in compare(old, new)]
    print("\n".join(differ))
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
