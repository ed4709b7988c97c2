import numpy as np
import pytest
from phantoms import atlas_case, atlas_layout, embed, phantom_case

from synth.brats import GRID
from synth.case import Case
from synth.datasets.cases import find_cases, read_case
from synth.errors import LayoutError
from synth.layout.tissue import extract_layout
from synth.shading import fit_shading, grid_coordinates, shading_field, shading_terms


@pytest.fixture(scope="module")
def atlas_scan():
    return atlas_case()


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_tissue_of_a_noisy_shaded_scan_is_found_and_complete(atlas_scan):
    case, truth = atlas_scan
    layout = atlas_layout()
    healthy = case.labels == 0
    for value in (1, 2, 3):
        assert dice((layout.tissue == value) & healthy, (truth == value) & healthy) > 0.85
    assert np.array_equal(layout.brain, case.brain)
    assert np.array_equal(layout.tumour, case.labels)
    assert layout.tissue[case.labels > 0].min() > 0
    under = case.labels > 0
    assert np.mean(layout.tissue[under] == truth[under]) > 0.6  # the atlas is symmetric: the mirror knows


def test_scale_of_the_intensities_does_not_matter(atlas_scan):
    case, _ = atlas_scan
    images = case.images.astype(np.float32) * np.array([7, 0.3, 20, 2], np.float32)
    scaled = Case(case.id, images, case.labels, case.affine)
    agreement = np.mean(extract_layout(scaled).tissue == atlas_layout().tissue)
    assert agreement > 0.999


def test_missing_slices_of_one_modality_are_filled(atlas_scan):
    case, truth = atlas_scan
    images = case.images.copy()
    images[:, :, :30, 1:] = 0  # only t1 reaches the lowest slices
    layout = extract_layout(Case(case.id, images, case.labels, case.affine))
    gap = (truth > 0) & (np.arange(GRID[2]) < 30)
    assert layout.tissue[gap].min() > 0


def test_too_little_brain_and_another_grid_are_refused():
    small = embed(phantom_case())
    with pytest.raises(LayoutError, match="voxels are healthy brain"):
        extract_layout(small)
    with pytest.raises(LayoutError, match="BraTS grid"):
        extract_layout(phantom_case((64, 72, 60)))


def test_shading_is_recovered():
    coefficients = np.array([0.2, -0.1, 0.3, 0.1, -0.2, 0.05, 0.1, 0, -0.1])
    shape = (20, 24, 28)
    box = tuple(slice(0, n) for n in shape)
    field = shading_field(coefficients, shape, box)
    points = np.stack([axis.ravel() for axis in np.broadcast_arrays(*grid_coordinates(shape, box))], 1).astype(float)
    found = fit_shading(np.log(field.ravel()), shading_terms(points), ridge=0)
    np.testing.assert_allclose(found, coefficients, atol=1e-5)


def test_real_cases_are_within_the_fractions_of_a_brain(real_data):
    for files in find_cases(real_data / "brats")[::14]:  # all take a minute
        case = read_case(files)
        layout = extract_layout(case)
        csf, gm, wm = np.bincount(layout.tissue[layout.brain], minlength=4)[1:] / np.count_nonzero(layout.brain)
        assert 0.10 <= csf <= 0.30, case.id
        assert 0.30 <= gm <= 0.58, case.id
        assert 0.22 <= wm <= 0.45, case.id
        healthy = layout.tumour == 0
        medians = [np.median(case.images[..., 0][healthy & (layout.tissue == k)]) for k in (1, 2, 3)]
        assert medians == sorted(medians), case.id
