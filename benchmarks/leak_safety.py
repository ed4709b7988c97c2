"""Splits of a large set: painted samples of real cases, exported to nnU-Net with these cases, and relatives counted.

Usage: python benchmarks/leak_safety.py DATA WORK [--cases 12] [--n 50] [--folds 5]

The first cases of DATA are the real ones; `synth generate --data` paints samples of them into WORK/set (it goes on with
what is there), `synth export --to nnunet --real` makes the splits. Relatives are told here from the hosts and donors
that the generator wrote down, not by the code that splits. The same is counted of the split that nnU-Net makes where it
finds none (`KFold(5, shuffle=True, random_state=12345)` over sorted ids). Exit code 1 where ours has one relative.
"""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
from sklearn.model_selection import KFold

from synth import GenerateConfig, Generation, data_sources, export, generate
from synth.runs.export.target import Options

SCAN = re.compile(r"(_\d+)$")  # of BraTS 2018: one patient has _1 and so on


def patient(name: str) -> str:
    """Whose scan it is, told by hand."""
    return SCAN.sub("", name) if name.startswith("Brats18_") else name


def painted(real: Path, n: int, work: Path) -> Path:
    """A set of n samples of the real cases."""
    sources, problems = data_sources(real, work / "layouts")
    assert not problems, problems
    print(generate(Generation(sources, config=GenerateConfig(seed=7)), n, work / "set", resume=True).sentence())
    return work / "set"


def relatives(fold: dict[str, list[str]], whose: dict[str, set[str]]) -> int:
    """How many that a fold trains on descend from a patient that it validates on."""
    held = set().union(*(whose[key] for key in fold["val"]))
    return sum(bool(whose[key] & held) for key in fold["train"])


def counted(folds: list[dict[str, list[str]]], whose: dict[str, set[str]], real: set[str]) -> str:
    """How many relatives of its validation each fold trains on, and how much of the validation is real."""
    told = []
    for fold in folds:
        own, size = len(real & set(fold["val"])), len(fold["val"])
        related = f"{relatives(fold, whose)} of {len(fold['train'])} trained on are relatives"
        told.append(f"{related}, {own} of {size} real")
    return "; ".join(told)


def main() -> int:
    """Parse, paint, export, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    real = options.work / "real"
    real.mkdir(parents=True, exist_ok=True)
    for path in sorted(options.data.iterdir())[: options.cases]:
        if not (real / path.name).exists():
            (real / path.name).symlink_to(path.resolve())
    out = options.work / "Dataset501_Synth"
    shutil.rmtree(out, ignore_errors=True)
    source = painted(real, options.n, options.work)
    print(export([source], out, to="nnunet", real=[real], options=Options("soft", folds=options.folds)).sentence())

    records = [json.loads(line) for line in (source / "manifest.jsonl").read_text().splitlines()]
    ids = {path.name for path in real.iterdir()}
    whose = {key: {patient(key)} for key in ids}
    whose |= {r["id"]: {patient(name) for name in (r["host"], r["donor"]) if name} for r in records}
    ours = json.loads((out / "splits_final.json").read_text())
    everything = np.sort([*whose])
    parts = KFold(5, shuffle=True, random_state=12345).split(everything)
    theirs = [{"train": [*everything[train]], "val": [*everything[val]]} for train, val in parts]
    validated = sorted(key for fold in ours for key in fold["val"])
    print(f"splits_final.json, {len(ours)} folds: {counted(ours, whose, ids)}")
    print(f"every real case validated on once: {'yes' if validated == sorted(ids) else 'NO'}")
    print(f"nnU-Net's own: {counted(theirs, whose, ids)}")
    return int(any(relatives(fold, whose) for fold in ours) or validated != sorted(ids))


if __name__ == "__main__":
    sys.exit(main())
