"""Segmenting a folder of scans: the right labels on the scans' own grid, measured, resumable, and nothing by halves.

The scans are small here, for speed; `test_cli_segment` and the real scan below are of full size.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import keras
import nibabel as nib
import numpy as np
import pytest
from commands import files
from phantoms import SHAPE, phantom_case, write_case

import synth.datasets.members
from synth.brats import GRID, MODALITIES, NAMINGS
from synth.datasets.cases import find_cases, read_case
from synth.datasets.fingerprint import fingerprint
from synth.datasets.sets import open_set
from synth.disk.manifest import read_entries
from synth.errors import DataError, ModelError, OutputError, SynthError
from synth.exporters import open_exporter
from synth.models.cards import median_postprocess, trained_on, used_cases
from synth.models.configs import MIRRORS as NETWORK_MIRRORS
from synth.models.configs import SegmenterConfig
from synth.models.ensembles import load_segmenter
from synth.models.networks.segmenter import build_segmenter
from synth.models.postprocess import Postprocess
from synth.models.sliding_window import Segmenter
from synth.models.weights import load_segmenter_network, save_segmenter
from synth.quality.segmentation_metrics import measure
from synth.runs.segment import MIRRORS, segment
from synth.runs.segmentations import read_segmentation, write_segmentation

TINY = SegmenterConfig("unet3d", 4)
THRESHOLDS = {"min_component_ml": 0.02, "min_et_ml": 5.0}  # two of the three scans have more of what it takes for ET


def save_model(folder, seed=1, *, window=48, postprocess=THRESHOLDS, **card):
    keras.utils.set_random_seed(seed)
    card = {"name": "tiny", "segmenter": TINY.to_dict(), "window": window, "postprocess": postprocess, **card}
    return save_segmenter(folder, build_segmenter(TINY), card)


@pytest.fixture(scope="module", autouse=True)
def small_grid():
    """Let scans be as small as phantoms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synth.datasets.members, "GRID", SHAPE)
        yield


def scan(seed, case_id, **options):
    """A phantom whose first voxel is not where BraTS has it."""
    case = phantom_case(seed=seed, case_id=case_id, **options)
    affine = case.affine.copy()
    affine[:3, 3] = (3, 236, -5)
    return replace(case, affine=affine)


@pytest.fixture(scope="module")
def prepared(small_grid, tmp_path_factory):
    """Scans A and B with labels and C without, a model, an ensemble, and what `segment` left: never changed."""
    root = tmp_path_factory.mktemp("segment")
    for seed, case_id in enumerate("AB"):
        write_case(root / "data", scan(seed, case_id))
    write_case(root / "data", scan(2, "C", labels=False))
    save_model(root / "model")
    for fold in range(2):
        save_model(root / "run" / f"fold_{fold}" / "model", seed=fold + 1)
    (root / "run" / "folds.json").write_text("{}")
    segment(root / "data", root / "out", model=root / "model")
    return root


def labels_of(folder, case_id, naming="brats2020"):
    naming = NAMINGS[naming]
    image = nib.load(folder / case_id / (naming.stem(case_id, "seg") + ".nii.gz"))
    return naming.from_disk(np.asanyarray(image.dataobj))


def cases_of(root):
    return {one.id: read_case(one, labels="optional", grid=SHAPE) for one in find_cases(root / "data")}


# --- what is written ----------------------------------------------------------------------------------------------


def test_labels_are_the_networks_after_postprocessing(prepared):
    network, card = load_segmenter_network(prepared / "model")
    segmenter = Segmenter([network], card["window"])
    changed = 0
    for case in cases_of(prepared).values():
        raw = segmenter(case)
        found = labels_of(prepared / "out", case.id)
        assert np.array_equal(found, Postprocess(**THRESHOLDS).apply(raw))
        assert found.any()
        assert not found[~case.brain].any()
        changed += np.count_nonzero(found != raw)
    assert changed  # or the test would not tell post-processing from none


