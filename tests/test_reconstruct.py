"""Reconstruction: the real scan beside what is painted from its own layout in its own style."""

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from commands import files
from phantoms import atlas_case, phantom_case, phantom_layout, write_case
from scipy.ndimage import gaussian_filter

from synth.brats import MODALITIES
from synth.errors import OutputError, SynthError
from synth.layout.detail import softened
from synth.models.configs import GeneratorConfig
from synth.models.networks.generator import build_generator
from synth.models.weights import save_generator
from synth.runs.reconstruct import Comparison, compare, painter_image, reconstruct, scales_of, summary_lines
from synth.style.scale import LEAST_PAIRED

SHAPE = (64, 72, 60)
TINY = GeneratorConfig(width=8, bottleneck=1)


@pytest.fixture(scope="module")
def subject():
    return phantom_case(SHAPE), phantom_layout(SHAPE)


def painted_plainly(case, layout):
    """Every class in its median intensity."""
    planes = [painter_image(case.images[..., m], layout.classes) for m in range(4)]
    return replace(case, images=np.stack(planes, -1).astype(np.float32))


# --- the comparison -----------------------------------------------------------------------------------------------


def test_the_scan_itself_is_a_perfect_reconstruction(subject):
    case, layout = subject
    rows = compare(case, case, layout)
    assert [(row.case, row.modality) for row in rows] == [(case.id, name) for name in MODALITIES]
    for row in rows:
        assert row.ssim == pytest.approx(1)
        assert row.texture == pytest.approx(1)
        assert row.psnr is None
        assert row.ssim_painter < 0.95


def test_the_painter_is_its_own_yardstick_and_has_no_texture(subject):
    case, layout = subject
    for row in compare(case, painted_plainly(case, layout), layout):
        assert row.ssim == pytest.approx(row.ssim_painter, abs=1e-4)
        assert row.psnr == pytest.approx(row.psnr_painter, abs=0.01)
        assert row.texture < 0.01


def test_half_the_noise_has_half_the_texture_and_is_nearer(subject):
    case, layout = subject
    flat = painted_plainly(case, layout)
    half = replace(case, images=(flat.images + case.images) / 2)
    for row in compare(case, half, layout):
        assert row.texture == pytest.approx(0.5, abs=0.1)
        assert row.psnr == pytest.approx(row.psnr_painter + 6, abs=0.1)  # half the error everywhere
        assert row.ssim_painter < row.ssim < 1


def test_modalities_are_not_confused(subject):
    case, layout = subject
    images = case.images.copy()
    images[..., 2] = images[..., 2][::-1]
    rows = {row.modality: row for row in compare(case, replace(case, images=images), layout)}
    assert rows["t2"].ssim < 0.9
    assert min(rows[name].ssim for name in ("t1", "t1ce", "flair")) == pytest.approx(1)


def test_painter_image_is_the_median_of_each_class():
    real = np.array([1.0, 2.0, 9.0, 4.0, 6.0, 7.0])
    classes = np.array([1, 1, 1, 2, 2, 0])
    assert painter_image(real, classes).tolist() == [2, 2, 2, 5, 5, 0]


def test_summary_has_means_and_medians_over_cases():
    cases = (("a", 0.6), ("b", 0.8), ("c", 0.4), ("d", 0.7))
    rows = [Comparison(case, m, s, 0.5, 10 * s, 9.0, 1.0) for case, s in cases for m in MODALITIES]
    lines = summary_lines(rows)
    assert len(lines) == 9
    assert lines[0].split() == ["SSIM", "painter", "PSNR", "dB", "painter", "texture"]
    assert lines[5].split() == ["t2", "mean", "0.625", "0.500", "6.25", "9.00", "1.00"]
    assert lines[6].split() == ["t2", "median", "0.650", "0.500", "6.50", "9.00", "1.00"]


