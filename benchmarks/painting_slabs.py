"""A brain painted in slabs and at once: whether the bits are equal, CPU-seconds and memory; each in its own process.

    python benchmarks/painting_slabs.py [--shapes 144x176x144,160x192x144] [--settings ...]

Settings are environments, with commas, that each shape is painted in: a number of threads, and what oneDNN may use of
the processor (`ONEDNN_MAX_CPU_ISA`), as on older machines. CPU-seconds of all threads and those of the system among
them (pages), of the second of two paintings; memory is what painting adds to the resident size at its greatest.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys

import numpy as np
from generate_memory import Sampler

SETTINGS = "TF_NUM_INTRAOP_THREADS=2,TF_NUM_INTRAOP_THREADS=1,ONEDNN_MAX_CPU_ISA=AVX2,ONEDNN_MAX_CPU_ISA=SSE41"


def painted(way: str, shape: tuple[int, ...]) -> dict:
    """Checksum and costs of painting a head of bands of classes."""
    from synth.layout.detail import MAPS
    from synth.models.painter import style_tensors
    from synth.models.runtime import repeatable
    from synth.models.weights import load_generator
    from synth.style.prior import shipped_style_prior

    repeatable()
    painter, _ = load_generator()
    if way == "at once":
        painter._slabs = None
    rng = np.random.default_rng(0)
    style = shipped_style_prior().sample(rng)
    x, y, z = np.ogrid[tuple(slice(0, n) for n in shape)]
    radius = sum(np.square((place - n / 2) / (n / 2 - 2)) for place, n in zip((x, y, z), shape, strict=True))
    classes = np.where(radius < 1, 1 + (x // 9 + y // 7 + z // 5) % 6, 0).astype(np.uint8)
    layers = np.stack([rng.integers(0, most // 2 + 1, shape, np.uint8) for most in MAPS.values()], -1)
    named = style_tensors(style, painter.texture_gain, painter.grain_gain, mixed=True, pure=True)
    tensors = {name: value[None] for name, value in named.items()}
    box = [slice(40, 40 + n) for n in shape]
    whole, sampler = hashlib.sha256(), Sampler()
    for _ in range(2):
        before, begin = sampler.resident(), resource.getrusage(resource.RUSAGE_SELF)
        sampler.most.clear()
        with sampler.stage(way):
            image = painter._painted(classes, (240, 240, 155), box, tensors, np.array([1, 2], np.int32), layers)
        end = resource.getrusage(resource.RUSAGE_SELF)
        whole.update((image + np.float32(0)).tobytes())  # outside the brain -0 is 0
    user, system = end.ru_utime - begin.ru_utime, end.ru_stime - begin.ru_stime
    return {
        "bits": whole.hexdigest()[:16],
        "cpu": user + system,
        "system": system,
        "MiB": sampler.most[(way,)] - before,
    }


def main() -> int:
    """Print a row for each shape, setting and way; exit code 1 where bits differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default="144x176x144,160x192x144")
    parser.add_argument("--settings", default=SETTINGS)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes.split(",")]
    if options.here:
        print(json.dumps(painted(options.here, shapes[0])))
        return 0
    differing = 0
    print(f"{'shape':14}{'setting':28}{'way':10}{'bits':18}{'CPU s':>8}{'system':>8}{'MiB':>7}")
    for shape in shapes:
        text = "x".join(map(str, shape))
        for setting in options.settings.split(","):
            name, _, value = setting.partition("=")
            seen = set()
            for way in ("at once", "slabs"):
                line = [sys.executable, __file__, "--here", way, "--shapes", text]
                done = subprocess.run(line, env={**os.environ, name: value}, check=True, capture_output=True)
                row = json.loads(done.stdout.splitlines()[-1])
                seen.add(row["bits"])
                costs = f"{row['cpu']:8.2f}{row['system']:8.2f}{row['MiB']:7.0f}"
                print(f"{text:14}{setting:28}{way:10}{row['bits']:18}{costs}", flush=True)
            differing += len(seen) - 1
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
