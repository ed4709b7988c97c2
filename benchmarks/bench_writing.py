"""Seconds and megabytes of writing one case, and milliseconds of reading a random patch, against the alternatives.

    python benchmarks/bench_writing.py [--repeat 5]

All variants run in one process on one case: a real one below SYNTH_TEST_DATA, or a phantom where that is not set.
Ratios hold across machines; seconds do not.
"""

import argparse
import dataclasses
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from synth.brats import AFFINE, GRID, MODALITIES, NAMINGS
from synth.case import Case
from synth.exporters.hdf5 import Hdf5Exporter, open_cases
from synth.exporters.nifti import NiftiExporter, to_int16

NAMING = NAMINGS["brats2020"]
PATCH = 128
GZIP = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="runs of each; the fastest counts")
    repeat = parser.parse_args().repeat
    case = real_case() or phantom()
    print(f"case {case.id}, {os.cpu_count()} cores, fastest of {repeat}")
    with tempfile.TemporaryDirectory() as folder:
        writing(case, Path(folder), repeat)
        layouts(case, Path(folder), repeat)


def writing(case: Case, folder: Path, repeat: int) -> None:
    """One case to disk, from memory to renamed file, as int16 and (as the generator gives it) float32."""
    print(f"\n{'write one case':44s} {'s':>7s} {'ratio':>6s} {'MB':>6s}")
    base = fastest(lambda: nibabel_default(case, folder / "nibabel"), repeat)
    report("nibabel, its default (gzip level 1)", base, base, folder / "nibabel")
    floats = dataclasses.replace(case, images=case.images.astype(np.float32))
    for label, source in (("int16", case), ("float32", floats)):
        for threads in (1, 2):
            with NiftiExporter(folder / "nifti", threads=threads) as exporter:
                seconds = fastest(lambda e=exporter, c=source: e.write(c), repeat)
            report(f"synth NIfTI, {label}, {threads} thread(s), synced", seconds, base, folder / "nifti")
        for compression in ("gzip", "none"):
            out = folder / f"hdf5_{label}_{compression}"
            with Hdf5Exporter(out, compression=compression) as exporter:
                seconds = fastest(lambda e=exporter, c=source: e.write(c), repeat)
                start = time.perf_counter()
            closing = time.perf_counter() - start
            report(f"synth HDF5, {label}, {compression}, synced + file", seconds + closing, base, out)
    with NiftiExporter(folder / "nifti") as exporter:
        record = exporter.write(case)
        print(f"verify the NIfTI files of a case: {fastest(lambda: exporter.verify(record), repeat) * 1e3:.0f} ms")


def layouts(case: Case, folder: Path, repeat: int) -> None:
    """A random patch of four modalities, read as (128, 128, 128, 4), from each layout and by our reader."""
    rng = np.random.default_rng(0)
    corners = [tuple(int(rng.integers(0, n - PATCH + 1)) for n in case.images.shape[:3]) for _ in range(8)]
    boxes = [tuple(slice(a, a + PATCH) for a in corner) for corner in corners]
    options = [("contiguous", "together", None, {})]
    options += [(f"blocks of {n}, raw", kind, (n,) * 3, {}) for n in (16, 32, 64) for kind in ("together", "apart")]
    options += [(f"blocks of {n}, gzip", kind, (n,) * 3, GZIP) for n in (16, 32, 64) for kind in ("together", "apart")]
    options += [("blocks of 32, lzf", "together", (32,) * 3, {"compression": "lzf", "shuffle": True})]
    options += [("slices, gzip", "apart", (*case.images.shape[:2], 1), GZIP)]
    print(f"\n{f'read a {PATCH}^3 patch, four modalities':44s} {'ms':>7s} {'write s':>8s} {'MB':>6s}")
    for label, kind, chunks, filters in options:
        path = folder / "layout.h5"
        seconds = fastest(lambda a=(path, case.images, kind, chunks, filters): write_layout(*a), 1)
        with h5py.File(path) as file:
            patch = fastest(lambda f=file: [read_layout(f, box) for box in boxes], repeat) / len(boxes)
        print(f"{f'h5py, {label}, modalities {kind}':44s} {patch * 1e3:7.1f} {seconds:8.2f} {size(path):6.1f}")
    with ThreadPoolExecutor(2) as pool:
        for compression in ("gzip", "none"):
            path = folder / f"hdf5_int16_{compression}"
            cases, plain = open_cases(path), h5py.File(path / "synth.h5")[f"{case.id}/images"]
            readers = {"synth reader, labels too": lambda box, c=cases: c.read_patch(0, box), "h5py": plain.__getitem__}
            for name, read in readers.items():
                alone = fastest(lambda r=read: [r(box) for box in boxes], repeat) / len(boxes)
                both = fastest(lambda r=read: list(pool.map(r, boxes)), repeat) / len(boxes)
                print(f"{f'our file, {compression}, {name}':44s} {alone * 1e3:7.1f}   two threads {both * 1e3:.1f}")