def test_only_what_is_promised_is_there(prepared):
    names = {str(p.relative_to(prepared / "out")) for p in (prepared / "out").rglob("*") if p.is_file()}
    beside = {"manifest.jsonl", "run.json", "scores.json", "contact_sheet.png"}
    assert names == {f"{i}/{i}_seg.nii.gz" for i in "ABC"} | beside


def test_a_set_with_a_dataset_json_gets_its_own_names_and_values(prepared, tmp_path):
    (tmp_path / "set/imagesTs").mkdir(parents=True)
    for one in find_cases(prepared / "data"):
        for channel, name in enumerate(MODALITIES):
            shutil.copy(one.paths[name], tmp_path / f"set/imagesTs/{one.id}_{channel:04d}.nii.gz")
    labels = {"background": 0, "edema": 1, "necrosis": 2, "enhancing": 4}
    table = {"channel_names": dict(enumerate(MODALITIES)), "labels": labels, "file_ending": ".nii.gz"}
    (tmp_path / "set/dataset.json").write_text(json.dumps(table))
    segment(tmp_path / "set/imagesTs", tmp_path / "out", model=prepared / "model")
    whole = files(tmp_path / "out")
    assert {f"{i}.nii.gz" for i in "ABC"} < {*whole}
    for case_id in "ABC":
        written = np.asanyarray(nib.load(tmp_path / f"out/{case_id}.nii.gz").dataobj)
        assert np.array_equal(written, np.array([0, 2, 1, 4])[labels_of(prepared / "out", case_id)])
    (tmp_path / "out/B.nii.gz").write_bytes(b"damaged")
    done = segment(tmp_path / "set/imagesTs", tmp_path / "out", model=prepared / "model", resume=True)
    assert (done.written, files(tmp_path / "out")) == (1, whole)
    segment(prepared / "data", tmp_path / "out", model=prepared / "model", force=True)
    assert files(tmp_path / "out").keys() == files(prepared / "out").keys()


def test_scores_are_those_of_the_files(prepared):
    content = json.loads((prepared / "out/scores.json").read_text())
    assert sorted(content["cases"]) == ["A", "B"]  # C has no truth
    cases = cases_of(prepared)
    for case_id, scores in content["cases"].items():
        expected = measure(cases[case_id].labels, labels_of(prepared / "out", case_id))
        for region, metrics in expected.items():
            assert scores[region] == pytest.approx(metrics)
    values = [content["cases"][i]["WT"]["dice"] for i in "AB"]
    assert content["summary"]["WT"]["dice"]["mean"] == pytest.approx(np.mean(values))
    assert content["trained_on"] == []
    records = {record["id"]: record for record in read_entries(prepared / "out")}
    assert records["C"]["scores"] is None
    for case_id, record in records.items():
        found = labels_of(prepared / "out", case_id)
        assert record["volumes_ml"]["ET"] == pytest.approx(np.count_nonzero(found == 3) / 1000)
        assert record["volumes_ml"]["TC"] == pytest.approx(np.isin(found, (1, 3)).sum() / 1000)


def odd_header(affine):
    """A legal header that no program of ours writes: other codes, a slope, units of seconds, a history."""
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    header.set_data_shape(SHAPE)
    header.set_sform(affine, 4)
    header.set_qform(affine, 1)
    header["qoffset_x"] += np.float32(3e-4)  # within the tolerance, and to be kept
    header["xyzt_units"] = 10
    header["descrip"] = b"FSL5.0"
    header["cal_max"] = 900
    return header


