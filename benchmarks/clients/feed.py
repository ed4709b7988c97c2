"""Feed other programs, the real ones, with what synth wrote: a virtual environment a group, an export a client.

Usage: python benchmarks/clients/feed.py WORK [--set SET] [--real DIR] [--client NAME ...] [--venv GROUP=DIR ...]

For each client: its packages are installed into WORK/env-GROUP (or the environment given by --venv), a small set is
exported as the client wants it, and the client's own commands or loaders take it (`feeds/`, which run in the client's
environment and know nothing of synth). Printed: a table of client, version, what to give it, outcome; exit code 1 where
one failed.

Without --set, `synth generate` makes 6 cases first. --real adds real cases to nnU-Net's data, and with them the splits.
WORK is not emptied: what was installed and exported before is used again.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from synth import embedded_sources, generate, open_set
from synth.brats import MODALITIES, TUMOUR_PARTS
from synth.runs.generate import GenerateConfig, Generation

FEEDS = Path(__file__).parent / "feeds"
OWN = "synth"  # the environment that runs this file
_VERSION = "from importlib.metadata import version"
PAIR = 2  # cases where more would show no more


@dataclass(frozen=True)
class Client:
    """One client.

    Attributes:
        name: as the table has it.
        group: of clients that share an environment.
        packages: what pip installs for it; the first one's version is told.
        feed: the script in `feeds/`.
        give: what a user gives it, as the table has it.
        exports: folder -> options of `synth export` (or `generate`), below WORK.
        real: whether real cases go along in an export, by its folder.
    """

    name: str
    group: str
    packages: tuple[str, ...]
    feed: str
    give: str
    exports: dict[str, str]
    real: tuple[str, ...] = field(default=())


PLAIN, LATER = "`synth generate` as it is", "`--naming brats2023` or `--to brats2023`"
OF_2020, OF_2023 = {"brats2020": "--to brats2020"}, {"brats2023": "--to brats2023"}
HDF5 = {"hdf5": "generate --format hdf5"}

CLIENTS = (
    Client(
        "nnU-Net v2",
        "torch",
        ("nnunetv2",),
        "nnunet",
        "`synth export --to nnunet --real`, without real cases `synth generate --format nnunet`",
        {
            "nnUNet_raw/Dataset501_Synth": "--to nnunet",
            "nnUNet_raw/Dataset502_SynthRegions": "--to nnunet --regions --link soft",
            "nnUNet_raw/Dataset503_SynthInPlace": "--to nnunet --in-place",
        },
        real=("nnUNet_raw/Dataset501_Synth",),
    ),
    Client(
        "nnUNetv2_convert_MSD_dataset",
        "torch",
        ("nnunetv2",),
        "convert_msd",
        "`--to msd` into a folder named like `Task504_Synth`",
        {"Task504_Synth": "--to msd"},
    ),
    Client(
        "MONAI",
        "torch",
        ("monai", "nibabel"),
        "monai_brats",
        "`--to msd` into `Task01_BrainTumour` (`DecathlonDataset`), `--to brats2020`, or `synth.torch_dataset` "
        "(`examples/monai_brats.py`)",
        {"Task01_BrainTumour": "--to msd", "brats2020": "--to brats2020", "brats2023": "--to brats2023"},
    ),
    Client("TorchIO", "torch", ("torchio",), "torchio_subjects", f"{PLAIN} (`examples/torchio_queue.py`)", OF_2020),
    Client(
        "BIDS validator",
        "light",
        ("bids-validator-deno",),
        "bids",
        "`--to bids`, `synth generate --format bids` (`examples/bids_validate.py`)",
        {"bids": "--to bids"},
    ),
    Client("BraTS_evaluation", "light", ("brats-evaluation",), "brats_evaluation", LATER, OF_2023),
    Client("panoptica", "light", ("panoptica",), "panoptica_dice", LATER, OF_2023),
    Client("h5py", "light", ("h5py",), "hdf5_h5py", "`--format hdf5`", HDF5),
    Client("PyTables", "light", ("tables",), "hdf5_pytables", "`--format hdf5`", HDF5),
    Client("SimpleITK", "light", ("SimpleITK",), "geometry", f"{PLAIN}, or any NIfTI layout", OF_2020),
    Client("Hugging Face datasets", "light", ("datasets", "nibabel"), "huggingface", "`--to hf`", {"hf": "--to hf"}),
    Client(
        "tf.data",
        OWN,
        ("tensorflow",),
        "tfdata",
        "`--to tfrecord` (`synth.exporters.tfrecord`), or `synth.dataset` without files",
        {"tfrecord": "--to tfrecord --per-shard 2"},
    ),
)


@cache
def truth(path: Path) -> dict[str, dict]:
    """What clients are to find, by id: voxels of each class and where they are, the sum of each modality."""
    out = {}
    for case in open_set(path):
        places = {part: np.flatnonzero(case.labels == k) for k, part in enumerate(TUMOUR_PARTS, 1)}
        out[case.id] = {
            "shape": case.images.shape[:3],
            "voxels": {part: len(where) for part, where in places.items()},
            "places": {part: digest(where) for part, where in places.items()},
            "sums": {m: int(case.images[..., k].sum(dtype=np.int64)) for k, m in enumerate(MODALITIES)},
        }
    return out


def digest(places: np.ndarray) -> str:
    """Of the flat indices (C order) of some voxels; `feeds/told.py` does the same."""
    return hashlib.sha256(places.astype("<i8").tobytes()).hexdigest()


def made(work: Path, n: int, form: str = "nifti") -> Path:
    """A set of n painted cases."""
    out = work / ("painted" if form == "nifti" else form)
    if not (out / "contact_sheet.png").exists():
        config = GenerateConfig(seed=17, format=form)
        print(generate(Generation(embedded_sources(), config=config), n, out, resume=True).sentence(), flush=True)
    return out


def environment(work: Path, client: Client, given: dict[str, Path]) -> Path:
    """The interpreter that has the client."""
    if client.group == OWN:
        return Path(sys.executable)
    folder = given.get(client.group, work / f"env-{client.group}")
    if not (folder / "bin/python").exists():
        venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    there = [python, "-c", f"{_VERSION}; [version(name) for name in {client.packages!r}]"]
    if subprocess.run(there, capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "install", "-q", *client.packages], check=True)
    return python


def exported(work: Path, client: Client, painted: Path, real: Path | None) -> None:
    """Write what the client takes, where it is not there yet."""
    for name, options in client.exports.items():
        out = work / name
        if options.startswith("generate"):
            made(work, PAIR, options.split()[-1])
            continue
        along = ["--real", str(real)] if real is not None and name in client.real else []
        resume = ["--resume"] if (out / "run.json").exists() else []
        line = ["export", str(painted), str(out), *options.split(), *along, *resume, "--quiet"]
        subprocess.run([sys.executable, "-m", "synth", *line], check=True)


def version(python: Path, package: str) -> str:
    """The version of an installed package."""
    code = f"{_VERSION}; print(version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def fed(work: Path, client: Client, given: dict[str, Path], painted: Path, real: Path | None) -> tuple[str, str, bool]:
    """Version, outcome, and whether it is a good one."""
    python = environment(work, client, given)
    exported(work, client, painted, real)
    own = [name for name, options in client.exports.items() if options.startswith("generate")]
    sources = {name: work / name if name in own else painted for name in client.exports}
    (work / "truth.json").write_text(json.dumps({name: truth(source) for name, source in sources.items()}))
    paths = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    line = [python, FEEDS / f"{client.feed}.py", work, *client.exports]
    log = work / f"{client.feed}.log"
    with open(log, "w") as handle:
        done = subprocess.run(line, stdout=handle, stderr=subprocess.STDOUT, env={**os.environ, "PATH": paths})
    last = (log.read_text().strip().splitlines() or ["nothing was printed"])[-1]
    return version(python, client.packages[0]), last, done.returncode == 0


def main() -> int:
    """Parse, feed, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--set", type=Path, help="a NIfTI set of `synth generate` [default: 6 cases are painted]")
    parser.add_argument("--real", type=Path, help="real cases")
    parser.add_argument("--client", action="append", help="part of a client's name [default: all]")
    parser.add_argument("--venv", action="append", default=[], help="GROUP=DIR: an environment to use")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    work, given = options.work.resolve(), {}
    for pair in options.venv:
        group, _, folder = pair.partition("=")
        given[group] = Path(folder).resolve()
    painted = options.set.resolve() if options.set else made(work, 6)
    wanted = [one.casefold() for one in options.client or [""]]
    rows, good = ["| client | version | give it | outcome |", "|---|---|---|---|"], True
    for client in CLIENTS:
        if any(part in client.name.casefold() for part in wanted):
            number, outcome, passed = fed(work, client, given, painted, options.real)
            good &= passed
            told = f"{'' if passed else 'FAILED: '}{outcome}"
            rows.append(f"| {client.name} | {number} | {client.give} | {told} |")
            print(rows[-1], flush=True)
    print("\n".join(rows))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
