import io
import json
from dataclasses import replace

import numpy as np
import pytest
from phantoms import phantom_case, phantom_layout
from PIL import Image
from skimage.metrics import normalized_mutual_information, structural_similarity

from synth.brats import MODALITIES
from synth.case import Case
from synth.errors import DataError
from synth.layout.layout import Layout
from synth.quality.paired import METRICS, PLANES, REGIONS, measure_between, measure_pair, strangers
from synth.quality.prepared import Prepared
from synth.report.core.judge import Verdict
from synth.report.core.sets import Sets
from synth.report.paired.plots import difference_figure
from synth.report.paired.section import section_of
from synth.runs.reconstruct import compare, painter_image
from synth.show.contact_sheet import upright
from synth.style.scale import moved

LEFT_EDGE = {"sagittal": "anterior", "coronal": "right", "axial": "right"}


def prepared(seed=0, tumour=True, images=None):
    case, layout = phantom_case(seed=seed, tumour=tumour), phantom_layout(seed=seed, tumour=tumour)
    case = case if images is None else replace(case, images=images)
    return Prepared(case, layout, layout.bounding_box())


def noisy(one: Prepared, amount=30.0, gain=1.0, seed=5):
    images = one.case.images * gain + np.random.default_rng(seed).normal(0, amount, one.case.images.shape)
    images = np.where(one.case.images > 0, images, 0).astype(np.float32)
    return replace(one, case=replace(one.case, images=images))


def metric(found, name, region="brain", array="similarity"):
    return found[array][:, REGIONS.index(region), METRICS.index(name)]


@pytest.fixture(scope="module")
def real():
    return prepared()


@pytest.fixture(scope="module")
def pair(real):
    return measure_pair(real, noisy(real))


def test_a_pair_is_what_reconstruct_tells(real, pair):
    rows = compare(real.case, noisy(real).case, real.layout)
    np.testing.assert_allclose(metric(pair, "ssim"), [row.ssim for row in rows], atol=1e-6)
    np.testing.assert_allclose(metric(pair, "psnr"), [row.psnr for row in rows], atol=1e-6)
    np.testing.assert_allclose(pair["painter"][:, 0, 0], [row.ssim_painter for row in rows], atol=1e-6)
    np.testing.assert_allclose(pair["painter"][:, 0, 1], [row.psnr_painter for row in rows], atol=1e-6)


def test_regions_and_normalisation_agree_with_scikit_image(real, pair):
    images, other = real.case.images.astype(float), noisy(real).case.images.astype(float)
    brain = real.layout.brain
    box = real.layout.bounding_box(4)
    tumour = (real.case.labels > 0)[box]
    for m in range(4):
        low, high = np.percentile(images[..., m][brain], (0.5, 99.5))
        x, y = (np.where(brain, (v[..., m] - low) / (high - low), 0)[box] for v in (images, other))
        _, local = structural_similarity(x, y, data_range=1.0, full=True)
        assert metric(pair, "ssim", "tumour")[m] == pytest.approx(local[tumour].mean(), abs=1e-4)
        assert metric(pair, "mae", "tumour")[m] == pytest.approx(np.abs(x - y)[tumour].mean(), abs=1e-5)
        nmi = normalized_mutual_information(x[tumour].clip(0, 1), y[tumour].clip(0, 1), bins=100)
        assert metric(pair, "nmi", "tumour")[m] == pytest.approx(nmi, abs=1e-4)
    assert pair["voxels"][0] == brain.sum()
    assert pair["voxels"][1] == tumour.sum()
    assert pair["voxels"][2] < brain.sum() - tumour.sum()


def test_a_reconstruction_on_another_scale_is_brought_back(real, pair):
    window = ((0.0, 1000.0), (50.0, 850.0), (-10.0, 990.0), (0.0, 500.0))
    stretched = ((0.0, 4000.0), (250.0, 4250.0), (100.0, 1100.0), (0.0, 500.0))
    other = noisy(real)
    written = replace(other, case=moved(other.case, window, stretched))
    found = measure_pair(real, written, (window, stretched))
    np.testing.assert_allclose(found["similarity"], pair["similarity"], rtol=1e-3)
    assert (metric(measure_pair(real, written), "psnr")[:3] < metric(pair, "psnr")[:3] - 1).all()