def test_a_scan_without_texture_has_no_ratio_and_the_table_holds(subject):
    case, layout = subject
    images = case.images.copy()
    flair = images[..., 3]
    flair[(flair > 300) & (layout.classes <= 3)] = 400  # cut off
    flair[(flair > 0) & (layout.classes == 1)] = 150
    rows = compare(replace(case, images=images), case, layout)
    assert [row.texture is None for row in rows] == [False, False, False, True]
    lines = summary_lines([*rows, *compare(case, painted_plainly(case, layout), layout)])
    assert len({len(line) for line in lines[:9]}) == 1  # not torn
    assert lines[7].split()[-1] == "0.00"  # of the one case that has a ratio
    assert lines[9:11] == [
        "left out of 2 cases as undefined (PSNR, equal to the real scan): t1 in 1, t1ce in 1, t2 in 1.",
        "left out of 2 cases as undefined (texture, where the real scan has none): flair in 1.",
    ]
    assert summary_lines(rows)[7].split()[-1] == "-"


def test_fine_structure_and_what_layouts_hold_are_told(subject):
    case, layout = subject
    softer = replace(case, images=gaussian_filter(case.images, (1, 1, 1, 0)) * case.brain[..., None])
    rows = compare(case, softer, layout)
    for row in rows:
        assert row.fine["power_0.3"] < 0.3 < row.fine["power_0.1"] < 1
        assert row.fine["gradient"] < 0.9
        assert (row.bits > 0, row.bits_detail) == (True, 0)
    finer = replace(layout, detail=softened(layout.tissue))
    lines = summary_lines(rows)
    assert lines[9].startswith("fine structure, painted over real")
    assert lines[10].split() == ["0.1-0.2", "0.2-0.3", "0.3-0.5", "gradient", "kurtosis"]
    assert lines[-1].endswith("(no detail): so much of the likeness was told.")
    with_detail = compare(case, softer, finer)
    assert with_detail[0].bits - with_detail[0].bits_detail == pytest.approx(rows[0].bits)
    assert f"({with_detail[0].bits_detail:.1f} of them detail)" in summary_lines(with_detail)[-1]
    assert "NaN" not in json.dumps([vars(row) for row in rows], allow_nan=False)


# --- the run ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The atlas as a scan of full size, reconstructed by a tiny untrained network: input, output and what came back."""
    root = tmp_path_factory.mktemp("reconstruct")
    case, _ = atlas_case()
    case = replace(case, images=case.images.copy())
    affine = case.affine.copy()
    affine[2, 3] = -31.0  # not the usual origin: the input's must come out
    case.images[..., 0] = np.rint(case.images[..., 0] / 24)  # too narrow a scale to be written on
    case.images[..., 1] = np.rint(case.images[..., 1] / 4)  # not too narrow beside its own scan
    case = replace(case, affine=affine)
    write_case(root / "data", case)
    save_generator(root / "tiny", build_generator(TINY), {"name": "tiny", "generator": TINY.to_dict()})
    seen = []
    rows = reconstruct(
        root / "data",
        root / "out",
        model=root / "tiny",
        seed=3,
        progress=lambda cases: (seen.append(c.id) or c for c in cases),
    )
    assert seen == [case.id]
    return root, case, rows


def test_files_are_the_inputs_twins(done):
    root, case, _ = done
    names = sorted(p.name for p in (root / "out").iterdir())
    assert names == [case.id, "contact_sheet.png", "reconstruct.json"]
    for m, name in enumerate(MODALITIES):
        image = nib.load(root / "out" / case.id / f"{case.id}_{name}.nii.gz")
        values = np.asarray(image.dataobj)
        assert np.array_equal(image.affine, case.affine)
        assert values.dtype == np.int16
        assert np.array_equal(values > 0, case.brain)
        real = case.images[..., m][case.brain]
        low, high = np.percentile(real, (0.5, 99.5))
        stretched = 4000 / (high - low) if high - low < LEAST_PAIRED else 1
        assert (m == 0) == (stretched > 1)
        assert np.median(values[case.brain]) == pytest.approx(np.median(real) * stretched, rel=0.25)
        assert len(np.unique(values)) > min((high - low) * stretched, 500)
    seg = np.asarray(nib.load(root / "out" / case.id / f"{case.id}_seg.nii.gz").dataobj)
    assert np.array_equal(seg, np.array([0, 1, 2, 4])[case.labels])