def test_geometry_is_the_scans_to_the_bit(tmp_path):
    case = scan(1, "A")
    folder = write_case(tmp_path / "data", case)
    header = odd_header(case.affine)
    nib.save(nib.Nifti1Image(case.images[..., 0], None, header), folder / "A_t1.nii.gz")
    (one,) = open_set(tmp_path / "data").members
    write_segmentation(one.read(), case.labels, one.header(), tmp_path / "out")
    image, source = (nib.load(tmp_path / p) for p in ("out/A/A_seg.nii.gz", "data/A/A_t1.nii.gz"))
    keys = "qform_code sform_code quatern_b quatern_c quatern_d qoffset_x qoffset_y qoffset_z srow_x srow_y srow_z"
    for key in [*keys.split(), "xyzt_units"]:
        assert np.array_equal(image.header[key], source.header[key]), key
    assert np.array_equal(image.header["pixdim"][:4], source.header["pixdim"][:4])
    assert np.array_equal(image.affine, source.affine)
    assert image.header["cal_max"] == 0
    assert image.get_data_dtype() == np.uint8
    assert image.header.endianness == "<"
    assert np.array_equal(np.asanyarray(image.dataobj), np.array([0, 1, 2, 4])[case.labels])


def test_names_and_values_of_2023_stay_those_of_2023(prepared, tmp_path):
    naming = NAMINGS["brats2023"]
    write_case(tmp_path / "data", scan(0, "BraTS-GLI-00001-000"), naming=naming)
    save_model(tmp_path / "model", postprocess={"min_component_ml": 0.0, "min_et_ml": 0.0})
    done = segment(tmp_path / "data", tmp_path / "out", model=tmp_path / "model")
    path = tmp_path / "out/BraTS-GLI-00001-000/BraTS-GLI-00001-000-seg.nii.gz"
    assert set(np.unique(np.asanyarray(nib.load(path).dataobj))) <= {0, 1, 2, 3}
    assert list(done.scores) == ["BraTS-GLI-00001-000"]
    written = open_set(tmp_path / "data").members[0].read()
    assert np.array_equal(
        read_segmentation(written, tmp_path / "out"), labels_of(tmp_path / "out", written.id, naming.name)
    )


def test_hdf5_gives_the_labels_that_nifti_gives(prepared, tmp_path):
    with open_exporter("hdf5", tmp_path / "set", naming=NAMINGS["brats2023"]) as exporter:
        for case in cases_of(prepared).values():
            exporter.write(replace(case, meta={}))
    done = segment(tmp_path / "set", tmp_path / "out", model=prepared / "model")
    assert (done.written, list(done.scores)) == (3, ["A", "B"])
    for case_id, case in cases_of(prepared).items():
        assert np.array_equal(labels_of(tmp_path / "out", case_id, "brats2023"), labels_of(prepared / "out", case_id))
        affine = nib.load(tmp_path / f"out/{case_id}/{case_id}-seg.nii.gz").affine
        assert np.array_equal(affine, case.affine)


def test_without_truth_the_same_is_found_and_nothing_scored(prepared, tmp_path):
    shutil.copytree(prepared / "data/A", tmp_path / "data/A")
    (tmp_path / "data/A/A_seg.nii.gz").unlink()
    done = segment(tmp_path / "data", tmp_path / "out", model=prepared / "model")
    assert (done.scores, done.summary, done.table()) == ({}, {}, [])
    assert not (tmp_path / "out/scores.json").exists()
    assert (tmp_path / "out/contact_sheet.png").is_file()
    assert np.array_equal(labels_of(tmp_path / "out", "A"), labels_of(prepared / "out", "A"))


# --- options ------------------------------------------------------------------------------------------------------


def test_options_reach_the_network(prepared, tmp_path):
    assert MIRRORS == NETWORK_MIRRORS
    shutil.copytree(prepared / "data/A", tmp_path / "data/A")
    case = cases_of(prepared)["A"]
    network, _ = load_segmenter_network(prepared / "model")
    segment(tmp_path / "data", tmp_path / "out", model=prepared / "model", mirror="x", overlap=0.25, postprocess=False)
    found = labels_of(tmp_path / "out", "A")
    assert np.array_equal(found, Segmenter([network], 48, overlap=0.25, mirror="x")(case))
    assert not np.array_equal(found, Segmenter([network], 48, overlap=0.25)(case))


