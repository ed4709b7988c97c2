"""Seconds per stage of `synth generate`, peak memory, and the network's speed against a matrix product's.

    python benchmarks/bench_generate.py [--n 8] [--data DIR] [--model default]

Stages are timed one by one; "end to end" is the overlapped run, start-up (imports, weights, first call) left out.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np


def network_gflop(generator, shape) -> float:
    """GFLOP of one forward pass on a volume of `shape`: two per multiply-add of every convolution."""
    import keras

    total, inputs = 0.0, generator.inputs
    sizes = [np.array([1, *shape, tensor.shape[-1]], np.float32) for tensor in inputs]
    probes = [layer for layer in generator.layers if isinstance(layer, keras.layers.Conv3D)]
    outputs = keras.Model(inputs, [layer.output for layer in probes])
    found = outputs({t.name: np.zeros(s.astype(int), np.float32) for t, s in zip(inputs, sizes, strict=True)})
    for layer, out in zip(probes, found if isinstance(found, list) else [found], strict=True):
        total += 2 * np.prod(layer.kernel.shape) * np.prod(out.shape[1:4])
    return total / 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--data")
    parser.add_argument("--model", default="default")
    options = parser.parse_args()

    from synth.exporters.nifti import NiftiExporter
    from synth.hosts.sources import data_sources, embedded_sources
    from synth.models.painter import box_coordinates, paint, style_tensors
    from synth.models.runtime import tf
    from synth.runs.generate import GenerateConfig, Generation, generate

    with tempfile.TemporaryDirectory() as folder:
        sources = data_sources(options.data, Path(folder) / "layouts")[0] if options.data else embedded_sources()
        generation = Generation(sources, options.model, GenerateConfig(seed=1))
        exporter = NiftiExporter(Path(folder) / "stages")
        layout, recipe = generation.draw(0)
        generation.paint(layout, recipe)  # start-up
        times = {"layout": [], "paint": [], "write": []}
        for k in range(options.n):
            a = time.perf_counter()
            layout, recipe = generation.draw(k)
            b = time.perf_counter()
            case = generation.paint(layout, recipe)
            c = time.perf_counter()
            exporter.write(case)
            times["layout"].append(b - a), times["paint"].append(c - b)
            times["write"].append(time.perf_counter() - c)
        for name, values in times.items():
            print(f"{name:12}{np.median(values):6.2f} s a case (median of {options.n})")
        outcome = generate(generation, options.n, Path(folder) / "run")
        print(f"{'end to end':12}{outcome.seconds / options.n:6.2f} s a case, overlapped")
        for n in (options.n, 3 * options.n):
            if n > options.n:
                generate(generation, n, Path(folder) / "more")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
            print(f"peak memory {peak:6.2f} GiB after {n} cases")

    _, grown = generation.painter.box(layout)
    shape = [part.stop - part.start for part in grown]
    tensors = {name: value[None] for name, value in style_tensors(recipe.style).items()}
    classes = np.ones((1, *shape), np.uint8)
    inputs = paint(classes, box_coordinates(layout.shape, grown)[None], tensors, np.array([0, 1], np.int32))
    forward = tf.function(lambda x: generation.painter.generator(x, training=False)["image"])
    matrix = tf.constant(np.random.default_rng(0).standard_normal((4096, 4096), np.float32))
    product = tf.function(lambda a: tf.linalg.matmul(a, a))
    gflop = network_gflop(generation.painter.generator, shape)
    forward(inputs), product(matrix)
    speeds = []
    for _ in range(5):  # in turn: the machine's speed drifts
        a = time.perf_counter()
        forward(inputs)
        b = time.perf_counter()
        product(matrix).numpy()
        speeds.append((gflop / (b - a), 2 * 4096**3 / 1e9 / (time.perf_counter() - b)))
    network, peak = np.median(speeds, 0)
    print(
        f"network {gflop:.0f} GFLOP on {shape}: {network:.0f} GFLOP/s; matmul {peak:.0f} GFLOP/s; {network / peak:.2f}"
    )


if __name__ == "__main__":
    main()