def test_a_scan_beside_itself(real):
    found = measure_pair(real, real)
    np.testing.assert_allclose(metric(found, "ssim"), 1)
    np.testing.assert_allclose(metric(found, "ms_ssim", "tumour"), 1)
    assert np.isinf(metric(found, "psnr")).all()
    assert not metric(found, "nmse").any()
    np.testing.assert_allclose(metric(found, "nmi"), 2)


def test_a_wrong_brightness_counts_in_a_pair_and_not_between_patients(real):
    brighter = noisy(real, amount=0, gain=1.5)
    assert (metric(measure_pair(real, brighter), "psnr") < 15).all()
    assert (metric(measure_between(real, brighter), "psnr") > 60).all()


def test_errors_in_the_tumour_show_in_the_tumour(real):
    images = real.case.images.copy()
    inside = real.case.labels > 0
    images[inside] = images[inside][:, [3, 2, 1, 0]]
    found = measure_pair(real, replace(real, case=replace(real.case, images=images)))
    assert (metric(found, "nmse", "tumour") > 0.01).all()
    assert not metric(found, "nmse", "healthy").any()
    assert (metric(found, "ms_ssim", "tumour") < metric(found, "ms_ssim", "healthy")).all()


def test_without_tumour_there_is_no_number_for_it():
    one = prepared(tumour=False)
    found = measure_pair(one, noisy(one))
    assert np.isnan(found["similarity"][:, 1]).all()
    assert np.isfinite(found["similarity"][:, [0, 2]]).all()
    assert difference_figure(found)[:4] == b"\x89PNG"


def test_pairs_need_one_grid(real):
    case = Case("Small", real.case.images[:-1], real.case.labels[:-1], real.case.affine)
    layout = Layout(real.layout.tissue[:-1], real.layout.tumour[:-1], real.layout.affine, "Small")
    with pytest.raises(DataError, match=r"Small.*one grid"):
        measure_pair(real, Prepared(case, layout, layout.bounding_box()))


def test_slices_stand_upright(real):
    images = real.case.images.copy()
    world = np.moveaxis(np.indices(real.layout.shape), 0, -1) @ real.case.affine[:3, :3].T
    marked = {"right": world[..., 0], "anterior": world[..., 1], "superior": world[..., 2]}
    brain = real.layout.brain
    for m, side in enumerate(marked):  # a modality that grows brighter towards one side
        height = marked[side]
        images[..., m] = np.where(brain, 100 + 10 * (height - height[brain].min()), 0)
    found = measure_pair(replace(real, case=replace(real.case, images=images)), real)
    for plane in PLANES:
        for m, side in enumerate(marked):
            grey = found[plane][m, 0].astype(float)
            inside = grey > 0
            rows, columns = np.indices(grey.shape)
            down, across = (np.cov(where[inside], grey[inside])[0, 1] for where in (rows, columns))
            upper = "anterior" if plane == "axial" else "superior"
            assert (down < -100) == (side == upper)
            assert (across < -100) == (side == LEFT_EDGE[plane])
        labels = found[f"{plane}_labels"]
        axis = PLANES.index(plane)
        areas = (upright(real.case.labels, real.case.affine) > 0).sum(tuple({0, 1, 2} - {axis}))
        assert np.count_nonzero(labels) == areas.max()


def test_strangers_are_different_drawn_by_seed_and_use_every_case():
    ids = [f"c{k}" for k in range(9)]
    drawn = strangers(ids, 6, seed=1)
    assert drawn == strangers(ids[::-1], 6, seed=1) != strangers(ids, 6, seed=2)
    assert len({one for pair in drawn[:4] for one in pair}) == 8
    assert all(a != b for a, b in drawn)
    assert len({frozenset(pair) for pair in strangers(ids[:4], 100)}) == 6 == len(strangers(ids[:4], 100))
    assert strangers(["one"]) == strangers([]) == []


