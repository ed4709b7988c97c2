"""Store the atlas as brains are bent from it, and the surface that its cortex folds below.

python benchmarks/store_atlas.py

`synth/layout/weights/atlas.npz` is made of nilearn's maps, `synth/hosts/weights/surface.npz` of that.
"""

from dataclasses import fields

import numpy as np

from synth.hosts import folds
from synth.layout import atlas


def stored(path, made, read) -> None:
    """Write what was made, and make sure that it is what is read."""
    path.parent.mkdir(exist_ok=True)
    made.save(path)
    again = read()
    for spec in fields(made):
        if not np.array_equal(getattr(again, spec.name), getattr(made, spec.name)):
            raise SystemExit(f"{spec.name} is not stored without loss")
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


def main() -> None:
    """Write both: the surface is made of the atlas that was stored."""
    stored(atlas.SHIPPED, atlas.made_atlas(), atlas.soft_atlas)
    stored(folds.SHIPPED, folds._made_surface(), folds._surface)


if __name__ == "__main__":
    main()
