"""Time `synth export` to every layout beside `cp -r` and `sync` of the same set.

Usage: python benchmarks/bench_export.py SET [--to nnunet,msd,...] [--real DATA] [--cases N]

SET is what `synth generate` wrote as NIfTI; with --cases its cases are taken several times over, as hard links under
new ids. Printed for each layout: seconds, times what copying took just before, peak memory of this process so far, and
with --kill whether an export that was killed half-way (`kill -9`) and resumed is the same tree.
"""

import argparse
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from synth import open_set
from synth.runs.export.run import TARGETS, export
from synth.runs.export.target import Options


def many(path: Path, n: int, out: Path) -> Path:
    """A set of n cases or a few more: those of `path` over and over, as hard links under new ids."""
    times = -(-n // len(open_set(path)))
    export([path] * times, out, to="brats2020", prefix="Many_", options=Options(link="hard"))
    return out


def copied(path: Path, out: Path) -> float:
    """Seconds for `cp -r` and `sync`."""
    start = time.perf_counter()
    shutil.copytree(path, out)
    os.sync()
    seconds = time.perf_counter() - start
    shutil.rmtree(out)
    return seconds


def digest(folder: Path) -> str:
    """Of all files below a folder, by name and bytes."""
    sha = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".synth.lock"):
        sha.update(f"{path.relative_to(folder)}".encode() + hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()


def killed_and_resumed(path: Path, out: Path, to: str, seconds: float) -> tuple[int, str]:
    """Files that were there after a kill half-way, and the digest of the tree once the export was resumed."""
    line = [sys.executable, "-m", "synth", "export", path, out, "--to", to, "--quiet"]
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    while not (out / "run.json").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds / 2)
    process.kill()
    process.wait()
    there = sum(p.is_file() for p in out.rglob("*"))
    subprocess.run([*line, "--resume"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return there, digest(out)


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("--to", default="brats2020,nnunet,msd,bids,hf,tfrecord")
    parser.add_argument("--real", action="append", default=[])
    parser.add_argument("--cases", type=int, help="at least this many")
    parser.add_argument("--kill", action="store_true", help="kill each export of files, too, and resume it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.set.resolve().parent) as folder:
        path = many(args.set, args.cases, Path(folder) / "many") if args.cases else args.set
        for name in args.to.split(","):
            copying = copied(path, Path(folder) / "copy")
            for link in (None, "soft") if "link" in TARGETS[name].options else (None,):
                out = Path(folder) / name
                done = export([path], out, to=name, real=args.real, options=Options(link=link))
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                cases = done.painted + done.real
                again = ""
                if args.kill and link is None and not args.real:
                    whole = digest(out)
                    shutil.rmtree(out)
                    there, tree = killed_and_resumed(path, out, name, done.seconds)
                    again = (
                        f"; killed with {there} files and resumed: {'the same' if tree == whole else 'ANOTHER'} tree"
                    )
                print(
                    f"{name}{' --link soft' * bool(link)}: {cases} cases in {done.seconds:.1f} s, "
                    f"{done.seconds / copying:.1f} times cp -r and sync ({copying:.1f} s); peak {peak:.0f} MiB{again}",
                    flush=True,
                )
                shutil.rmtree(out)


if __name__ == "__main__":
    main()
