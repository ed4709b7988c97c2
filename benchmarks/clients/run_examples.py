"""Run every example by the lines of `examples/README.md`, in a fresh environment outside the checkout.

Usage: python benchmarks/clients/run_examples.py WORK --real DIR [--example NAME ...] [--venv DIR] [--whole]

The checkout is installed into WORK/env as a user does it (not editable), then each example's lines run in a folder of
its own, one after the other, the user's packages being installed as they say. The cases of DIR stand for the user's
data: a half is `train`, two cases are `val`, the others `test`. Numbers of samples and steps are cut down, and the jobs
of a queue are processes of this machine, unless --whole is given. Printed: a table of example, seconds, outcome (the
last line printed); exit code 1 where one failed.
"""

import argparse
import os
import re
import subprocess
import sys
import time
import venv
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
BLOCK = re.compile(r"^\*\*\[([\w/]+)\.py\].*?```bash\n(.*?)```", re.MULTILINE | re.DOTALL)
FEWER = (
    (r"--n \d+", "--n 2"),
    (r"--steps \d+", "--steps 4"),
    (r"--jobs \d+ --cores \d+", "--system local --jobs 1 --cores 2"),  # processes of this machine as a queue's jobs
)
SOME, FEW = "BraTS2021_TrainingData", 2


def examples() -> dict[str, list[str]]:
    """The lines of each example."""
    text = (CHECKOUT / "examples/README.md").read_text()
    return {name: lines.strip().splitlines() for name, lines in BLOCK.findall(text)}


def laid(folder: Path, real: Path) -> None:
    """A folder with the names that the lines use."""
    cases = sorted(path for path in real.iterdir() if path.is_dir())
    half = len(cases) // 2
    parts = {SOME: cases, "train": cases[:half], "val": cases[half : half + FEW], "test": cases[half + FEW :]}
    for name, chosen in parts.items():
        (folder / name).mkdir(parents=True)
        for case in chosen:
            (folder / name / case.name).symlink_to(case.resolve())
    (folder / "examples").symlink_to(CHECKOUT / "examples")


def ran(name: str, lines: list[str], work: Path, real: Path, python: Path, whole: bool) -> tuple[str, bool]:
    """The last line that an example printed, and whether all its lines ended well."""
    folder = work / f"run-{name.replace('/', '-')}"
    if not folder.exists():
        laid(folder, real)
    script = "set -e\n" + "\n".join(lines).replace("'.[", f"'{CHECKOUT}[") + "\n"
    for pattern, fewer in () if whole else FEWER:
        script = re.sub(pattern, fewer, script)
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SYNTH_"))}
    own["PATH"] = f"{python.parent}{os.pathsep}{own['PATH']}"
    log = folder / "log.txt"
    with open(log, "w") as handle:
        done = subprocess.run(["bash", "-xc", script], cwd=folder, env=own, stdout=handle, stderr=subprocess.STDOUT)
    return (log.read_text().strip().splitlines() or ["nothing was printed"])[-1], done.returncode == 0


def main() -> int:
    """Parse, install, run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--real", type=Path, required=True, help="real cases, six or more")
    parser.add_argument("--example", action="append", help="name of an example [default: all]")
    parser.add_argument("--venv", type=Path, help="an environment to use")
    parser.add_argument("--whole", action="store_true", help="as many samples and steps as the lines say")
    options = parser.parse_args()
    work = options.work.resolve()
    python = (options.venv or work / "env").resolve() / "bin/python"
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", CHECKOUT], check=True)
    rows, good = ["| example | seconds | outcome |", "|---|---|---|"], True
    for name, lines in examples().items():
        if name in (options.example or [name]):
            begin = time.perf_counter()
            last, passed = ran(name, lines, work, options.real.resolve(), python, options.whole)
            good &= passed
            rows.append(f"| `{name}.py` | {time.perf_counter() - begin:.0f} | {'' if passed else 'FAILED: '}{last} |")
            print(rows[-1], flush=True)
    print("\n".join(rows))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
