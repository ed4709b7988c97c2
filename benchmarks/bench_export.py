"""Time `synth export` to every layout beside `cp -r` and `sync` of the same set.

Usage: python benchmarks/bench_export.py SET [--to nnunet,msd,...] [--real DATA]

SET is what `synth generate` wrote as NIfTI. Printed for each layout: seconds, times what copying took, peak memory of
this process so far.
"""

import argparse
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

from synth.runs.export.run import TARGETS, export
from synth.runs.export.target import Options


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("--to", default="brats2020,nnunet,msd,bids,hf,tfrecord")
    parser.add_argument("--real", action="append", default=[])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.set.parent) as folder:
        start = time.perf_counter()
        shutil.copytree(args.set, Path(folder) / "copy")
        os.sync()
        copying = time.perf_counter() - start
        print(f"cp -r and sync: {copying:.1f} s")
        for name in args.to.split(","):
            for link in (None, "soft") if "link" in TARGETS[name].options else (None,):
                out = Path(folder) / f"{name}-{link}"
                done = export([args.set], out, to=name, real=args.real, options=Options(link=link))
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                cases = done.painted + done.real
                print(
                    f"{name}{' --link soft' * bool(link)}: {cases} cases in {done.seconds:.1f} s, "
                    f"{done.seconds / copying:.1f} times; peak {peak:.0f} MiB",
                    flush=True,
                )
                shutil.rmtree(out)


if __name__ == "__main__":
    main()
