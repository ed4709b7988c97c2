"""Merge shards of many samples whose files are stubs; the time and the memory it takes.

python benchmarks/merge_many.py [--shards 8] [--each 10000] [--link hard]
"""

import argparse
import json
import resource
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import numpy as np

from synth.brats import AFFINE, MODALITIES, NAMINGS
from synth.case import Case
from synth.disk.manifest import MANIFEST, RUN
from synth.exporters.nifti import NiftiExporter
from synth.runs.merge import merge

PADDING = "x" * 8000  # of a record of `synth generate` without data, less its files


def main() -> None:
    """Print a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--each", type=int, default=10000)
    parser.add_argument("--link", choices=("hard", "soft"), default="hard")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        shards = [make(work, i, options) for i in range(options.shards)]
        before = resource.getrusage(resource.RUSAGE_SELF)
        begin = time.perf_counter()
        done = merge(shards, work / "out", link=options.link)
        wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        lines = (work / "out" / MANIFEST).read_bytes().count(b"\n")
        assert lines == done.cases == options.shards * options.each
        print(
            f"{done.cases} samples of {options.shards} shards: {wall:.1f} s, {used:.1f} CPU s; peak memory "
            f"{before.ru_maxrss / 1024:.0f} MiB before, {after.ru_maxrss / 1024:.0f} MiB after"
        )


def make(work: Path, i: int, options) -> Path:
    """A shard: stubs in place of volumes, but for the samples that a contact sheet shows."""
    out, naming, m = work / f"part{i}", NAMINGS["brats2020"], options.shards
    n = m * options.each
    shown = {int(k) for k in np.linspace(0, n - 1, 40).round()}
    out.mkdir()
    run = {"synth": "0", "format": "nifti", "naming": "brats2020", "seed": 0, "plan": None, "n": n, "shard": [i, m]}
    run["model"] = {"name": "stub", "hash": "0"}
    (out / RUN).write_text(json.dumps(run))
    stub = b"stub"
    digest = sha256(stub).hexdigest()
    images = np.ones((8, 9, 10, 4), np.int16)
    with open(out / MANIFEST, "w") as manifest, NiftiExporter(out, naming=naming) as exporter:
        for k in range(i, n, m):
            name = f"Synth_{k:05d}"
            if k in shown:
                files = exporter.write(Case(name, images, np.ones((8, 9, 10), np.uint8), np.array(AFFINE), {}))
            else:
                (out / name).mkdir()
                files = {}
                for part in (*MODALITIES, "seg"):
                    file = f"{name}/{naming.stem(name, part)}.nii.gz"
                    (out / file).write_bytes(stub)
                    files[file] = digest
            record = {"index": k, "id": name, "files": files, "padding": PADDING}
            manifest.write(json.dumps(record, sort_keys=True) + "\n")
    return out


if __name__ == "__main__":
    main()