def measured(seed, ssim, painter=0.4):
    """What `measure_pair` gives, of a case with the SSIM wanted; the other measures go along with it."""
    rng = np.random.default_rng(seed)
    level = np.array([ssim, ssim, 30 * ssim, 1 - ssim, 1 - ssim, 1 + ssim / 2])
    slices = {plane: rng.integers(0, 255, (4, 2, 12, 10), np.uint8) for plane in PLANES}
    return {
        "similarity": level + rng.normal(0, 0.005, (4, 3, 6)),
        "painter": np.full((4, 3, 2), painter),
        "mm": np.ones(3),
        **slices,
        **{f"{plane}_labels": np.eye(12, 10, dtype=np.uint8) for plane in PLANES},
    }


@pytest.fixture
def without_pictures(monkeypatch):
    """Verdicts only, quickly."""
    for name in ("difference_figure", "strip_figure"):
        monkeypatch.setattr(f"synth.report.paired.section.{name}", lambda *_: b"")


BETWEEN = [measured(100 + k, 0.2 + 0.01 * k) for k in range(6)]


def judged(pairs, between=BETWEEN):
    found = section_of(Sets((), ()), pairs, between)
    json.dumps(found.to_dict(), allow_nan=False)
    return found, {check.id: check for check in found.checks}


def test_reconstructions_that_are_nearer_than_strangers_pass():
    found, checks = judged({f"c{k}": measured(k, 0.6) for k in range(5)})
    assert {check.verdict for check in found.checks} == {Verdict.PASS}
    assert len(checks) == len(found.checks) == 24
    one = checks["paired.ssim.brain.t1ce"]
    assert one.value == pytest.approx(0.6, abs=0.02)
    assert one.interval[0] <= one.value <= one.interval[1]
    assert one.yardstick.median == pytest.approx(0.225, abs=0.02)
    assert one.n == {"pairs": 5, "different patients": 6}
    assert [figure.id for figure in found.figures] == ["paired.ssim", "paired.worst", "paired.best"]
    assert len(found.tables[0].rows) == 36
    assert any(note.startswith("Small samples: 5 pairs") for note in found.notes)


@pytest.mark.usefixtures("without_pictures")
def test_reconstructions_no_nearer_than_strangers_fail():
    found, checks = judged({f"c{k}": measured(k, 0.22) for k in range(5)})
    assert {check.verdict for check in found.checks} == {Verdict.FAIL}
    assert "no nearer to its own scan" in checks["paired.psnr.brain.t2"].reason


@pytest.mark.usefixtures("without_pictures")
def test_one_pair_astray_is_named_and_too_many_fail():
    pairs = {f"c{k}": measured(k, 0.6) for k in range(10)}
    found, checks = judged({**pairs, "c3": measured(3, 0.1)})
    assert checks["paired.ssim.brain.t1"].verdict == Verdict.LOOK
    assert checks["paired.ssim.brain.t1"].cases == ("c3",)
    assert "c3" in found.figures[1].title
    assert found.tables[1].rows[0][0] == "c3"
    _, checks = judged({**pairs, **{f"c{k}": measured(k, 0.1) for k in range(3)}})
    assert checks["paired.ssim.brain.t1"].verdict == Verdict.FAIL
    assert checks["paired.ssim.brain.t1"].cases == ("c0", "c1", "c2")


@pytest.mark.usefixtures("without_pictures")
def test_no_better_than_flat_painting_is_to_be_looked_at():
    _, checks = judged({f"c{k}": measured(k, 0.6, painter=0.65) for k in range(4)})
    assert checks["paired.ssim.tumour.flair"].verdict == Verdict.LOOK
    assert "flat" in checks["paired.ssim.tumour.flair"].reason
    assert checks["paired.psnr.brain.flair"].verdict == Verdict.PASS