def test_results_are_kept_as_json(done):
    root, case, rows = done
    record = json.loads((root / "out" / "reconstruct.json").read_text())
    assert (record["model"], record["seed"]) == ("tiny", 3)
    scale = scales_of(root / "out")[case.id]
    for m in range(len(MODALITIES)):
        narrow = scale.real[m][1] - scale.real[m][0] < LEAST_PAIRED
        assert (scale.written[m] != scale.real[m]) == narrow
        assert not narrow or scale.written[m][1] - scale.written[m][0] == pytest.approx(4000)
    assert scale.real[0] != scale.written[0]
    assert scale.real[2] == scale.written[2]
    assert [Comparison(**row) for row in record["comparisons"]] == rows
    assert [(row.case, row.modality) for row in rows] == [(case.id, name) for name in MODALITIES]
    for row in rows:
        assert 0.3 < row.ssim < 1
        assert row.psnr > 10
        assert row.texture > 0.1


def test_a_damaged_record_of_scales_is_named(done, tmp_path):
    root, _, _ = done
    assert scales_of(root / "data") == {}
    for text in ("{", '{"scales": {"a": {"real": [[0, 1]], "written": [[0, 1]]}}}', '{"scales": [1]}'):
        (tmp_path / "reconstruct.json").write_text(text)
        with pytest.raises(SynthError, match=f"{tmp_path}/reconstruct.json: expected what `synth reconstruct` wrote"):
            scales_of(tmp_path)


def test_a_folder_with_something_in_it_is_refused(done):
    root, _, _ = done
    before = {path: path.read_bytes() for path in (root / "out").rglob("*.nii.gz")}
    with pytest.raises(OutputError, match="a set of reconstructions that `synth reconstruct` wrote; give --force"):
        reconstruct(root / "data", root / "out", model=root / "tiny")
    with pytest.raises(OutputError, match="found a file; choose another folder"):
        reconstruct(root / "data", root / "out" / "reconstruct.json", model=root / "tiny")
    assert {path: path.read_bytes() for path in (root / "out").rglob("*.nii.gz")} == before


@pytest.mark.parametrize("place", ["data", "data/deep", "."])
def test_scans_are_never_replaced(done, place, tmp_path):
    root, case, _ = done
    shutil.copytree(root / "data", tmp_path / "data")
    source, out = (tmp_path / "data" / case.id, tmp_path / "data") if place == "." else (tmp_path / "data", place)
    before = files(tmp_path)
    with pytest.raises(OutputError, match=r"expected a (folder apart from|new folder, found) the scans"):
        reconstruct(source, tmp_path / out, model=root / "tiny", force=True)
    assert files(tmp_path) == before


def test_a_strangers_folder_of_a_cases_id_stays_with_force_too(done, tmp_path):
    root, case, _ = done
    (tmp_path / "out" / case.id).mkdir(parents=True)
    (tmp_path / "out" / case.id / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"a folder that reconstruct\.json does not know"):
        reconstruct(root / "data", tmp_path / "out", model=root / "tiny", force=True)
    assert files(tmp_path / "out").keys() == {f"{case.id}/notes.txt"}


def test_folders_without_cases_and_unknown_models_are_refused(done, tmp_path):
    root, _, _ = done
    with pytest.raises(SynthError, match=str(tmp_path)):
        reconstruct(tmp_path, tmp_path / "out", model=root / "tiny")
    with pytest.raises(SynthError, match="found neither"):
        reconstruct(root / "data", tmp_path / "out", model=tmp_path / "gone")
    assert not (tmp_path / "out").exists()
