"""What `--resample` costs: real scans put on other grids, segmented there, against what the originals give.

python benchmarks/other_grids.py DATA [N]   # DATA holds brats/train; N cases (default 6), about 2 minutes each

Variants: `turned` (by 6, -8 and 10 degrees, 1.2 x 0.9 x 2 mm, RAS, the header true), `scanner` (the same, the head
turned by 20 degrees more and in scanner coordinates, so that it has to be found), `thick` (straight, 1 x 1 x 5 mm),
`origin` (the voxels as they are in a smaller box, under another origin). Dice of WT, TC and ET on the variant's own
grid between its segmentation and the original's, brought there by nearest neighbour, as with the truth.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from phantoms import other_grid, sampled, write_case

from synth.brats import REGIONS
from synth.case import Case
from synth.datasets.atlas_fit import fit_to_atlas
from synth.datasets.cases import find_cases, read_case
from synth.datasets.reading import Reading
from synth.datasets.sets import open_set
from synth.datasets.volume import read_volume
from synth.runs.segment import segment


def turned(case: Case) -> Case:
    """A scan as bar 5 wants it."""
    return sampled(case, *other_grid())


def scanner(case: Case) -> Case:
    """It, where its header no longer says how it lies in the atlas."""
    away = np.eye(4)
    away[:3, :3] = Rotation.from_euler("xyz", (15, -5, 12), degrees=True).as_matrix()
    away[:3, 3] = 118, -95, -90
    other = turned(case)
    return replace(other, affine=away @ other.affine)


def thick(case: Case) -> Case:
    """Slices of 5 mm."""
    return sampled(case, *other_grid((1.0, 1.0, 5.0), (0, 0, 0)))


def origin(case: Case) -> Case:
    """A smaller box with the first voxel at another place."""
    cut = np.s_[15:-20, 15:-10, :]
    affine = case.affine.copy()
    affine[:3, 3] = 101.5, 118.25, -66
    labels = None if case.labels is None else case.labels[cut]
    return replace(case, images=case.images[cut], labels=labels, affine=affine)


VARIANTS = {"turned": turned, "scanner": scanner, "thick": thick, "origin": origin}


def on_grid_of(labels: np.ndarray, case: Case, name: str, other: Case) -> np.ndarray:
    """Labels of the original on a variant's grid, nearest neighbour."""
    if name == "origin":
        return labels[15:-20, 15:-10]
    true = turned(case).affine if name == "scanner" else other.affine
    into = np.linalg.inv(case.affine) @ true
    return affine_transform(labels, into, output_shape=other.images.shape[:3], order=0)


def dices(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Of WT, TC, ET; 1 where neither has any."""
    out = []
    for region in REGIONS.values():
        one, two = np.isin(a, region), np.isin(b, region)
        size = np.count_nonzero(one) + np.count_nonzero(two)
        out.append(2 * np.count_nonzero(one & two) / size if size else 1.0)
    return out


def found_in(out: Path, case_id: str) -> np.ndarray:
    """Class indices that `segment` wrote."""
    return np.array([0, 1, 2, 0, 3], np.uint8)[np.asanyarray(nib.load(out / case_id / f"{case_id}_seg.nii.gz").dataobj)]


def main(data: str, count: int) -> None:
    """Print a line a case and variant, then the medians and the lowest."""
    every = find_cases(Path(data) / "brats" / "train")
    chosen = [every[round(k)] for k in np.linspace(0, len(every) - 1, count)]
    rows: dict[str, list] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for files in chosen:
            case = read_case(files)
            fit = fit_to_atlas(read_volume(files.paths["t1"])).apart(np.eye(4))
            write_case(root / case.id / "original", case)
            segment(root / case.id / "original", root / case.id / "out")
            wanted = found_in(root / case.id / "out", case.id)
            own = dices(wanted, case.labels)
            print(
                f"{case.id}: {fit[0]:.1f} degrees, {fit[1]:.1f} mm from the atlas; the original against the truth: "
                + " ".join(f"{value:.3f}" for value in own),
                flush=True,
            )
            for name, change in VARIANTS.items():
                other = change(case)
                write_case(root / case.id / name, other)
                (there,) = find_cases(root / case.id / name)
                begin, cpu = time.perf_counter(), time.process_time()
                read_case(there, reading=Reading(resample=True))
                seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
                out = root / case.id / f"{name}-out"
                segment(open_set(root / case.id / name, reading=Reading(resample=True)), out)
                found = found_in(out, case.id)
                same = dices(found, on_grid_of(wanted, case, name, other))
                true = dices(found, on_grid_of(case.labels, case, name, other))
                rows[name].append((*same, *true, *own, seconds, cpu))
                print(
                    f"  {name:8s} as the original {same[0]:.3f} {same[1]:.3f} {same[2]:.3f}   against the truth "
                    f"{true[0]:.3f} {true[1]:.3f} {true[2]:.3f}   read in {seconds:.1f} s ({cpu:.1f} s of CPU)",
                    flush=True,
                )
    for name, values in rows.items():
        middle, least = np.median(values, 0), np.min(values, 0)
        print(
            f"{name}: Dice with the original's, WT TC ET: median {middle[:3].round(3).tolist()}, lowest "
            f"{least[:3].round(3).tolist()}; with the truth {middle[3:6].round(3).tolist()} (originals "
            f"{middle[6:9].round(3).tolist()}); read in {middle[9]:.1f} s ({middle[10]:.1f} s of CPU)"
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 6)
