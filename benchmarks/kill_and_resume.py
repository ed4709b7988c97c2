"""Kill `synth generate` at random moments, resume it, and compare every byte with an undisturbed run.

    python benchmarks/kill_and_resume.py [--n 12] [--kills 4] [--data DIR] [--model NAME] [--format nifti|hdf5]

At each kill (SIGKILL: no handler runs) everything under a final name is checked: images open and decode, each equals
the undisturbed run's file byte for byte, a case's folder has all its files, and what the manifest vouches for is
there. Names that begin with a dot are work in progress and not looked at until the end, when none may be left.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
from PIL import Image

from synth.disk.manifest import MANIFEST

SYNTH = [sys.executable, "-c", "from synth.cli import main; main()"]


def main() -> int:
    """Print a line per kill and the verdict; exit code 1 if any check fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="of the run and of the moments of the kills")
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--data", type=Path, help="cases or layouts; none: the embedded default")
    parser.add_argument("--model", default="default")
    parser.add_argument("--format", choices=("nifti", "hdf5"), default="nifti")
    parser.add_argument("--work", type=Path, help="keep the two runs here, as A and B; none: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return run(options, options.work or Path(temporary))


def run(options, work: Path) -> int:
    """The whole comparison; the exit code."""
    a, b = work / "A", work / "B"
    command = command_line(options, work)
    first, total = undisturbed([*command, "--out", str(a)], a)
    per_case = (total - first) / max(options.n - 1, 1)
    print(f"undisturbed: {options.n} cases in {total:.1f} s, the first after {first:.1f} s")
    dice = random.Random(options.seed)
    problems = []
    for kill in range(options.kills):
        before = recorded(b)
        due = before + dice.randrange(max((options.n - before) // (options.kills - kill), 1))
        pause = dice.uniform(0, per_case)
        ended = kill_when([*command, "--out", str(b), *(["--resume"] if kill else [])], b, due, pause)
        found = half_written(b, a)
        problems += found
        state = f"{recorded(b)} of {options.n} cases recorded"
        how = "ended before the kill" if ended else f"SIGKILL {pause:.1f} s after record {due} or the first file"
        print(f"kill {kill + 1}: {how}, {state}; {len(found)} problems", *found, sep="\n  ")
    subprocess.run([*command, "--out", str(b), "--resume"], check=True, stdout=subprocess.DEVNULL)
    different = differences(a, b)
    problems += different
    print(f"resumed to the end: {len(files_of(a))} files compared, {len(different)} differ", *different, sep="\n  ")
    print("FAILED" if problems else "same bytes as undisturbed, nothing half-written was visible")
    return 1 if problems else 0


def command_line(options, work: Path) -> list[str]:
    """The command of both runs, but for `--out`."""
    given = ["--n", options.n, "--seed", options.seed, "--model", options.model, "--format", options.format]
    if options.data:
        given += ["--data", options.data, "--layouts", work / "layouts"]
    return [*SYNTH, "generate", "--quiet", *map(str, given)]


def undisturbed(command: list[str], out: Path) -> tuple[float, float]:
    """Run to the end; seconds until the first case was recorded, and in all."""
    begin = time.perf_counter()
    first = None
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if first is None and recorded(out):
            first = time.perf_counter() - begin
        time.sleep(0.05)
    total = time.perf_counter() - begin
    if process.returncode:
        sys.exit(f"the undisturbed run failed with exit code {process.returncode}")
    return first or total, total


def kill_when(command: list[str], out: Path, due: int, pause: float) -> bool:
    """Start a run; SIGKILL it some seconds after `due` cases are recorded and it writes; True if it had ended."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    before = recorded(out)
    while process.poll() is None and recorded(out) < due:
        time.sleep(0.02)
    while process.poll() is None and recorded(out) == before and not any(out.glob(".S*.partial")) and not staged(out):
        time.sleep(0.02)
    try:
        code = process.wait(timeout=pause)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return False
    if code:
        sys.exit(f"a run that was not killed failed with exit code {code}")
    return True


def staged(out: Path) -> bool:
    """Whether an HDF5 case is being written at this moment."""
    return any((out / ".staging").glob("*.partial"))


def recorded(out: Path) -> int:
    """Whole lines in the manifest."""
    path = out / MANIFEST
    return path.read_bytes().count(b"\n") if path.exists() else 0


def half_written(out: Path, reference: Path) -> list[str]:
    """What is wrong with the files under final names, a phrase each."""
    problems = []
    for name in sorted(files_of(out, hidden=False)):
        path, whole = out / name, reference / name
        try:
            decode(path)
        except Exception as error:  # whatever a reader stumbles over, the file is not whole
            problems.append(f"{name}: cannot be read ({error})")
        grows = name in (MANIFEST, "synth.h5")  # the manifest a line at a time; the file is rebuilt as it grows
        if not grows and (not whole.exists() or path.read_bytes() != whole.read_bytes()):
            problems.append(f"{name}: differs from the undisturbed run's")
    for folder in (path for path in out.glob("*") if path.is_dir() and not path.name.startswith(".")):
        missing = {p.name for p in (reference / folder.name).iterdir()} - {p.name for p in folder.iterdir()}
        problems += [f"{folder.name}: without {name}" for name in sorted(missing)]
    return problems + broken_promises(out, reference)


def broken_promises(out: Path, reference: Path) -> list[str]:
    """Records of the manifest that are not the undisturbed run's, or whose files are missing."""
    if not (out / MANIFEST).exists():
        return []
    lines = (out / MANIFEST).read_bytes().splitlines(keepends=True)
    lines = [line for line in lines if line.endswith(b"\n")]  # a torn last line vouches for nothing
    expected = (reference / MANIFEST).read_bytes().splitlines(keepends=True)
    problems = [f"{MANIFEST}: record {k} differs" for k, line in enumerate(lines) if line not in expected]
    for line in lines:
        for name in json.loads(line)["files"]:
            file, _, case = name.partition("/")
            staged = out / ".staging" / f"{case}.h5"  # an HDF5 case waits there for its file to be complete
            if not ((out / name).is_file() or (file.endswith(".h5") and ((out / file).is_file() or staged.is_file()))):
                problems.append(f"{MANIFEST}: vouches for {name}, which is not there")
    return problems


def decode(path: Path) -> None:
    """Read a file to its last byte; raises if that is impossible."""
    if path.name.endswith(".nii.gz"):
        np.asanyarray(nib.load(path).dataobj)
    elif path.suffix == ".h5":
        with h5py.File(path, "r") as file:
            for group in file.values():
                for dataset in group.values():
                    dataset[...]
    elif path.suffix == ".png":
        Image.open(path).load()
    elif path.suffix == ".json":
        json.loads(path.read_bytes())


def files_of(out: Path, hidden: bool = True) -> set[str]:
    """Names of all files below a folder, or only of those not hidden from users."""
    names = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    return {str(name) for name in names if hidden or not any(part.startswith(".") for part in name.parts)}


def differences(a: Path, b: Path) -> list[str]:
    """Files that only one of two folders has, or whose bytes differ."""
    ours, theirs = files_of(a), files_of(b)
    problems = [f"{name}: only in {'A' if name in ours else 'B'}" for name in sorted(ours ^ theirs)]
    same = sorted(ours & theirs)
    return problems + [f"{name}: differs" for name in same if (a / name).read_bytes() != (b / name).read_bytes()]


if __name__ == "__main__":
    sys.exit(main())
