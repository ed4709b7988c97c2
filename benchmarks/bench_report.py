"""Time and peak memory of `synth report`, first without and then with what the first run kept.

    python benchmarks/bench_report.py SYNTHETIC REAL OUT

Each run is a process of its own; OUT must not exist. Peak memory is that of the process (ru_maxrss).
"""

import resource
import subprocess
import sys
import time
from pathlib import Path


def main(synthetic: str, real: str, out: str) -> None:
    """Run twice, print seconds, GiB and the size of the page."""
    command = [
        sys.executable,
        "-c",
        "from synth.cli import main; main()",
        "report",
        "--synthetic",
        synthetic,
        "--real",
        real,
        "--out",
        out,
        "-q",
    ]
    for name, more in (("first", []), ("second", ["--force"])):
        begin = time.perf_counter()
        subprocess.run([*command, *more], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # of the largest child so far
        print(f"{name}: {seconds:.0f} s, peak of the runs so far {peak:.2f} GiB")
    print(f"report.html: {(Path(out) / 'report.html').stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main(*sys.argv[1:4])
