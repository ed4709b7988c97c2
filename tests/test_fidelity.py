import numpy as np
import pytest
from corrupted import SPOILT
from phantoms import phantom_case, phantom_layout
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance
from skimage.feature import graycomatrix, graycoprops

from synth.brats import CLASSES, MODALITIES
from synth.case import Case
from synth.datasets.cases import find_cases, read_case
from synth.layout.layout import Layout
from synth.layout.space import box_of
from synth.quality import anatomy, fine, intensity, shells, spectrum, texture
from synth.quality.prepared import Prepared
from synth.quality.records import Record, store
from synth.report.core import judge
from synth.report.core.aspects import Aspect, Side, aspect_check, furthest_distance, ordered_distance, pooled_distance
from synth.report.core.judge import Check, Figure, Verdict
from synth.report.core.sets import Sets
from synth.report.fidelity.aspects import aspects
from synth.report.fidelity.section import judged, section_of

PROBES = [one.PROBE for one in (anatomy, intensity, texture, spectrum, fine, shells)]
VERSIONS = {probe.name: probe.version for probe in PROBES}


@pytest.fixture(scope="module", autouse=True)
def few_splits():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "SPLITS", 60)
        yield


def prepared(case: Case, layout: Layout) -> Prepared:
    return Prepared(case, layout, layout.bounding_box())


@pytest.fixture(scope="module")
def phantom() -> Prepared:
    return prepared(phantom_case(seed=3), phantom_layout(seed=3))


def volume(values, labels=None, brain=None, affine=None) -> Prepared:
    """A case of one scalar volume in all modalities; GM all over but the labels."""
    brain = np.ones(values.shape, bool) if brain is None else brain
    tumour = np.zeros(values.shape, np.uint8) if labels is None else labels
    affine = np.eye(4) if affine is None else affine
    images = np.repeat((values * brain)[..., None].astype(np.float32), 4, -1)
    layout = Layout(np.where(brain, 2, 0).astype(np.uint8), tumour, affine, "v")
    return prepared(Case("v", images, tumour, affine), layout)


class TestAnatomy:
    def test_numbers_are_those_of_the_layout(self, phantom):
        found, volumes = anatomy.measure_anatomy(phantom), phantom.layout.volumes_ml()
        named = dict(zip(anatomy.VOLUMES, found["volume_ml"], strict=True))
        assert named["WT"] == pytest.approx(volumes["WT"], rel=1e-4)
        assert named["TC"] == pytest.approx(volumes["NCR"] + volumes["ET"], rel=1e-4)
        assert named["brain"] == pytest.approx(phantom.layout.brain.sum() / 1000, rel=1e-4)
        assert found["tissue_share"].sum() == pytest.approx(1)
        assert found["tissue_share"][0] / found["tissue_share"][2] == pytest.approx(
            volumes["CSF"] / volumes["WM"], rel=1e-4
        )
        assert found["composition"] == pytest.approx([volumes[k] / volumes["WT"] for k in anatomy.PARTS], rel=1e-3)

    def test_the_place_follows_the_tumour(self):
        brain = phantom_layout(tumour=False)
        low, high = (np.zeros(brain.shape, np.uint8) for _ in range(2))
        low[8:14, 20:26, 15:21] = high[22:28, 20:26, 15:21] = 2
        x = [
            anatomy.measure_anatomy(prepared(phantom_case(), brain.with_tumour(one)))["centroid_mm"][0]
            for one in (low, high)
        ]
        assert x[0] > x[1] + 50  # LPS: the first voxels lie on the patient's right; the grid stands for a whole head

    def test_a_healthy_brain_has_no_place(self):
        found = anatomy.measure_anatomy(prepared(phantom_case(tumour=False), phantom_layout(tumour=False)))
        assert np.isnan(found["centroid_mm"]).all()
        assert np.isnan(found["shape"]).all()
        assert (found["volume_ml"][1:] == 0).all()