def write_layout(path: Path, images: np.ndarray, kind: str, chunks, filters: dict) -> None:
    """Four modalities in one dataset or in four, by h5py's own filters, background blocks left out."""
    arrays = {"images": images} if kind == "together" else {m: images[..., i] for i, m in enumerate(MODALITIES)}
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            blocks = None if chunks is None else chunks + array.shape[3:]
            dataset = file.create_dataset(name, array.shape, "<i2", chunks=blocks, **filters)
            for box in [...] if blocks is None else dataset.iter_chunks():
                if array[box].any():
                    dataset[box] = array[box]


def read_layout(file: h5py.File, box) -> np.ndarray:
    """A patch with its channels last, as a network takes it."""
    if "images" in file:
        return file["images"][box]
    out = np.empty((PATCH, PATCH, PATCH, len(MODALITIES)), np.int16)
    for i, name in enumerate(MODALITIES):
        out[..., i] = file[name][box]
    return out


def nibabel_default(case: Case, folder: Path) -> None:
    """The five files as most scripts write them."""
    folder.mkdir(exist_ok=True)
    for i, modality in enumerate(MODALITIES):
        nib.save(nib.Nifti1Image(to_int16(case.images[..., i]), case.affine), folder / f"{modality}.nii.gz")
    nib.save(nib.Nifti1Image(NAMING.to_disk(case.labels), case.affine), folder / "seg.nii.gz")


def real_case() -> Case | None:
    """The first validation case, or None where SYNTH_TEST_DATA is not set."""
    root = os.environ.get("SYNTH_TEST_DATA")
    if not root:
        return None
    folder = sorted(Path(root, "brats", "val").iterdir())[0]
    loaded = [nib.load(folder / f"{NAMING.stem(folder.name, m)}.nii.gz") for m in (*MODALITIES, "seg")]
    *images, seg = [np.asanyarray(image.dataobj) for image in loaded]
    return Case(folder.name, np.stack(images, -1).copy("C"), NAMING.from_disk(seg), loaded[0].affine)


def phantom() -> Case:
    """A ball of smooth noise of a brain's size on the BraTS grid."""
    rng = np.random.default_rng(0)
    x, y, z = np.ogrid[: GRID[0], : GRID[1], : GRID[2]]
    radius = np.sqrt(((x - 120) / 70) ** 2 + ((y - 125) / 85) ** 2 + ((z - 75) / 68) ** 2)
    smooth = [gaussian_filter(rng.standard_normal(GRID, np.float32), 1.2) for _ in MODALITIES]
    images = np.stack([(600 + 900 * s) * (radius < 1) for s in smooth], -1)
    labels = np.where(radius < 0.3, 1, np.where(radius < 0.4, 3, np.where(radius < 0.55, 2, 0))).astype(np.uint8)
    return Case("phantom", to_int16(images), labels, np.array(AFFINE))


def fastest(work, repeat: int) -> float:
    """Seconds of the fastest of some runs: the others waited for something else."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def size(path: Path) -> float:
    """Megabytes of a file or of all files below a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files) / 1e6


def report(label: str, seconds: float, base: float, path: Path) -> None:
    """One line of the table of writing; `ratio` is the share of nibabel's time."""
    print(f"{label:44s} {seconds:7.3f} {seconds / base:6.2f} {size(path):6.1f}")


if __name__ == "__main__":
    main()