def test_an_ensemble_averages_its_folds(prepared, tmp_path):
    shutil.copytree(prepared / "data/A", tmp_path / "data/A")
    segment(tmp_path / "data", tmp_path / "out", model=prepared / "run", ensemble=True)
    case = cases_of(prepared)["A"]
    parts = []
    for fold in range(2):
        network, _ = load_segmenter_network(prepared / f"run/fold_{fold}/model")
        box, probabilities = Segmenter([network], 48).in_box(case)
        parts.append(probabilities)
    mean = np.zeros(case.labels.shape, np.uint8)
    mean[box] = ((parts[0] + parts[1]) / 2).argmax(-1)
    mean[~case.brain] = 0
    found = labels_of(tmp_path / "out", "A")
    assert np.array_equal(found, Postprocess(**THRESHOLDS).apply(mean))
    assert not np.array_equal(found, labels_of(prepared / "out", "A"))


def test_an_ensemble_takes_the_median_thresholds():
    cards = [{"postprocess": {"min_component_ml": c, "min_et_ml": e}} for c, e in ((0, 0.2), (0.1, 0.5), (1, 0))]
    assert median_postprocess(cards) == Postprocess(0.1, 0.2)
    assert median_postprocess([{}]) == Postprocess()


# --- going on -----------------------------------------------------------------------------------------------------


@pytest.fixture
def again(prepared, place):
    """`segment` on a copy, going on."""

    def run(**options):
        seen = []
        done = segment(
            place / "data",
            place / "out",
            model=place / "model",
            progress=lambda todo: (seen.append(k) or k for k in todo),
            **{"resume": True, **options},
        )
        return done, seen

    return run


def test_a_finished_run_has_nothing_left_to_do(place, again):
    before = files(place / "out")
    done, seen = again()
    assert (done.written, done.kept, seen) == (0, 3, [])
    assert files(place / "out") == before
    assert list(done.scores) == ["A", "B"]


def test_cases_that_the_model_knows_are_named(place, again):
    known = {"training": {"ids_sha256": ["559aead08264d579"]}}  # sha256(b"A")
    card = json.loads((place / "model/card.json").read_text())
    (place / "model/card.json").write_text(json.dumps({**card, **known}))
    assert again()[0].trained_on == ("A",)
    assert json.loads((place / "out/scores.json").read_text())["trained_on"] == ["A"]
    assert trained_on({"A": (), "B": ()}, [{}, known]) == ("A",)


def test_a_case_that_the_model_knows_under_another_name_is_named(place, again):
    card = json.loads((place / "model/card.json").read_text())
    known = used_cases({"Elsewhere": fingerprint(cases_of(place)["B"].images)})
    (place / "model/card.json").write_text(json.dumps({**card, "training": known}))
    done, seen = again()
    assert (done.trained_on, done.caution, seen) == (("B",), "", [])  # nothing is read again for it
    old = {key: value for key, value in known.items() if key != "fingerprints_sha256"}
    (place / "model/card.json").write_text(json.dumps({**card, "training": old}))
    done, _ = again()
    assert done.trained_on == ()
    assert "lists ids alone" in done.caution


def test_what_is_missing_damaged_or_changed_is_done_anew(place, again):
    before = files(place / "out")
    (place / "out/A/A_seg.nii.gz").write_bytes(b"damaged")
    shutil.rmtree(place / "out/C")
    assert again()[1] == [0, 2]
    assert files(place / "out") == before
    write_case(place / "data", scan(5, "B"))  # another scan under the same name
    assert again()[1] == [1]
    after = files(place / "out")
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"B/B_seg.nii.gz", "manifest.jsonl", "scores.json", "contact_sheet.png"}


