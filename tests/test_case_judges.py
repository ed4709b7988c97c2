"""Skulls, misnamed modalities, copies, mirrored and moved modalities, by the voxels."""

import numpy as np
import pytest
from phantoms import MEANS, phantom_case
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.stats import rankdata

from synth.brats import GRID, MODALITIES
from synth.datasets.cases import find_cases, read_case
from synth.datasets.voxels.judge import judge_case
from synth.datasets.voxels.modalities import ranks_of
from synth.layout import atlas
from synth.layout.atlas import atlas_probabilities


def doubled(array: np.ndarray) -> np.ndarray:
    """A map of every second voxel on the whole grid."""
    return array.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(slice(0, n) for n in GRID)]


def made(vessels: bool) -> np.ndarray:
    """(240, 240, 155, 4) int16: the atlas, lumpy so that its sides differ, with vessels that shine after contrast."""
    rng = np.random.default_rng(0)
    probabilities = atlas_probabilities(2)
    inside = probabilities.sum(-1) > 0.5
    tissue = np.where(inside, probabilities.argmax(-1) + 1, 0)
    lumps, threads = (gaussian_filter(rng.normal(size=tissue.shape).astype(np.float32), sigma) for sigma in (2, 1))
    tissue = np.where((tissue > 1) & (lumps > lumps.std()), 5 - tissue, tissue)
    images = np.array([(0,) * 4, *(MEANS[name] for name in ("CSF", "GM", "WM"))], np.float32)[tissue]
    if vessels:
        images[threads > 2.4 * threads.std(), MODALITIES.index("t1ce")] *= 2.2
    out, mask = np.empty((*GRID, 4), np.int16, order="F"), doubled(inside)
    for m in range(4):
        image = doubled(images[..., m].astype(np.int16))
        for axis in range(3):  # half-way values, or a shift by an odd number of voxels is none
            image = (image + np.roll(image, 1, axis)) // 2
        noise = 1 + 0.06 * rng.standard_normal(GRID, np.float32)
        out[..., m] = np.maximum(image * noise, 1) * mask
    return out


@pytest.fixture(scope="module")
def brain() -> np.ndarray:
    return made(vessels=True)


def replaced(images: np.ndarray, modality: str, image: np.ndarray) -> np.ndarray:
    out = images.copy(order="F")
    out[..., MODALITIES.index(modality)] = image
    return out


def shown(images: np.ndarray, modality: str) -> np.ndarray:
    return images[..., MODALITIES.index(modality)]


def found(images: np.ndarray) -> list[tuple]:
    return [(verdict.kind, *verdict.modalities) for verdict in judge_case(images)]


def head(images: np.ndarray, litres: float) -> np.ndarray:
    """All four with a shell of dark bone and bright scalp, so many litres in all."""
    inside = images[..., 0] != 0
    distance = distance_transform_edt(~inside[::2, ::2, ::2])
    outer = np.sort(distance, axis=None)[round(litres * 1e6 / 8)]
    distance = doubled(distance)
    out = images.copy(order="F")
    out[(distance > 0) & (distance <= outer)] = 700
    out[(distance > 0) & (distance <= 0.4 * outer)] = 60
    return out


@pytest.mark.parametrize("scale", [None, 1 / 1500, 20.0])
def test_a_true_case_passes_on_any_scale(brain, scale):
    assert found(brain if scale is None else brain.astype(np.float32) * np.float32(scale)) == []


