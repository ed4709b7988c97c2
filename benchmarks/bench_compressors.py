"""Speed, size and repeatability of the compressors that could write our files.

    python benchmarks/bench_compressors.py [--repeats 10000] [--whole 5] [--only zlib-ng]

Twenty volumes below SYNTH_TEST_DATA (intensities int16, labels uint8), or phantoms where that is not set. `MB/s` and
`size` are of whole volumes, one thread, CPU time. Then cubes cut from them are compressed `--repeats` times in all and
the whole volumes `--whole` times each, in four threads, between random allocations and frees of random bytes;
`distinct` is the largest number of different results that one volume gave, and has to be 1. That is a necessary
condition only (every compressor tried meets it): the reasons for the choice are in docs/decisions.md. Compressors that
are not installed are left out (`pip install isal deflate`).
"""

import argparse
import hashlib
import itertools
import os
import random
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from synth.brats import GRID
from synth.exporters.deflate import COMPRESSOR

VOLUMES = 20
THREADS = 4
SIDE = 40  # voxels of a cube; 128 kB, so that 10,000 of them take seconds, not minutes
PIECE = 1 << 16
NOISE = random.Random(0).randbytes(1 << 22)
LARGEST = 1 << 20  # bytes of one piece of dirt

Compress = Callable[[bytes], bytes]


def main() -> None:
    """Print one line for each compressor, then one for each decompressor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10000, help="compressions of cubes, over all volumes")
    parser.add_argument("--whole", type=int, default=5, help="compressions of each whole volume")
    parser.add_argument("--only", default="", help="compressors whose name contains this")
    args = parser.parse_args()
    volumes = real_volumes() or phantoms()
    whole = [volume.tobytes("F") for volume in volumes]
    cubes = [cube(volume).tobytes("F") for volume in volumes]
    megabytes = sum(map(len, whole)) / 1e6
    source = "real" if os.environ.get("SYNTH_TEST_DATA") else "phantom"
    print(f"{len(whole)} {source} volumes, {megabytes:.0f} MB, {os.cpu_count()} cores; synth writes with {COMPRESSOR}")
    print(f"{'compressor':28s} {'MB/s':>6s} {'size':>7s} {'cubes':>7s} {'distinct':>8s} {'whole':>6s} {'distinct':>8s}")
    for name, compress in candidates().items():
        if args.only not in name:
            continue
        seconds, sizes = fastest(compress, whole)
        of_cubes = distinct(compress, cubes, args.repeats // len(cubes))
        of_whole = distinct(compress, whole, args.whole)
        print(
            f"{name:28s} {megabytes / seconds:6.0f} {sum(sizes) / megabytes / 1e6:7.4f} {args.repeats:7d} "
            f"{of_cubes:8d} {args.whole * len(whole):6d} {of_whole:8d}",
            flush=True,
        )
    packed = [zlib.compress(data, 1) for data in whole]
    print(f"\n{'decompressor':28s} {'MB/s':>6s}")
    for name, decompress in decompressors().items():
        seconds, _ = fastest(lambda pair, unpack=decompress: unpack(*pair), list(zip(packed, whole, strict=True)))
        print(f"{name:28s} {megabytes / seconds:6.0f}")


def candidates() -> dict[str, Compress]:
    """Compressors by name, each a function of the data alone if it keeps its promise."""
    found: dict[str, Compress] = {}
    if isal := installed("isal.isal_zlib"):
        for level in (0, 1, 2, 3):
            found[f"isal {level}"] = lambda data, n=level: stream(isal, data, n, len(data))
        found["isal 1, one call"] = lambda data: isal.compress(data, 1)
        found["isal 1, pieces of 64 kB"] = lambda data: stream(isal, data, 1, PIECE)
    if zlib_ng := installed("zlib_ng.zlib_ng"):
        for level in (1, 2, 3):
            found[f"zlib-ng {level}"] = lambda data, n=level: stream(zlib_ng, data, n, len(data))
    if libdeflate := installed("deflate"):
        for level in (1, 2):
            found[f"libdeflate {level}"] = lambda data, n=level: libdeflate.deflate_compress(data, n)
    for level in (1, 6):
        found[f"zlib {level}"] = lambda data, n=level: stream(zlib, data, n, len(data))
    return found


def decompressors() -> dict[str, Callable[[bytes, bytes], bytes]]:
    """Functions of a zlib stream and of the data it was made of (for those that have to know the size)."""
    found = {"zlib": lambda packed, data: zlib.decompress(packed)}
    for name, module in (("isal", "isal.isal_zlib"), ("zlib-ng", "zlib_ng.zlib_ng")):
        if codec := installed(module):
            found[name] = lambda packed, data, c=codec: c.decompress(packed)
    if libdeflate := installed("deflate"):
        found["libdeflate"] = lambda packed, data: libdeflate.zlib_decompress(packed, len(data))
    return found


def stream(codec, data: bytes, level: int, piece: int) -> bytes:
    """Raw deflate data, fed in pieces of so many bytes."""
    packer = codec.compressobj(level, zlib.DEFLATED, -15)
    parts = [packer.compress(data[at : at + piece]) for at in range(0, len(data), piece)]
    return b"".join((*parts, packer.flush()))


def installed(module: str):
    """The module, or None."""
    try:
        return import_module(module)
    except ImportError:
        return None


def distinct(compress: Compress, datas: list[bytes], each: int) -> int:
    """The most different results that one of the inputs gave, over threads and dirty heaps."""
    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(lambda seed: soiled(compress, datas, seed, each), range(THREADS)))
    return max((len(set().union(*digests)) for digests in zip(*results, strict=True)), default=0)


def soiled(compress: Compress, datas: list[bytes], seed: int, each: int) -> list[set[bytes]]:
    """Digests of one thread's share of the results, with random bytes left on the heap between them."""
    rng, dirt = random.Random(seed), []
    digests: list[set[bytes]] = [set() for _ in datas]
    rounds = each // THREADS + (seed < each % THREADS)
    for _, k in itertools.product(range(rounds), rng.sample(range(len(datas)), len(datas))):
        for _ in range(3):
            size = int(LARGEST ** rng.uniform(0.5, 1))
            at = rng.randrange(len(NOISE) - size)
            dirt.append(NOISE[at : at + size])  # a copy, in memory that a later allocation gets
        while len(dirt) > 16:
            del dirt[rng.randrange(len(dirt))]
        digests[k].add(hashlib.sha256(compress(datas[k])).digest())
    return digests