class TestIntensity:
    def test_quantiles_are_numpys(self, phantom):
        found = intensity.measure_intensity(phantom)
        for k, m in ((1, 0), (2, 2), (4, 3)):
            values = phantom.z[..., m][phantom.classes == k + 1]
            np.testing.assert_allclose(found["quantiles"][m, k], np.percentile(values, range(101)), atol=1e-5)
            assert found["sd"][m, k] == pytest.approx(values.std(), rel=1e-4)
            assert found["count"][k] == values.size
        pair = intensity.CONTRASTS.index(("ED", "WM"))
        medians = [np.median(phantom.z[..., 3][phantom.classes == 1 + CLASSES.index(name)]) for name in ("ED", "WM")]
        assert found["contrast"][3, pair] == pytest.approx(medians[0] - medians[1], abs=1e-5)

    def test_rare_classes_have_no_distribution(self, phantom):
        labels = phantom.layout.tumour.copy()
        labels[labels == 1] = 2
        labels[tuple(np.argwhere(labels == 2)[:199].T)] = 1
        layout = phantom.layout.with_tumour(labels)
        found = intensity.measure_intensity(prepared(phantom.case, layout))
        assert found["count"][3] == 199
        assert np.isnan(found["quantiles"][:, 3]).all()
        assert np.isfinite(found["quantiles"][:, 4]).all()

    def test_a_border_that_fits_has_its_step_at_zero(self):
        grid = np.indices((40, 44, 36)).transpose(1, 2, 3, 0)
        distance = np.linalg.norm(grid - (21, 20, 17), axis=-1)
        seen = np.where(distance <= 9, 300.0, 100.0) + np.random.default_rng(0).normal(0, 5, distance.shape)

        def step(radius):
            labels = np.where(distance <= radius, 2, 0).astype(np.uint8)
            found = intensity.measure_intensity(volume(seen, labels))
            return found["step"][0, 0], found["profile"][0, 0]

        fits, profile = step(9)
        assert np.argmin(np.diff(profile)) == intensity.REACH - 1
        assert step(13)[0] < 0.05 * fits
        assert step(6)[0] < 0.2 * fits

    @pytest.mark.parametrize("zooms", [(1, 1, 1), (2, 1, 1), (1, 0.5, 1)])
    def test_shells_are_in_mm(self, zooms):
        grid = np.indices((40, 60, 36)).transpose(1, 2, 3, 0) * zooms
        distance = np.linalg.norm(grid - np.multiply((18.3, 29.4, 17.2), zooms), axis=-1)
        labels = np.where(distance <= 9, 2, 0).astype(np.uint8)
        case = volume(distance + 1, labels, affine=np.diag([*zooms, 1.0]))
        found = intensity.profile(case)[0, 0] * (distance + 1).std() + distance.mean()  # mm from the centre again
        expected = 9 + np.arange(12) - 5.5
        there = np.isfinite(found)
        assert there.sum() >= 8
        np.testing.assert_allclose(found[there], expected[there], atol=0.8)