def test_other_grids_fragments_and_few_grey_levels_are_not_judged(brain):
    assert found(phantom_case().images[..., ::-1]) == []
    fragment = brain.copy(order="F")
    fragment[:, :, 50:] = 0
    assert found(fragment[..., ::-1]) == []
    coarse = np.minimum(brain // 50 + (brain > 0), 12)
    assert found(coarse[..., ::-1]) == []


def test_a_brain_out_of_place_is_not_judged_by_the_atlas(brain):
    aside = np.roll(brain, (45, -25), (0, 2))[..., [2, 1, 0, 3]]
    assert found(aside) == []


def test_modalities_with_nothing_in_common_are_not_compared(brain):
    apart = brain.copy(order="F")
    apart[:120, ..., 0] = 0
    apart[120:, ..., 1] = 0
    assert found(apart) == []


def test_the_coarse_atlas_is_the_fine_one_at_every_fourth_voxel():
    np.testing.assert_allclose(atlas_probabilities(4), atlas_probabilities()[::4, ::4, ::4], atol=1e-5)


def test_the_atlas_is_cut_where_it_ends_and_nowhere_else(monkeypatch):
    cut = atlas_probabilities(4)
    monkeypatch.setattr(atlas, "_end", lambda mask, matrix, shape: shape)
    np.testing.assert_array_equal(cut, atlas_probabilities.__wrapped__(4))


def test_equal_voxels_are_left_to_the_reader(brain):
    assert found(replaced(brain, "t1ce", shown(brain, "t1"))) == []


@pytest.mark.parametrize("litres", [2.5, 3.6])
def test_a_head_with_its_skull_is_named(brain, litres):
    whole = head(brain, litres)
    assert found(whole) == [("skull", m) for m in MODALITIES]
    assert found(replaced(brain, "t2", shown(whole, "t2"))) == [("skull", "t2")]


def test_a_loosely_stripped_modality_is_named_by_what_the_others_show(brain):
    [verdict] = judge_case(replaced(brain, "flair", shown(head(brain, 2.1), "flair")))
    assert (verdict.kind, verdict.modalities) == ("skull", ("flair",))
    assert "the other modalities show" in verdict.text


@pytest.mark.parametrize("pair", [("t1", "t2"), ("t2", "flair"), ("t1ce", "flair"), ("t1ce", "t2")])
def test_exchanged_names_are_told(brain, pair):
    first, second = pair
    exchanged = replaced(replaced(brain, first, shown(brain, second)), second, shown(brain, first))
    assert found(exchanged) == [("modality", first), ("modality", second)]


def test_a_cycle_of_names_says_of_each_file_what_it_looks_like(brain):
    turned = brain[..., [2, 1, 3, 0]]  # the file t1 holds a t2, t2 a flair, flair a t1
    assert [(v.modalities, v.text.split(" where")[0]) for v in judge_case(turned)] == [
        (("t1",), "looks like a T2"),
        (("t2",), "looks like a FLAIR"),
        (("flair",), "looks like a T1"),
    ]


def test_what_cannot_be_told_is_left_unsaid():
    plain = made(vessels=False)  # nothing shines: the contrast agent may not have been given
    assert found(plain) == []
    assert found(plain[..., [1, 0, 2, 3]]) == []


def test_t1_and_t1ce_are_told_apart_by_vessels(brain):
    assert found(brain[..., [1, 0, 2, 3]]) == [("modality", "t1"), ("modality", "t1ce")]


@pytest.mark.parametrize(
    "bend", [lambda x: 40 * np.sqrt(x), lambda x: 2500 - x, lambda x: x // 3 + 1], ids=["root", "inverse", "thirds"]
)
def test_one_scan_under_two_contrasts_is_named(brain, bend):
    t1 = shown(brain, "t1").astype(float)
    copied = np.where(t1 > 0, np.clip(bend(t1), 1, None), 0).astype(np.int16)
    assert ("copy", "t1", "t2") in found(replaced(brain, "t2", copied))


@pytest.mark.parametrize("by", [(3, 0, 0), (0, -3, 0), (2, 1, -2), (-1, 2, 2)])
def test_a_moved_modality_is_named_though_masked_again(brain, by):
    moved = np.roll(shown(brain, "t2"), by, (0, 1, 2)) * (brain[..., 0] != 0)
    [verdict] = judge_case(replaced(brain, "t2", moved))
    assert (verdict.kind, verdict.modalities, verdict.sure) == ("shift", ("t2",), True)


@pytest.mark.parametrize("masked", [True, False])
def test_along_the_body_a_moved_mask_makes_it_sure(brain, masked):
    moved = np.roll(shown(brain, "t1"), 3, 2)
    moved = moved * (brain[..., 0] != 0) if masked else moved
    [verdict] = judge_case(replaced(brain, "t1", moved))
    assert (verdict.kind, verdict.modalities, verdict.sure) == ("shift", ("t1",), not masked)


def test_far_along_the_body_it_is_sure(brain):
    moved = np.roll(shown(brain, "t1"), -8, 2) * (brain[..., 0] != 0)
    [verdict] = judge_case(replaced(brain, "t1", moved))
    assert (verdict.kind, verdict.modalities, verdict.sure) == ("shift", ("t1",), True)
    assert "at least" in verdict.text


def test_a_scan_that_lacks_slices_is_not_called_moved(brain):
    cut = shown(brain, "flair").copy()
    cut[:, :, :30] = 0
    assert found(replaced(brain, "flair", cut)) == []


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_mirrored_modality_is_named(brain, modality):
    flipped = shown(brain, modality)[::-1]
    assert found(replaced(brain, modality, flipped)) == [("mirror", modality)]
    assert found(replaced(brain, modality, flipped * (brain[..., 0] != 0))) == [("mirror", modality)]


def test_of_two_and_two_both_pairs_are_said(brain):
    images = brain.copy(order="F")
    images[..., 2:] = brain[::-1, ..., 2:]
    verdicts = judge_case(images)
    assert [(v.kind, *v.modalities) for v in verdicts] == [("mirror", "t2"), ("mirror", "flair")]
    assert "against t1 and t1ce" in verdicts[0].text


def test_real_cases_pass_and_wrong_ones_made_of_them_do_not(real_data):
    for files in find_cases(real_data / "brats" / "train")[4::9]:
        images = read_case(files, labels="ignore").images
        assert found(images) == []
        t1, t1ce = shown(images, "t1"), shown(images, "t1ce")
        assert found(replaced(replaced(images, "t1", t1ce), "t1ce", t1)) == [("modality", "t1"), ("modality", "t1ce")]
        assert found(replaced(images, "t1ce", t1ce[::-1] * (t1ce != 0))) == [("mirror", "t1ce")]
        assert found(replaced(images, "t1", np.roll(t1, 3, 1) * (t1 != 0))) == [("shift", "t1")]
        assert found(replaced(images, "t1", np.roll(t1, 1, 1))) == []  # as registration may leave it


def test_ranks_are_those_of_scipy_to_the_bit():
    rng = np.random.default_rng(3)
    for values in (rng.integers(0, 9, 500).astype(float), rng.normal(size=300), np.zeros(7)):
        assert np.array_equal(ranks_of(values), rankdata(values))
