"""What a report says of sets that are spoilt on purpose: a row per set, a column per section.

    python benchmarks/report_bars.py DATA OUT

DATA has `brats/train` and `brats/val`. The sets are made from the validation cases (the copies from training cases) and
compared with the training cases; the first rows are real sets, which must fail nowhere: val, and random halves of all
real cases against the other half.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from corrupted import REPEATS, SPOILT, write_copies, write_scaled_labels, write_spoilt

from synth.datasets.cases import find_cases
from synth.report.core.config import ReportConfig
from synth.report.core.judge import Verdict
from synth.report.run import report

SECTIONS = ("validity", "fidelity", "diversity", "memorisation", "usefulness")
HALVES = 4


def main(data: str, out: str) -> None:
    """Make the sets, report on them, print the table."""
    out, real = Path(out), Path(data) / "brats"
    train, val = find_cases(real / "train"), find_cases(real / "val")
    pairs = {"val": (real / "val", real / "train")}
    everyone = [*train, *val]
    for seed in range(HALVES):
        sides = np.array_split(np.random.default_rng(seed).permutation(len(everyone)), 2)
        pairs[f"half {seed}"] = tuple(
            _once(out / f"half_{seed}_{name}", partial(_named, everyone, side, name))
            for side, name in zip(sides, ("one", "other"), strict=True)
        )
    for kind in SPOILT:
        pairs[kind] = (_once(out / kind, partial(write_spoilt, kind, val)), real / "train")
    pairs["scaled"] = (_once(out / "scaled", partial(write_scaled_labels, val)), real / "train")
    pairs["copies"] = (_once(out / "copies", partial(write_copies, train[:6])), real / "train")
    pairs["repeated"] = (
        _once(out / "repeated", partial(write_copies, [val[0]] * REPEATS)),
        real / "train",
    )
    print("| set | " + " | ".join(SECTIONS) + " |\n|" + "---|" * (len(SECTIONS) + 1))
    for name, (synthetic, beside) in pairs.items():
        found = report(
            synthetic, beside, out / f"report {name}", cache=out / "features", config=ReportConfig(viewer=0), force=True
        )
        cells = []
        for section in found.sections:
            counts = [sum(check.verdict == v for check in section.checks) for v in (Verdict.FAIL, Verdict.LOOK)]
            cells.append(f"{section.verdict.value} ({counts[0]} fail, {counts[1]} look)")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def _named(cases, side, name: str, folder: Path) -> Path:
    return write_copies([cases[i] for i in side], folder, name)


def _once(folder: Path, make) -> Path:
    return folder if folder.exists() else make(folder)


if __name__ == "__main__":
    main(*sys.argv[1:3])