class TestTexture:
    def test_cooccurrence_is_scikit_images(self):
        rng = np.random.default_rng(0)
        image = (rng.integers(0, 64, (30, 26)) // 8 + rng.integers(0, 3, (30, 26))).astype(np.uint8)
        angles = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
        theirs = graycomatrix(image, [1], angles, levels=64, symmetric=True)[:, :, 0].sum(-1).astype(float)
        steps = ((0, 1), (1, 1), (1, 0), (1, -1))
        pairs = [_pairs(image, *step) for step in steps]
        ours = texture.cooccurrence(*(np.concatenate(side).astype(np.int32) for side in zip(*pairs, strict=True)))
        np.testing.assert_allclose(ours, theirs / theirs.sum())
        matrix = (theirs / theirs.sum())[:, :, None, None]
        props = [graycoprops(matrix, name).item() for name in ("contrast", "homogeneity", "correlation", "energy")]
        seen = matrix[matrix > 0]
        assert texture.haralick(ours) == pytest.approx([*props, -(seen * np.log2(seen)).sum()])

    def test_a_slanted_plane_has_its_gradient_and_no_noise(self):
        x, y, z = np.indices((24, 20, 22), np.float32)
        found = texture.measure_texture(volume(100 + 3 * x - 2 * y + z, affine=np.diag([1.0, 2, 0.5, 1])))["features"]
        named = dict(zip(texture.FEATURES, found[0, 0], strict=True))
        scale = (100 + 3 * x - 2 * y + z).std()
        assert named["gradient"] == pytest.approx(np.sqrt(3**2 + 1**2 + 2**2) / scale, rel=1e-3)
        assert named["noise"] < 1e-3

    def test_noise_is_that_of_white_noise(self):
        rng = np.random.default_rng(0)
        shape = (40, 36, 30)
        smooth = np.broadcast_to(np.linspace(0, 100, 40)[:, None, None], shape)
        found = texture.measure_texture(volume(200 + smooth + rng.normal(0, 5, shape)))["features"]
        assert found[0, 0, texture.FEATURES.index("noise")] == pytest.approx(5 / np.hypot(smooth.std(), 5), rel=0.05)
        assert np.isnan(found[:, 1:]).all()  # there is GM alone

    def test_no_pair_leaves_its_class(self):
        """A border between two flat classes is no contrast of either."""
        values = np.full((24, 24, 24), 100.0)
        values[:12] = 300
        labels = np.where(values > 200, 2, 0).astype(np.uint8)
        found = texture.measure_texture(volume(values, labels))["features"][0]
        for name in ("GM", "ED"):
            assert found[texture.CLASSES.index(name), 0] == 0
        assert np.nanmax(found[:, texture.FEATURES.index("gradient")]) > 0


def _pairs(image, down, right):
    height, width = image.shape
    first = image[: height - down, max(-right, 0) : width - max(right, 0)]
    second = image[down:, max(right, 0) : width - max(-right, 0)]
    return first.ravel(), second.ravel()


class TestSpectrum:
    def test_white_noise_is_flat_and_a_wave_is_where_it_is(self):
        rng = np.random.default_rng(0)
        noise = rng.normal(500, 20, (128, 130, 126))
        found = spectrum.measure_spectrum(volume(noise))
        assert np.abs(found["power"][0, 4:]).max() < 1.0  # 0 dB
        assert np.abs(found["axes"][0]).max() < 2.5
        wave = noise + 200 * np.sin(2 * np.pi * 0.25 * np.arange(126))
        found = spectrum.measure_spectrum(volume(wave))
        assert spectrum.FREQUENCIES[found["power"][0].argmax()] == pytest.approx(0.25, abs=0.01)
        assert found["axes"][0].argmax() == 2 * len(spectrum.BANDS) + 3

    def test_blur_along_one_axis_shows_there(self):
        noise = np.random.default_rng(0).normal(500, 20, (100, 90, 80))
        sharp, blurred = (
            spectrum.measure_spectrum(volume(v))["axes"][0] for v in (noise, gaussian_filter(noise, (0, 0, 1.5)))
        )
        lost = (sharp - blurred)[:, -1]
        assert lost[2] > lost[0] + 10
        assert lost[2] > lost[1] + 10


def records(folder, name: str, seed: int, count: int, change=None) -> list[Record]:
    """Measured sets made up of numbers alone: real ones differ from case to case as patients do."""
    rng, out = np.random.default_rng(seed), []
    levels = np.linspace(-1, 1, 101)
    for number in range(count):
        shift = rng.normal(0, 0.2, (4, 6))
        sd = np.exp(rng.normal(-1, 0.2, (4, 6)))
        arrays = {
            "intensity": {
                "quantiles": shift[..., None] + sd[..., None] * levels,
                "mean": shift,
                "sd": sd,
                "contrast": rng.normal(0.5, 0.2, (4, 6)),
                "profile": np.linspace(1, 0, 12) + rng.normal(0, 0.1, (3, 4, 12)),
                "step": rng.normal(1, 0.2, (3, 4)),
            },
            "texture": {"features": np.exp(rng.normal(-1, 0.3, (4, 4, 9)))},
            "spectrum": {
                "power": -np.linspace(0, 50, 64) + rng.normal(0, 2, (4, 1)),
                "axes": rng.normal(0, 2, (4, 3, 5)),
            },
            "fine": {"tails": np.exp(rng.normal((-0.5, 2), 0.2, (4, 2)))},
            "shells": {"statistics": rng.normal(0, 0.2, (4, 4, 4))},
            "anatomy": {
                "tissue_share": rng.dirichlet((20, 50, 30)),
                "volume_ml": np.exp(rng.normal(3, 0.5, 6)),
                "composition": rng.dirichlet((2, 5, 3)),
                "centroid_mm": rng.normal(0, 20, 3),
                "shape": np.array([rng.normal(0.6, 0.1), rng.normal(60, 15), 1]),
            },
        }
        if change is not None:
            change(arrays)
        where = folder / name / str(number)
        for probe in PROBES:
            store(where, probe, {key: np.float32(value) for key, value in arrays[probe.name].items()})
        out.append(Record(f"{name}_{number}", where, VERSIONS))
    return out


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return records(tmp_path_factory.mktemp("real"), "real", 0, 24)


def failing(synthetic, real):
    return {check.id for check in judged(Side(synthetic), Side(real)) if check.verdict == Verdict.FAIL}


def _no_class(arrays):
    for name in ("quantiles", "mean", "sd"):
        arrays["intensity"][name][:, 3] = np.nan


def _flat(arrays):
    arrays["intensity"]["sd"] *= 0.01


def _blurred(arrays):
    arrays["spectrum"]["power"] = arrays["spectrum"]["power"] * 1.5


def _veiled(arrays):
    arrays["fine"]["tails"][:, 0] *= 0.3  # no edge is as steep as real ones, in noise of the right power


def _smooth_inside(arrays):
    arrays["shells"]["statistics"][3, :, 1:] -= 1.5


def _brighter(arrays):
    arrays["intensity"]["quantiles"][2, 1] += 1.5


def _mislabelled(arrays):
    arrays["intensity"]["step"] *= 0.1


def _grown(arrays):
    arrays["anatomy"]["volume_ml"][1:] *= 20


def _one_texture(arrays):
    arrays["texture"]["features"][1, 1, 4] += 20  # 50 deviations, of one of 18 numbers


class TestSection:
    def test_alike_sets_do_not_fail(self, real, tmp_path):
        found = judged(Side(records(tmp_path, "syn", 1, 12)), Side(real))
        assert not any(check.verdict == Verdict.FAIL for check in found)
        assert sum(check.verdict == Verdict.LOOK for check in found) <= 8
        assert len({check.id for check in found}) == len(found) == 24 + len(aspects())

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (_flat, {f"fidelity.spread.{m}" for m in MODALITIES}),
            (_blurred, {f"fidelity.sharpness.{m}" for m in MODALITIES}),
            (_veiled, {f"fidelity.tails.{m}" for m in MODALITIES}),
            (_smooth_inside, {"fidelity.shell.interior"}),
            (_brighter, {"fidelity.intensity.t2.GM"}),
            (_mislabelled, {"fidelity.border.WT", "fidelity.border.ET"}),
            (_grown, {"fidelity.anatomy.tumour"}),
            (_one_texture, {"fidelity.texture.healthy.t1ce"}),
            (_no_class, {f"fidelity.intensity.{m}.NCR" for m in MODALITIES}),
        ],
    )
    def test_each_fault_fails_where_it_is(self, real, tmp_path, change, expected):
        found = failing(records(tmp_path, "syn", 1, 12, change), real)
        assert expected <= found
        groups = {name.split(".")[1] for name in expected}
        assert {name.split(".")[1] for name in found} <= groups | {"spectrum"}

    def test_what_is_given_is_passed_on_and_pictures_are_drawn(self, real, tmp_path):
        extra = Check("fidelity.features.x", "Feature space", "t", 1.0, "", Verdict.PASS, "fine.")
        picture = Figure("gallery", "Cases", "c", lambda: b"x")
        found = section_of(Sets(records(tmp_path, "syn", 2, 3), real), [extra], [picture])
        assert found.checks[-1] is extra
        assert found.figures[0] is picture
        assert all(one.data.startswith(b"\x89PNG") for one in found.figures[1:])
        assert any("Small samples" in note for note in found.notes)
        assert all(len(row) == len(table.columns) for table in found.tables for row in table.rows)

    def test_cases_without_tumour_and_single_cases_do_not_break_it(self, real, tmp_path):
        def healthy(arrays):
            arrays["intensity"]["quantiles"][:, 3:] = np.nan
            for probe, name in (("intensity", "profile"), ("intensity", "step"), ("anatomy", "shape")):
                arrays[probe][name] = np.full_like(arrays[probe][name], np.nan)
            for name in ("composition", "centroid_mm"):
                arrays["anatomy"][name][:] = np.nan
            arrays["texture"]["features"][:, 2:] = np.nan

        none = records(tmp_path, "none", 1, 6, healthy)
        named = {check.id: check for check in judged(Side(none), Side(real))}
        assert named["fidelity.intensity.t1.ET"].verdict == Verdict.FAIL
        assert named["fidelity.border.WT"].verdict == Verdict.NONE
        assert named["fidelity.intensity.t1.GM"].verdict == Verdict.PASS
        assert len(section_of(Sets(none[:1], real)).figures) == 6
        one = records(tmp_path, "one", 1, 1)
        assert {check.verdict for check in judged(Side(one), Side(real))} == {Verdict.NONE}

    def test_the_seed_decides(self, real, tmp_path):
        ours = records(tmp_path, "syn", 1, 6)
        values = [[c.value for c in judged(Side(ours), Side(real), seed)] for seed in (1, 1, 2)]
        assert values[0] == values[1] != values[2]


