"""What checking a large set costs: seconds a case and peak memory, beside an earlier synth's in the same run.

    python benchmarks/check_many.py DATA [--n 1251] [--earlier PYTHON] [--fault]

DATA holds cases in folders of their own; a folder of links under new ids makes N of them (so twins are reported). With
--earlier, the `synth` that another environment's interpreter imports checks the same folder, alternately in four parts,
so that both meet the same machine. With --fault every segmentation is missing: how many lines are printed?
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from synth.datasets.case_files import find_cases

PARTS = 4
CHECK = """
import resource, sys
from synth.cli import main
try:
    main(["check", sys.argv[1], "--quiet", *sys.argv[2:]])
except SystemExit:
    pass
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


def linked(data: Path, out: Path, numbers: range, fault: bool) -> None:
    """Links to the cases of `data`, in turn, as BraTS2021_00000 and on."""
    cases = find_cases(data)
    for number in numbers:
        case = cases[number % len(cases)]
        folder = out / f"BraTS2021_{number:05d}"
        folder.mkdir(parents=True)
        for name, path in case.paths.items():
            if not (fault and name == "seg"):
                suffix = ".nii.gz" if path.name.endswith(".gz") else ".nii"
                (folder / f"{folder.name}_{name}{suffix}").symlink_to(path.resolve())


def checked(folder: Path, python: str) -> tuple[float, int, int]:
    """Seconds, peak MiB and lines of one check."""
    begin = time.perf_counter()
    done = subprocess.run([python, "-c", CHECK, str(folder)], capture_output=True, text=True, cwd="/")
    peak = next((int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("peak")), 0)
    return time.perf_counter() - begin, peak, len(done.stdout.splitlines())


def main() -> None:
    """Print a line for each version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--n", type=int, default=1251)
    parser.add_argument("--earlier", metavar="PYTHON")
    parser.add_argument("--fault", action="store_true")
    args = parser.parse_args()
    versions = {"this": sys.executable} | ({"earlier": args.earlier} if args.earlier else {})
    seconds, peaks, lines = ({name: [] for name in versions} for _ in range(3))
    with tempfile.TemporaryDirectory() as place:
        per_part = -(-args.n // PARTS)
        for part in range(PARTS):
            folder = Path(place) / str(part)
            linked(args.data, folder, range(part * per_part, min((part + 1) * per_part, args.n)), args.fault)
        for part in range(PARTS):
            for name, python in versions.items():
                for values, value in zip(
                    (seconds, peaks, lines), checked(Path(place) / str(part), python), strict=True
                ):
                    values[name].append(value)
        for name in versions:
            each = sum(seconds[name]) / args.n
            print(
                f"{name:8} {each:.3f} s a case, peak {max(peaks[name])} MiB by part {peaks[name]}, lines {lines[name]}"
            )
        if args.earlier:
            print(f"ratio {sum(seconds['this']) / sum(seconds['earlier']):.2f}")


if __name__ == "__main__":
    main()
