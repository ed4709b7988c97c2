"""Are these different people? A picture for each host: its scan, then the samples that began from it.

python benchmarks/host_pictures.py RUN HOSTS OUT     # RUN: what `synth generate --data HOSTS` wrote

Columns are the host (left) and its samples; rows are t1 (two heights), t2, and coronal flair with the tumour's
outline, each between its own 0.5 and 99.5 percentiles. The distance from the host, image and tissue, stands above.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from synth import open_set
from synth.brats import MODALITIES
from synth.case import Case
from synth.disk.manifest import read_entries

ROWS = (("t1", 2, 70), ("t1", 2, 95), ("t2", 2, 82), ("flair", 1, 120))  # modality, axis, voxel


def tile(ax, case: Case, modality: str, axis: int, at: int) -> None:
    """One plane of a case, upright."""
    image = case.images[..., MODALITIES.index(modality)]
    low, high = np.percentile(image[case.brain], (0.5, 99.5))
    turn = (lambda plane: plane.T) if axis == 2 else (lambda plane: plane.T[::-1])
    ax.imshow(turn(image.take(at, axis)), cmap="gray", vmin=low, vmax=high)
    labels = turn(case.labels.take(at, axis))
    if labels.any():
        ax.contour(labels > 0, [0.5], colors="#ffd23f", linewidths=0.7)
    ax.set_axis_off()


def main() -> None:
    """Draw a picture for each host."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("hosts", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    samples, members = defaultdict(list), {m.id: m for m in open_set(options.run).members}
    for record in read_entries(options.run):
        samples[record["host"]].append(record)
    for host in open_set(options.hosts, scans=True).members:
        records = samples[host.id]
        figure, axes = plt.subplots(
            len(ROWS), 1 + len(records), figsize=(2.2 * (1 + len(records)), 2.3 * len(ROWS)), facecolor="black"
        )
        for column, record in enumerate((None, *records)):
            case = (members[record["id"]] if record else host).read()
            near = record["from_host"] if record else {}
            title = f"{record['id'][-6:]}  {near['image']:.2f} {near['tissue']:.2f}" if record else host.id
            axes[0, column].set_title(title, color="white", fontsize=8)
            for row, plane in enumerate(ROWS):
                tile(axes[row, column], case, *plane)
        figure.subplots_adjust(0.005, 0.005, 0.995, 0.96, 0.01, 0.01)
        figure.savefig(options.out / f"{host.id}.png", dpi=90, facecolor="black")
        plt.close(figure)


if __name__ == "__main__":
    main()