class TestAspect:
    def test_distances_are_scipys(self):
        rng = np.random.default_rng(0)
        a, b = rng.normal(size=(20, 3)), rng.normal(1, 2, (20, 3))
        each = [wasserstein_distance(x, y) for x, y in zip(a.T, b.T, strict=True)]
        assert ordered_distance(a, b) == pytest.approx(np.mean(each))
        assert furthest_distance(a, b + np.array([0, 9, 0])) == pytest.approx(
            np.median(np.sort(b[:, 1]) + 9 - np.sort(a[:, 1]))
        )
        assert pooled_distance(a, b) == pytest.approx(wasserstein_distance(a.ravel(), b.ravel()))

    def _check(self, ours, theirs, least=0.1):
        names = tuple(f"n{k}" for k in range(ours.shape[1]))
        sides = Side([Record(f"c{i}", None, {}) for i in range(len(ours))]), Side([None] * 0)
        lookup = {id(sides[0]): ours, id(sides[1]): theirs}
        return aspect_check(Aspect("a.b", "g", "t", names, lambda side: lookup[id(side)], least), *sides, 0)

    def test_the_reason_names_what_is_off_and_who(self):
        rng = np.random.default_rng(0)
        ours, theirs = rng.normal(size=(10, 3)), rng.normal(size=(20, 3))
        ours[:, 1] -= 9
        ours[4] = (6, -9, 6)
        check = self._check(ours, theirs)
        assert check.verdict == Verdict.FAIL
        assert "furthest off: n1 (lower" in check.reason
        assert check.cases[0] == "c4"

    def test_one_odd_scan_does_not_decide(self):
        rng = np.random.default_rng(0)
        ours, theirs = rng.normal(size=(10, 1)), rng.normal(size=(20, 1))
        ours[3] = 1000
        assert self._check(ours, theirs).verdict != Verdict.FAIL

    @pytest.mark.parametrize("count", [4, 12])
    def test_a_single_number_far_off_in_all_samples_fails(self, count):
        rng = np.random.default_rng(0)
        ours, theirs = rng.normal(size=(count, 18)), rng.normal(size=(24, 18))
        assert self._check(ours, theirs).verdict == Verdict.PASS
        ours[:, 7] += 12
        check = self._check(ours, theirs)
        assert check.verdict == Verdict.FAIL
        assert "a single one of 18 numbers" in check.reason
        assert "furthest off: n7 (higher" in check.reason
        assert check.value > 2 * check.yardstick.high

    def test_a_single_number_far_off_in_a_few_samples_does_not_fail(self):
        rng = np.random.default_rng(0)
        ours, theirs = rng.normal(size=(12, 18)), rng.normal(size=(24, 18))
        ours[:4, 7] = 1000
        check = self._check(ours, theirs)
        assert check.verdict != Verdict.FAIL
        assert "single" not in check.reason

    def test_what_does_not_differ_among_real_cases_is_no_ruler(self):
        rng = np.random.default_rng(0)
        ours, theirs = np.ones((10, 1)), np.ones((20, 1))
        ours[0] = 1.001
        assert self._check(ours, theirs).verdict == Verdict.PASS
        ours = ours + rng.normal(2, 0.1, ours.shape)
        assert self._check(ours, theirs).verdict == Verdict.FAIL

    def test_cases_that_lack_a_number_are_left_out_and_a_number_that_most_lack_too(self):
        rng = np.random.default_rng(0)
        ours, theirs = rng.normal(size=(12, 2)), rng.normal(size=(24, 2))
        ours[:4, 0] = np.nan
        assert self._check(ours, theirs).n == {"synthetic": 8, "real": 8}
        ours[:8, 0] = np.nan
        assert self._check(ours, theirs).n == {"synthetic": 12, "real": 12}
        ours[:] = np.nan
        assert self._check(ours, theirs).verdict == Verdict.NONE