def test_cases_may_come_and_go(place, again):
    before = files(place / "out")
    write_case(place / "data", scan(4, "AB"))
    done, _ = again()
    assert (done.written, done.kept, list(done.scores)) == (1, 3, ["A", "AB", "B"])
    shutil.rmtree(place / "data/AB")
    done, _ = again()
    assert (done.written, done.kept, list(done.scores)) == (0, 3, ["A", "B"])
    assert files(place / "out")["scores.json"] == before["scores.json"]


def test_other_settings_are_refused(place, again):
    before = files(place / "out")
    with pytest.raises(OutputError, match=r"other settings: mirror \(was \"none\", now \"x\"\)"):
        again(mirror="x")
    save_model(place / "model", seed=9)
    with pytest.raises(OutputError, match=r"other settings: model\.weights_sha256"):
        again()
    assert files(place / "out") == before


def test_force_replaces_a_run_and_leaves_other_files(place, again):
    (place / "out/note.txt").write_text("mine")
    shutil.rmtree(place / "data/B")
    done, _ = again(resume=False, force=True, mirror="x")
    assert (done.written, done.kept) == (2, 0)
    assert not (place / "out/B").exists()
    assert (place / "out/note.txt").read_text() == "mine"


def test_a_killed_run_leaves_the_bytes_of_an_undisturbed_one(prepared, tmp_path):
    script = textwrap.dedent(
        """
        import sys, time

        import synth.datasets.members
        from synth.runs.segment import segment

        synth.datasets.members.GRID = (40, 48, 36)

        def slow(todo):
            for k in todo:
                yield k
                time.sleep(3)  # after the first case: time to be killed

        segment(sys.argv[1], sys.argv[2], model=sys.argv[3], progress=slow)
        """
    )
    out = tmp_path / "out"
    child = subprocess.Popen([sys.executable, "-c", script, prepared / "data", out, prepared / "model"])
    manifest, limit = out / "manifest.jsonl", time.monotonic() + 60
    while time.monotonic() < limit and not (manifest.exists() and manifest.stat().st_size):
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert 1 <= len(read_entries(out)) < 3
    assert not (out / "scores.json").exists()
    done = segment(prepared / "data", out, model=prepared / "model", resume=True)
    assert done.kept >= 1
    assert files(out) == files(prepared / "out")


# --- what is refused ----------------------------------------------------------------------------------------------