def fastest(work: Callable, inputs: list) -> tuple[float, list[int]]:
    """CPU seconds of the faster of two passes over all inputs (a shared machine makes work wait), and the sizes."""
    seconds, sizes = [], []
    for _ in range(2):
        start = time.thread_time()
        sizes = [len(work(item)) for item in inputs]
        seconds.append(time.thread_time() - start)
    return min(seconds), sizes


def cube(volume: np.ndarray) -> np.ndarray:
    """A cube of `SIDE` voxels around the middle of what is not zero."""
    middle = np.argwhere(volume).mean(0).astype(int) if volume.any() else np.array(volume.shape) // 2
    start = np.clip(middle - SIDE // 2, 0, np.array(volume.shape) - SIDE)
    return volume[tuple(slice(a, a + SIDE) for a in start)]


def real_volumes() -> list[np.ndarray]:
    """The first twenty training files, labels among them; empty where SYNTH_TEST_DATA is not set."""
    root = os.environ.get("SYNTH_TEST_DATA")
    paths = sorted(Path(root, "brats", "train").glob("*/*.nii.gz"))[:VOLUMES] if root else []
    return [np.asanyarray(nib.load(path).dataobj) for path in paths]


def phantoms() -> list[np.ndarray]:
    """Balls of smooth noise of a brain's size; every fifth is a label map."""
    rng = np.random.default_rng(0)
    x, y, z = np.ogrid[: GRID[0], : GRID[1], : GRID[2]]
    radius = np.sqrt(((x - 120) / 70) ** 2 + ((y - 125) / 85) ** 2 + ((z - 75) / 68) ** 2)
    labels = np.where(radius < 0.3, 1, np.where(radius < 0.55, 2, 0)).astype(np.uint8)
    found = []
    for k in range(VOLUMES):
        smooth = gaussian_filter(rng.standard_normal(GRID, np.float32), 1.2)
        image = np.maximum((600 + 900 * smooth) * (radius < 1), 0).astype(np.int16)
        found.append(np.roll(labels, k, 0) if k % 5 == 1 else image)
    return found


if __name__ == "__main__":
    main()
