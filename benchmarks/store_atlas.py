"""Store the atlas as brains are bent from it: `synth/layout/weights/atlas.npz`, made once of nilearn's maps.

python benchmarks/store_atlas.py
"""

import numpy as np

from synth.layout.atlas import SHIPPED, made_atlas, soft_atlas


def main() -> None:
    """Write it, and make sure that what is read is what was made."""
    made = made_atlas()
    made.save(SHIPPED)
    for name in ("csf", "white", "outside", "inner"):
        if not np.array_equal(getattr(soft_atlas(), name), getattr(made, name)):
            raise SystemExit(f"{name} is not stored without loss")
    print(f"{SHIPPED}: {SHIPPED.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