def test_unusable_scans(prepared, tmp_path):
    options = {"model": prepared / "model"}
    with pytest.raises(DataError, match="expected the folder of a dataset, found nothing"):
        segment(tmp_path / "gone", tmp_path / "out", **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no BraTS case found"):
        segment(tmp_path / "empty", tmp_path / "out", **options)
    shutil.copytree(prepared / "data", tmp_path / "lacking")
    (tmp_path / "lacking/B/B_t2.nii.gz").unlink()
    with pytest.raises(DataError, match="case B lacks t2"):
        segment(tmp_path / "lacking", tmp_path / "out", **options)
    write_case(tmp_path / "other", phantom_case((44, 48, 36), case_id="S"))
    with pytest.raises(DataError, match="expected 40x48x36 voxels, the header says 44x48x36"):
        segment(tmp_path / "other", tmp_path / "other-out", **options)
    assert not (tmp_path / "out").exists()
    (tmp_path / "broken.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match="cannot be opened as HDF5"):
        segment(tmp_path / "broken.h5", tmp_path / "out", **options)


def test_a_damaged_case_stops_the_run_after_those_before_it(place):
    good = (place / "data/B/B_t1.nii.gz").read_bytes()
    (place / "data/B/B_t1.nii.gz").write_bytes(good[:-100])
    with pytest.raises(DataError, match=r"B_t1\.nii\.gz: the compressed data are damaged or cut off"):
        segment(place / "data", place / "other", model=place / "model")
    assert [record["id"] for record in read_entries(place / "other")] == ["A"]


def test_unusable_outputs(place):
    options = {"model": place / "model"}
    before = files(place)
    with pytest.raises(OutputError, match="found a set of segmentations that `synth segment` wrote; give --resume"):
        segment(place / "data", place / "out", **options)
    for choice in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(OutputError, match=r"found 2 entries that synth did not write \(card.json"):
            segment(place / "data", place / "model", **options, **choice)
        with pytest.raises(OutputError, match="expected a folder apart from the scans, found one inside it"):
            segment(place / "data", place / "data/found", **options, **choice)
    with pytest.raises(OutputError, match="expected a new or empty folder, found a file"):
        segment(place / "data", place / "run/folds.json", **options)
    assert files(place) == before


def test_a_bad_model_touches_nothing(place):
    before = files(place)
    card = json.loads((place / "model/card.json").read_text())
    for model, ensemble, message in [
        ("gone", False, "found neither"),
        ("run", False, "training run with folds; give --ensemble"),
        ("run/fold_0", False, r"its model is .*fold_0/model: give that"),
        ("model", True, "found no fold"),
    ]:
        with pytest.raises(ModelError, match=message):
            segment(place / "data", place / "out", model=place / model, ensemble=ensemble, force=True)
        assert files(place) == before
    for change, message in [
        ({"window": 40}, "expected a window of a multiple of 16 voxels"),
        ({"window": None}, "window must be integer, found null"),
        ({"postprocess": {"min_et_ml": "much"}}, "postprocess.min_et_ml must be number"),
        ({"weights_sha256": "0" * 64}, "differs from the card's"),
    ]:
        (place / "model/card.json").write_text(json.dumps({**card, **change}))
        with pytest.raises(ModelError, match=message):
            segment(place / "data", place / "out", model=place / "model", force=True)
    assert files(place / "out") == {name[4:]: data for name, data in before.items() if name.startswith("out/")}


def test_folds_must_be_complete_and_alike(place):
    (place / "run/folds.json").unlink()
    with pytest.raises(ModelError, match=r"not trained to the end \(no .*folds.json\)"):
        load_segmenter(place / "run", ensemble=True)
    (place / "run/folds.json").write_text("{}")
    shutil.move(place / "run/fold_1", place / "run/fold_2")
    with pytest.raises(ModelError, match=r"not trained to the end \(no .*fold_1/model/card.json\)"):
        load_segmenter(place / "run", ensemble=True)
    save_model(place / "run/fold_1/model", window=32)
    with pytest.raises(ModelError, match="windows of one size, found 32, 48"):
        load_segmenter(place / "run", ensemble=True)


@pytest.mark.parametrize("options", [{"mirror": "y"}, {"overlap": 1.0}, {"overlap": -0.1}, {"overlap": float("nan")}])
def test_options_out_of_range(prepared, tmp_path, options):
    with pytest.raises(SynthError, match=r"mirror must be one of none, x, xyz and overlap 0 to 0\.9"):
        segment(prepared / "data", tmp_path / "out", model=prepared / "model", **options)


# --- real scans ---------------------------------------------------------------------------------------------------


def test_a_real_scan_keeps_its_header(real_data, tmp_path, monkeypatch):
    monkeypatch.setattr(synth.datasets.members, "GRID", GRID)
    source = find_cases(real_data / "brats" / "val")[0]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / source.id).symlink_to(source.folder)
    save_model(tmp_path / "model", window=96)
    done = segment(tmp_path / "data", tmp_path / "out", model=tmp_path / "model", overlap=0.0)
    header = nib.load(tmp_path / f"out/{source.id}/{source.id}_seg.nii.gz").header
    differing = {key for key in header if not np.array_equal(header[key], nib.load(source.paths["t1"]).header[key])}
    assert differing <= {"datatype", "bitpix", "scl_slope", "scl_inter"}  # the geometry is the scan's
    assert list(done.scores) == [source.id]
