"""Whether a change of the code changes what synth writes: checksums of all files of a dozen commands, compared.

    python benchmarks/same_bytes.py DATA record before.json     # DATA: a folder with brats/train and brats/val
    python benchmarks/same_bytes.py DATA compare before.json    # exit code 1 where anything differs

Of each file two checksums are kept: of its bytes, and of its content (NIfTI unpacked, HDF5 voxel by voxel, JSON
without checksums and times), which stays the same when only the compressor is another one. `--earlier DIR` keeps the
beginnings of runs when recording; when comparing, these runs, made by the earlier code, are resumed and replayed.
"""

import argparse
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py

SYNTH = [sys.executable, "-c", "from synth.cli import main; main()"]
CASES = 3  # of DATA/brats/train, the first by name
RUNS = (  # name, command; {data} is a folder of the first cases, {val} one of a single validation case
    ("nifti", "generate --n 3 --seed 5 --out {out}"),
    ("hdf5", "generate --n 3 --seed 6 --format hdf5 --naming brats2023 --no-scores --out {out}"),
    ("data", "generate --n 3 --seed 7 --data {data} --layouts {layouts} --no-scores --edits wild --out {out}"),
    ("planned", "generate --n 2 --seed 8 --plan balanced --no-scores --out {out}"),
    ("dry", "generate --n 4 --seed 9 --dry-run --edits swap,elastic --data {data} --layouts {layouts} --out {out}"),
    ("sampled", "layouts sample --n 4 --seed 5 --plan balanced --out {out}"),
    ("edited", "layouts edit {layouts} {out} --edits standard --n 2"),
    ("segmented", "segment {val} {out} --mirror x"),
    ("reconstructed", "reconstruct {val} {out}"),
    ("replayed", "replay {work}/nifti --id 1 --out {out}"),
    ("replayed-data", "replay {work}/data --id 2 --data {data} --out {out}"),
    ("replayed-hdf5", "replay {work}/hdf5 --id 0 --out {out}"),
)
BEGUN = (  # runs that earlier code leaves at two samples, and what goes on with them
    ("nifti", "generate --n {n} --seed 15 --no-scores --out {out}"),
    ("hdf5", "generate --n {n} --seed 16 --format hdf5 --no-scores --out {out}"),
    ("sampled", "layouts sample --n {n} --seed 15 --out {out}"),
)


def main() -> int:
    """Print a line for each command; exit code 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("file", type=Path, help="JSON with the checksums")
    parser.add_argument("--earlier", type=Path, help="folder that keeps runs of the earlier code")
    parser.add_argument("--only", default="", help="names of commands, with commas; none: all")
    parser.add_argument("--work", type=Path, help="keep what is written here; none: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        sums = written(options.data.resolve(), work, set(filter(None, options.only.split(","))))
        if options.action == "record":
            if options.earlier:
                begin(options.earlier)
            options.file.write_text(json.dumps(sums, indent=1, sort_keys=True) + "\n")
            return 0
        differing = compare(json.loads(options.file.read_text()), sums)
        if options.earlier:
            differing += go_on(options.earlier, work / "earlier")
    print("everything is the same" if not differing else f"{differing} differences")
    return 1 if differing else 0


def written(data: Path, work: Path, only: set[str]) -> dict[str, dict[str, list[str]]]:
    """Run the commands below `work`; checksums of bytes and content by command and relative name."""
    work.mkdir(parents=True, exist_ok=True)
    for name, cases in (("data", sorted((data / "brats/train").iterdir())[:CASES]), ("val", [one_case(data)])):
        (work / name).mkdir(exist_ok=True)
        for case in cases:
            if not (work / name / case.name).exists():
                os.symlink(case, work / name / case.name)
    places = {"data": work / "data", "val": work / "val", "layouts": work / "layouts", "work": work / "out"}
    sums = {}
    for name, command in RUNS:
        if only and name not in only:
            continue
        out = work / "out" / name
        shutil.rmtree(out, ignore_errors=True)
        call(command, out=out, **places)
        sums[name] = checksums(out)
        print(f"{name}: {len(sums[name])} files", flush=True)
    sums["layouts"] = checksums(work / "layouts") if (work / "layouts").is_dir() else {}
    return sums


def one_case(data: Path) -> Path:
    """The first validation case."""
    return sorted((data / "brats/val").iterdir())[0]


def call(command: str, **places) -> str:
    """Run a command of synth; its output. Its failure ends the benchmark, with what it said."""
    done = subprocess.run([*SYNTH, *command.format(**places).split()], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"synth {command.format(**places)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def checksums(folder: Path) -> dict[str, list[str]]:
    """[of bytes, of content] by relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): [digest(path.read_bytes()), digest(content(path))] for path in files}