def test_spoilt_real_scans_show_where_they_are_spoilt(real_data):
    """Tissue is a third each of the unspoilt t1, to be quick; reports on spoilt sets are tested elsewhere."""
    whole = read_case(find_cases(real_data / "brats" / "val")[0])
    box = box_of(whole.images.any(-1))
    case = Case(whole.id, whole.images[box], whole.labels[box], whole.affine)
    brain, t1 = case.images.any(-1), case.images[..., 0]
    thirds = np.digitize(t1, np.quantile(t1[brain], (1 / 3, 2 / 3))) + 1
    spoilt = {kind: SPOILT[kind](case, np.random.default_rng(0)) for kind in ("noisy", "blurred", "enlarged")}
    cases = {}
    for kind, one in {"real": case, **spoilt}.items():
        tumour = np.where(brain, one.labels, 0).astype(np.uint8)
        layout = Layout(np.where(brain, thirds, 0).astype(np.uint8), tumour, case.affine, case.id)
        cases[kind] = prepared(one, layout)

    def measured(probe, *kinds):
        return [probe.PROBE.measure(cases[kind]) for kind in kinds]

    real, noisy, blurred = (one["features"][:, :2, -1] for one in measured(texture, "real", "noisy", "blurred"))
    assert (noisy > 1.5 * real).all()
    assert (blurred < 0.5 * real).all()
    real, blurred = (one["power"][:, 40:].mean(1) for one in measured(spectrum, "real", "blurred"))
    assert (blurred < real - 6).all()
    real, enlarged = (one["step"][[0, 2], [3, 1]] for one in measured(intensity, "real", "enlarged"))
    assert (enlarged < 0.5 * real).all()
    real, enlarged = (one["volume_ml"][1] for one in measured(anatomy, "real", "enlarged"))
    assert enlarged > 1.4 * real