def test_copies_are_to_be_looked_at(real):
    found, checks = judged({"copy": measure_pair(real, real)})
    assert {check.verdict for check in found.checks} == {Verdict.LOOK}
    assert checks["paired.psnr.brain.t1"].value is None
    assert checks["paired.ms_ssim.brain.t1"].cases == ("copy",)
    assert [figure.id for figure in found.figures] == ["paired.ssim", "paired.only"]


@pytest.mark.usefixtures("without_pictures")
def test_what_cannot_be_judged_says_so():
    _, checks = judged({"a": measured(1, 0.6)}, between=())
    assert {check.verdict for check in checks.values()} == {Verdict.NONE}
    assert checks["paired.ssim.brain.t1"].value == pytest.approx(0.6, abs=0.02)
    without = measured(1, 0.6)
    without["similarity"][:, 1] = without["painter"][:, 1] = np.nan
    found, checks = judged({"a": without})
    assert checks["paired.ssim.tumour.t1"].verdict == Verdict.NONE
    assert checks["paired.ssim.brain.t1"].verdict == found.verdict == Verdict.PASS
    found = section_of(Sets((), ()), {}, BETWEEN)
    assert (found.verdict, found.checks) == (Verdict.NONE, ())
    assert "not paired" in found.notes[0]


def test_the_difference_is_red_where_brighter_blue_where_darker_and_outlined():
    pair = measured(0, 0.5)
    for plane in PLANES:
        pair[plane][:] = 100
        pair[plane][:, 1, :4] = 200
        pair[plane][:, 1, 8:] = 20
        pair[f"{plane}_labels"] = np.zeros((12, 10), np.uint8)
        pair[f"{plane}_labels"][5:8, 3:7] = 2
    pixels = np.asarray(Image.open(io.BytesIO(difference_figure(pair))).convert("RGB")).astype(int)
    red, green, blue = np.moveaxis(pixels[:-120], -1, 0)  # without the colour bar
    red_rows = np.nonzero((red > blue + 60) & (red > green + 60))[0]
    blue_rows = np.nonzero(blue > red + 60)[0]
    assert 3000 < len(red_rows) < pixels.shape[0] * pixels.shape[1] / 4
    assert len(blue_rows) > 3000
    assert red_rows.min() < blue_rows.min()
    assert np.count_nonzero((red > 200) & (green > 160) & (blue < 90)) > 200  # the outline


@pytest.mark.usefixtures("without_pictures")
def test_real_scans(real_data):
    """The scan with noise is near, its painter's image no nearer than itself, another patient far."""
    from synth.datasets.cases import find_cases, read_case
    from synth.layout.tissue import extract_layout

    def thin(case: Case) -> Case:  # every second voxel is enough
        affine = case.affine @ np.diag([2.0, 2, 2, 1])
        return Case(case.id, case.images[::2, ::2, ::2], case.labels[::2, ::2, ::2], affine)

    case, *others = (read_case(files) for files in find_cases(real_data / "brats" / "train")[:3])
    whole, case = extract_layout(case), thin(case)
    layout = Layout(whole.tissue[::2, ::2, ::2], case.labels, case.affine, case.id)
    one = Prepared(case, layout, layout.bounding_box())
    two, three = (replace(one, case=thin(other)) for other in others)  # of the other, only the images are used
    flat = np.stack([painter_image(case.images[..., m], layout.classes) for m in range(len(MODALITIES))], -1)
    between = [measure_between(one, two), measure_between(one, three)]

    def found(other: Prepared):
        return section_of(Sets((), ()), {case.id: measure_pair(one, other)}, between)

    assert found(noisy(one, amount=20)).verdict == Verdict.PASS
    assert found(replace(one, case=replace(case, images=flat))).verdict == Verdict.LOOK
    brain = [check for check in found(two).checks if check.id.startswith("paired.ssim.brain")]
    assert len(brain) == 4
    assert all(check.verdict == Verdict.FAIL for check in brain)
