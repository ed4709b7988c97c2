"""Time `synth export` to every layout beside `cp -r` and `sync` of the same set.

Usage: python benchmarks/bench_export.py SET [--to A,B] [--real DATA] [--cases N] [--repeat 3] [--kill] [--apart P]

SET is what `synth generate` wrote as NIfTI; with --cases its cases are taken several times over, as hard links under
new ids. Each export is a process of its own, right after a copy, as often as --repeat says. Printed for each layout:
seconds, times what copying took (medians, with the range), processor time, peak memory, and with --kill whether an
export that was killed half-way (`kill -9`) and resumed is the same tree. With --apart each export of files is also
made by P processes side by side, a part of the cases each, by turns: what workers would gain at most.
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
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

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


def exported(path: Path, out: Path, to: str, real: list[str], link: str | None) -> tuple[int, float, float, float]:
    """Cases, seconds, processor seconds and peak MiB of an export; for a process of its own."""
    done = export([path], out, to=to, real=real, options=Options(link=link))
    used = resource.getrusage(resource.RUSAGE_SELF)
    return done.painted + done.real, done.seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def apart(parts: list[Path], out: Path, to: str) -> tuple[float, float]:
    """Seconds and processor seconds of exports side by side, a process a part."""
    with ProcessPoolExecutor(len(parts), mp_context=get_context("spawn")) as pool:
        going = [pool.submit(exported, path, out / path.name, to, [], None) for path in parts]
        done = [one.result() for one in going]
    shutil.rmtree(out)
    return max(run[1] for run in done), sum(run[2] for run in done)


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
    parser.add_argument("--repeat", type=int, default=3, help="pairs of a copy and an export")
    parser.add_argument("--apart", type=int, help="processes")
    parser.add_argument("--kill", action="store_true", help="kill each export of files, too, and resume it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.set.resolve().parent) as folder:
        path = many(args.set, args.cases, Path(folder) / "many") if args.cases else args.set
        n = len(open_set(path)) // (args.apart or 1)
        parts = [many(args.set, n, Path(folder) / f"part{k}") for k in range(args.apart or 0)]
        for name in args.to.split(","):
            for link in (None, "soft") if "link" in TARGETS[name].options else (None,):
                out, runs, copies, beside = Path(folder) / name, [], [], []
                for _ in range(args.repeat):
                    shutil.rmtree(out, ignore_errors=True)
                    copies.append(copied(path, Path(folder) / "copy"))
                    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                        runs.append(pool.submit(exported, path, out, name, args.real, link).result())
                    if parts and link is None:
                        beside.append(apart(parts, Path(folder) / "apart", name))
                (cases, *_), seconds = runs[0], [run[1] for run in runs]
                times = [own / copying for own, copying in zip(seconds, copies, strict=True)]
                again = ""
                if beside:
                    wall, used = (median(run[k] for run in beside) for k in range(2))
                    again = f"; {args.apart} processes side by side: {wall:.1f} s, processor {used:.1f} s"
                if args.kill and link is None and not args.real:
                    whole = digest(out)
                    shutil.rmtree(out)
                    there, tree = killed_and_resumed(path, out, name, median(seconds))
                    again += (
                        f"; killed with {there} files and resumed: {'the same' if tree == whole else 'ANOTHER'} tree"
                    )
                print(
                    f"{name}{' --link soft' * bool(link)}: {cases} cases in {median(seconds):.1f} s, "
                    f"{median(times):.1f} ({min(times):.1f} to {max(times):.1f}) times cp -r and sync "
                    f"({median(copies):.1f} s); processor {median(run[2] for run in runs):.1f} s with its start, "
                    f"peak {max(run[3] for run in runs):.0f} MiB{again}",
                    flush=True,
                )
                shutil.rmtree(out)


if __name__ == "__main__":
    main()