def digest(data: bytes) -> str:
    """SHA-256, shortened."""
    return hashlib.sha256(data).hexdigest()[:24]


def content(path: Path) -> bytes:
    """What a file says, however it is packed."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".h5":
        return hdf5_content(path)
    if path.suffix in (".json", ".jsonl"):
        return json.dumps([plain(json.loads(line)) for line in documents(path)], sort_keys=True).encode()
    return data


def documents(path: Path) -> list[str]:
    """The JSON texts of a file."""
    text = path.read_text()
    return text.splitlines() if path.suffix == ".jsonl" else [text]


def plain(value):
    """A JSON value without what depends on the packing, the clock or the machine."""
    if isinstance(value, dict):
        left_out = ("files", "seconds", "source", "sources")
        return {key: plain(item) for key, item in value.items() if key not in left_out}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return re.sub(r"/\S*/", "", value) if isinstance(value, str) else value


def hdf5_content(path: Path) -> bytes:
    """Checksums of all arrays and attributes of an HDF5 file."""
    lines = []

    def visit(name, item):
        lines.extend(f"{name} {key} {item.attrs[key]!r}" for key in sorted(item.attrs))
        if isinstance(item, h5py.Dataset):
            lines.append(f"{name} {item.shape} {item.dtype} {item.chunks} {digest(item[()].tobytes())}")

    with h5py.File(path, "r") as file:
        visit("/", file)
        file.visititems(visit)
    return "\n".join(lines).encode()


def compare(before: dict, now: dict) -> int:
    """Print what differs, by command; the number of files whose content does or that are missing."""
    total = 0
    for name, sums in now.items():
        old = before.get(name, {})
        lost, new = sorted(old.keys() - sums.keys()), sorted(sums.keys() - old.keys())
        both = sorted(old.keys() & sums.keys())
        packed = [file for file in both if old[file][0] != sums[file][0] and old[file][1] == sums[file][1]]
        changed = [file for file in both if old[file][1] != sums[file][1]]
        total += len(lost) + len(new) + len(changed)
        print(f"{name}: {len(both) - len(packed) - len(changed)} equal to the byte, {len(packed)} in content alone")
        for what, files in (("packed otherwise", packed), ("CHANGED", changed), ("MISSING", lost), ("NEW", new)):
            if files:
                print(f"  {what}: {', '.join(files[:8])}{' ...' * (len(files) > 8)}")
    return total


def begin(folder: Path) -> None:
    """Leave runs of two samples for later code to go on with."""
    for name, command in BEGUN:
        call(command, n=2, out=folder / name)


def go_on(earlier: Path, work: Path) -> int:
    """Resume copies of the earlier runs and replay a sample of each; the number of failures."""
    shutil.rmtree(work, ignore_errors=True)
    failures = 0
    for name, command in BEGUN:
        out = work / name
        shutil.copytree(earlier / name, out)
        said = call(command + " --resume", n=3, out=out)
        kept = "2 were there already" in said
        again = call("replay {run} --id 1 --out {out}", run=out, out=work / f"{name}-again")
        same = "equal" in again and "differ" not in again
        print(f"earlier {name}: {'resumed' if kept else 'NOT RESUMED'}, replay {'equal' if same else 'DIFFERS'}")
        if not (kept and same):
            print(said[-500:], again[-500:])
        failures += not (kept and same)
    return failures


if __name__ == "__main__":
    sys.exit(main())
