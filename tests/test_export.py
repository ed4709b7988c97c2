"""`synth export` itself: ids, links, resuming, refusals; each layout has a file of its own."""

import json
import os
import re
import shutil
from dataclasses import fields

import nibabel as nib
import numpy as np
import pytest
from commands import invoke
from exported import SMALL, painted_set, real_folder, tree

from synth.brats import NAMINGS
from synth.cli.export import LAYOUTS, command
from synth.datasets.sets import open_set
from synth.runs.export import run
from synth.runs.export.brats import Brats2020
from synth.runs.export.target import Options

pytestmark = pytest.mark.usefixtures("small_grid")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two painted sets whose ids collide, one of them HDF5, and real cases; not to be written to."""
    folder = tmp_path_factory.mktemp("made")
    painted_set(folder / "a", ["BraTS2021_00002", "atlas-3"], donors=["BraTS2021_00003"])
    painted_set(folder / "b", ["BraTS2021_00003"], form="hdf5", naming="brats2023", seed=8)
    real_folder(folder / "real", ["BraTS2021_00002", "BraTS2021_00003"])
    return folder


@pytest.fixture
def place(made, tmp_path):
    return shutil.copytree(made, tmp_path / "place")


def told(place, line, *words):
    """The one sentence of a refusal, which leaves nothing behind."""
    before = tree(place)
    done = invoke(place, line)
    assert done.exit_code == 1, done.output
    assert done.output.count("Error") == 1
    for word in words:
        assert word in done.output
    assert tree(place) == before
    return done.output


def ran(place, line):
    done = invoke(place, line)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("source", ["a", "b"])
@pytest.mark.parametrize("to", ["brats2020", "brats2023"])
def test_names_and_label_values_of_both_years_come_from_either(place, to, source):
    ran(place, f"export {source} out --to {to} -q")
    before, after = open_set(place / source), open_set(place / "out")
    assert before.ids == after.ids
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old.images, new.images)
        assert np.array_equal(old.labels, new.labels)
        assert np.array_equal(old.affine, new.affine)
        assert new.meta["naming"] == to
    naming = NAMINGS[to]
    seg = nib.load(place / f"out/Synth_00000/{naming.stem('Synth_00000', 'seg')}.nii.gz")
    assert set(np.unique(seg.dataobj)) == set(naming.label_values)
    assert (seg.shape, seg.get_data_dtype()) == (SMALL, np.uint8)


def test_files_that_need_no_change_are_taken_to_the_byte(place):
    ran(place, "export a out --to brats2020 -q")
    names = [name for name in tree(place / "a") if name.endswith(".nii.gz")]
    assert len(names) == 10
    assert all((place / "out" / name).read_bytes() == (place / "a" / name).read_bytes() for name in names)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_links_are_links_and_force_takes_them_away_but_not_the_scans(place, kind):
    before = tree(place / "a")
    ran(place, f"export a out --to brats2020 --link {kind} -q")
    t1 = place / "out/Synth_00001/Synth_00001_t1.nii.gz"
    assert t1.is_symlink() == (kind == "soft")
    assert os.path.samefile(t1, place / "a/Synth_00001/Synth_00001_t1.nii.gz")
    (place / "out/notes.txt").write_text("mine")
    ran(place, "export b out --to brats2023 --force -q")
    assert not t1.parent.exists()
    assert (place / "out/notes.txt").read_text() == "mine"
    assert open_set(place / "out").ids == ["Synth_00000"]
    assert tree(place / "a") == before


def test_the_lineage_goes_along_and_real_cases_stay_real(place):
    ran(place, "export a out --to brats2023 --real real -q")
    cases = open_set(place / "out")
    assert {m.id: sorted(cases.patients(m)) for m in cases.members} == {
        "BraTS2021_00002": ["BraTS2021_00002"],
        "BraTS2021_00003": ["BraTS2021_00003"],
        "Synth_00000": ["BraTS2021_00002", "BraTS2021_00003"],
        "Synth_00001": [],
    }
    assert [m.id for m in cases.members if cases.is_painted(m)] == ["Synth_00000", "Synth_00001"]
    record = cases.record(cases["Synth_00000"])
    assert record["source"] == {"set": "a", "id": "Synth_00000"}
    assert (record["seed"], record["model"]["hash"]) == (7, "abc123")
    again = ran(place, "export out again --to brats2020 -q")  # what was exported can be exported
    assert "2 painted and 2 real cases" in again
    cases = open_set(place / "again")
    assert sorted(cases.patients(cases["Synth_00000"])) == ["BraTS2021_00002", "BraTS2021_00003"]


def test_sets_of_two_seeds_are_refused_or_numbered_anew(place):
    told(place, "export a b out --to brats2020 -q", "Synth_00000 is also in", "--prefix")
    assert not (place / "out").exists()
    ran(place, "export a b out --to brats2020 --prefix New- --first 99998 --real real -q")
    assert open_set(place / "out").ids == [
        "BraTS2021_00002",
        "BraTS2021_00003",
        "New-099998",
        "New-099999",
        "New-100000",
    ]
    ran(place, "export a b other --to brats2023 --first 3 -q")
    assert open_set(place / "other").ids == [f"Synth-GLI-0000{k}-000" for k in (3, 4, 5)]
    told(place, "export a out2 --to brats2020 --real real --real real -q", "give each real case once")


def test_sets_and_real_cases_are_not_taken_for_each_other(place):
    told(place, "export real out --to brats2020 -q", "expected a set that synth made", "--real")
    told(place, "export a out --to brats2020 --real b -q", "expected real scans")


@pytest.mark.parametrize(("after", "flushed"), [(0, 1), (1, 1), (2, 1), (2, 4)])
def test_a_killed_export_goes_on_to_the_same_tree(place, monkeypatch, after, flushed):
    line = "export a b out --to brats2020 --first 0 --real real -q"
    ran(place, line)
    wanted = tree(place / "out")
    shutil.rmtree(place / "out")
    whole = Brats2020.write

    def dies(self, batch):
        (content,) = batch  # some batches are written at a time, in any order: one is told by its case
        files = whole(self, [content])
        if content.item.index == after:
            (self.out / next(iter(files[0]))).with_name(".half.99999.partial").write_bytes(b"x")
            raise KeyboardInterrupt  # files are there, the manifest's line is not
        return files

    monkeypatch.setattr(Brats2020, "flushed", flushed)
    with monkeypatch.context() as patch:
        patch.setattr(Brats2020, "write", dies)
        assert invoke(place, line).exit_code == 130
    assert "--resume" in told(place, line, "an exported set")
    said = ran(place, f"{line} --resume")
    assert ("were there already" in said) == (after // flushed > 0)
    assert tree(place / "out") == wanted


def test_what_was_damaged_since_is_written_again_and_other_settings_are_refused(place):
    ran(place, "export a out --to brats2020 -q")
    wanted = tree(place / "out")
    (place / "out/Synth_00001/Synth_00001_t2.nii.gz").write_bytes(b"damaged")
    assert "1 were there already" in ran(place, "export a out --to brats2020 --resume -q")
    assert tree(place / "out") == wanted
    told(place, "export a out --to brats2023 --resume -q", "other settings")
    told(place, "export a a/out --to brats2020 -q", "apart from the cases")


def test_a_source_that_its_manifest_does_not_vouch_for_is_refused(place):
    path = place / "a/Synth_00001/Synth_00001_t2.nii.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    done = invoke(place, "export a out --to brats2020 -q")
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "Synth_00001_t2.nii.gz: the checksum differs" in done.output
    assert not [name for name in tree(place / "out") if "00001_t2" in name]


def test_files_of_one_case_on_two_grids_and_unknown_labels_are_refused(place):
    t2 = place / "real/BraTS2021_00003/BraTS2021_00003_t2.nii.gz"
    kept = t2.read_bytes()
    nib.save(nib.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4)), t2)
    done = invoke(place, "export out --to brats2020 --real real -q")
    assert "BraTS2021_00003_t2.nii.gz: expected the grid of the t1" in done.output
    t2.write_bytes(kept)
    seg = place / "real/BraTS2021_00003/BraTS2021_00003_seg.nii.gz"
    nib.save(nib.Nifti1Image(np.full(SMALL, 3, np.uint8), nib.load(t2).affine), seg)
    done = invoke(place, "export out2 --to brats2020 --real real -q")
    assert done.exit_code == 1
    assert "found 3 (8640 voxels)" in done.output


def test_a_painted_file_says_so_wherever_it_was_copied_to(place):
    for source in ("a", "b"):
        ran(place, f"export {source} out-{source} --to brats2023 -q")
        for path in (place / f"out-{source}").rglob("*.nii.gz"):
            assert re.fullmatch(rb"synth \S+ synthetic", nib.load(path).header["descrip"].item())
    ran(place, "export out-r --to brats2023 --real real -q")
    assert not any(nib.load(path).header["descrip"].item() for path in (place / "out-r").rglob("*.nii.gz"))
    shutil.copytree(place / "a/Synth_00001", place / "real/Synth_00001")  # without the manifest it looks like a scan
    done = invoke(place, "export out --to brats2020 --real real -q")
    assert done.exit_code == 1
    assert (
        "Synth_00001_t1.nii.gz: expected a patient's scan, found one that synth painted, by its header" in done.output
    )


def test_the_command_offers_all_layouts_and_their_options():
    assert set(LAYOUTS) == set(run.TARGETS)
    known = {field.name for field in fields(Options)}
    assert all(set(cls.options) <= known for cls in run.TARGETS.values())
    assert known <= {parameter.name for parameter in command.params}


def test_other_peoples_files_are_left_alone(place):
    (place / "out").mkdir()
    (place / "out/mine.txt").write_text("x")
    told(place, "export a out --to brats2020 -q", "mine.txt")


def test_memory_holds_as_many_cases_as_are_written_at_a_time(place, monkeypatch):
    alive = []
    monkeypatch.setattr(run.Brats2023, "at_a_time", 1)

    class Watched(run.Content):
        def __init__(self, item):
            super().__init__(item)
            alive.append(1)

        def __del__(self):
            alive.pop()

        def check(self):
            super().check()
            assert len(alive) <= 2

    monkeypatch.setattr(run, "Content", Watched)
    ran(place, "export a b out --to brats2023 --first 0 --real real -q")


def test_real_scans_keep_their_bytes(real_data, tmp_path, monkeypatch):
    monkeypatch.undo()
    ids = sorted(p.name for p in (real_data / "brats/val").iterdir())[:1]
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / ids[0]).symlink_to(real_data / "brats/val" / ids[0])
    ran(tmp_path, "export out --to brats2020 --real real --link soft -q")
    assert open_set(tmp_path / "out").ids == ids
    assert json.loads((tmp_path / "out/manifest.jsonl").read_text())["real"] is True
