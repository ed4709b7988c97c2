"""Train the packaged generator further on your own scanner's scans, and see on scans it never met what that changed.

    python examples/finetune_generator.py --data train --val val --test test --steps 800 --out tuned
    synth generate --n 50 --data train --model tuned/run/model --out set

`train` has a few annotated cases or more, `val` others that choose the best weights, `test` others again, which judge:
each is painted from its own layout and compared with the scan (1 is right for textures and bands of power), by the
generator as it came and as it is now. It can be interrupted: the same command goes on. `tuned` holds your patients'
voxels.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from synth import reconstruct

MODALITIES = ("t1", "t1ce", "t2", "flair")


def judged(scans: Path, out: Path, model: str | Path) -> dict[str, dict[str, float]]:
    """Medians over the scans for each modality."""
    rows = reconstruct(scans, out, model=model, force=True)
    found: dict[str, dict[str, float]] = {}
    for modality in MODALITIES:
        own = [row for row in rows if row.modality == modality]
        numbers = [{"SSIM": row.ssim, "texture": row.texture, **row.fine} for row in own]
        known = {name: [n[name] for n in numbers if n[name] is not None] for name in numbers[0]}
        found[modality] = {name: median(values) for name, values in known.items() if values}
    return found


def tuned(data: Path, val: Path, run: Path, init: str, steps: int) -> float:
    """Train; return the minutes that it took."""
    begin = time.perf_counter()
    line = ["--data", data, "--val", val, "--init", init, "--out", run]
    more = ["--steps", steps, "--validate-every", max(steps // 4, 1)]
    subprocess.run([sys.executable, "-m", "synth", "train", "generator", *map(str, [*line, *more])], check=True)
    return (time.perf_counter() - begin) / 60


def main(arguments: list[str] | None = None) -> None:
    """Judge, train, judge again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="annotated cases to learn from")
    parser.add_argument("--val", type=Path, required=True, help="others, which choose the best weights")
    parser.add_argument("--test", type=Path, required=True, help="others again, which judge")
    parser.add_argument("--init", default="default", help="name or folder of the generator to begin from")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--out", type=Path, default=Path("tuned"), help="a new folder, or one to go on in")
    options = parser.parse_args(arguments)

    before = judged(options.test, options.out / "before", options.init)
    run = options.out / "run"
    minutes = tuned(options.data, options.val, run, options.init, options.steps)
    after = judged(options.test, options.out / "after", run / "model")

    print(f"{options.steps} steps, {minutes:.0f} minutes; medians on {options.test}, before -> after")
    for modality in MODALITIES:
        pairs = (f"{name} {before[modality][name]:.3f} -> {value:.3f}" for name, value in after[modality].items())
        print(f"{modality}: {', '.join(pairs)}")


if __name__ == "__main__":
    main()
