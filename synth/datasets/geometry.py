"""Whether the headers of a case's files tell where their voxels are, and put them on one grid: BraTS's, or any."""

import math

import numpy as np

from synth.brats import AFFINE, GRID, SPACING
from synth.case import CaseFiles
from synth.datasets.findings import Findings
from synth.datasets.resample import on_brats_grid
from synth.datasets.volume import (
    Volume,
    affine_problem,
    geometry_problems,
    placement_problem,
    same_place,
    spacing_problem,
)
from synth.errors import printable


def in_place(volumes: dict[str, Volume]) -> bool:
    """Whether nothing has to be resampled: the grid is BraTS's, and the first voxel where BraTS has it."""
    if not volumes:
        return True
    first = next(iter(volumes.values()))
    return on_brats_grid(volumes) and np.allclose(first.affine, AFFINE, atol=0.5)


def check_geometry(files: CaseFiles, volumes: dict[str, Volume], notes: Findings) -> None:
    """Each file against BraTS, and against the affine that most files of the case share."""
    good = {}
    for name, volume in volumes.items():
        problems = geometry_problems(volume)
        for problem in problems:
            notes.error(files.paths[name], problem)
        if not problems:
            good[name] = volume
    if not good:
        return
    usual = max(good, key=lambda name: sum(same_place(good[name], other) for other in good.values()))
    origin = _origin(good[usual])
    if good[usual].array.shape == GRID and not np.allclose(good[usual].affine, AFFINE, atol=0.5):
        notes.warning(
            files.paths[usual],
            f"expected the first voxel at (0, 239, 0) mm as in BraTS, found {origin}; that is kept, but the atlas is "
            "placed by voxel: make sure that the brain lies in the grid as in BraTS.",
        )
    for name, volume in good.items():
        if not same_place(volume, good[usual]):
            notes.error(
                files.paths[name],
                f"its affine differs from that of {printable(files.paths[usual].name)} (first voxel at "
                f"{_origin(volume)} mm against {origin}); register the files of the case to one grid, or copy the "
                "header if only that is wrong.",
            )


def check_placement(files: CaseFiles, volumes: dict[str, Volume], notes: Findings) -> None:
    """Whether each header tells, without contradiction, where its voxels are."""
    for name, volume in volumes.items():
        if problem := affine_problem(volume) or spacing_problem(volume):
            notes.error(files.paths[name], problem)


def check_qforms(files: CaseFiles, volumes: dict[str, Volume], notes: Findings) -> None:
    """Headers whose two affines put a scan in different places."""
    for name, volume in volumes.items():
        if problem := placement_problem(volume):
            notes.warning(files.paths[name], problem)


def voxels_of_grid(volume: Volume) -> float:
    """How many voxels of a volume's size make the BraTS grid."""
    return math.prod(GRID) * math.prod(SPACING) / max(math.prod(volume.spacing), 1e-9)


def _origin(volume: Volume) -> str:
    return "({:g}, {:g}, {:g})".format(*(volume.affine[:3, 3].round(4) + 0.0))  # + 0.0: -0 reads oddly
