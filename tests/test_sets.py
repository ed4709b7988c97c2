import os
import re

import h5py
import numpy as np
import pytest
from phantoms import SHAPE, embed, head_layout, phantom_case, write_case

from synth import exporters
from synth.brats import NAMINGS
from synth.case import CaseFiles
from synth.datasets import members
from synth.datasets.check import check_dataset
from synth.datasets.layout_files import save_layout
from synth.datasets.members import CASE, LAYOUT, SEGMENTATION
from synth.datasets.sets import open_set
from synth.errors import DataError
from synth.exporters import open_exporter


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(members, "GRID", SHAPE)


@pytest.fixture
def case():
    return phantom_case()


def test_a_folder_of_scans_gives_its_cases_one_at_a_time(tmp_path, case):
    for name in ("B", "A"):
        write_case(tmp_path / "deep" / name, phantom_case(case_id=name))
    cases = open_set(tmp_path)
    assert (cases.format, cases.ids, len(cases)) == ("brats", ["A", "B"], 2)
    walk = iter(cases)
    assert next(walk).id == "A"
    (tmp_path / "deep/B/B/B_t2.nii.gz").unlink()  # not read before its turn
    with pytest.raises(DataError, match=r"B_t2\.nii\.gz: cannot be read"):
        next(walk)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("naming", NAMINGS)
def test_an_hdf5_set_is_read_also_where_only_its_staging_is_there(tmp_path, case, naming, closed):
    exporter = open_exporter("hdf5", tmp_path / "set", naming=NAMINGS[naming])
    exporter.write(case)
    if closed:
        exporter.close()
    else:
        exporter.__exit__(RuntimeError)  # as a killed run leaves it
        assert not (tmp_path / "set/synth.h5").exists()
    (read,) = open_set(tmp_path / "set")
    assert np.array_equal(read.images, case.images)
    assert np.array_equal(read.labels, case.labels)
    assert read.meta["naming"] == naming


def test_segmentations_and_layouts_are_members_too(tmp_path, case):
    folder = write_case(tmp_path / "segmentations", case)
    for path in folder.glob("*_[tf]*.nii.gz"):
        path.unlink()
    (bare,) = open_set(tmp_path / "segmentations").members
    assert (bare.kind, bare.labelled) == (SEGMENTATION, True)
    save_layout(head_layout(case_id="Head"), tmp_path / "layouts")
    layouts = open_set(tmp_path / "layouts")
    assert (layouts.format, layouts.members[0].kind) == ("layouts", LAYOUT)
    with pytest.raises(DataError, match="is a layout without scans"):
        next(iter(layouts))
    with pytest.raises(DataError, match="expected scans, found 1 layouts"):
        open_set(tmp_path / "layouts", scans=True)
    (tmp_path / "layouts/Head/Head_tissue.nii.gz").unlink()
    with pytest.raises(DataError, match="expected a folder of cases"):
        open_set(tmp_path / "layouts/Head/Head_tumour.nii.gz")


def test_layouts_among_the_scans_they_come_from_hide_no_scan(tmp_path, case):
    write_case(tmp_path, case)
    save_layout(head_layout(case_id=case.id), tmp_path)
    assert open_set(tmp_path).format == "layouts"
    (member,) = open_set(tmp_path, scans=True).members
    assert member.kind == CASE


def test_an_id_in_two_places_is_refused_or_told(tmp_path, case):
    for place in "ab":
        write_case(tmp_path / place, case)
    with pytest.raises(DataError, match="in one place"):
        open_set(tmp_path)
    cases = open_set(tmp_path, strict=False)
    assert len(cases.findings) == 1
    assert len(cases.members) == 2


@pytest.mark.parametrize("labels", ["required", "optional", "ignore"])
@pytest.mark.parametrize("format_", ["nifti", "hdf5"])
def test_labels_are_wanted_alike_in_all_formats(tmp_path, format_, labels):
    for name, known in (("with", True), ("without", False)):
        with open_exporter(format_, tmp_path / name) as exporter:
            exporter.write(phantom_case(labels=known))
        (member,) = open_set(tmp_path / name).members
        assert member.labelled == known
        if known or labels != "required":
            assert (member.read(labels).labels is not None) == (known and labels != "ignore")
        else:
            with pytest.raises(DataError, match=r"lacks seg|has no labels"):
                member.read(labels)


@pytest.mark.parametrize("format_", ["nifti", "hdf5"])
def test_signature_and_checksum_change_with_the_files(tmp_path, format_):
    seen = set()
    for seed in (1, 1, 2):
        with open_exporter(format_, tmp_path / "set") as exporter:
            exporter.write(phantom_case(seed=seed, case_id="A"))
        for path in (tmp_path / "set", *(tmp_path / "set").rglob("*.*")):
            os.utime(path, (seed, seed))
        (member,) = open_set(tmp_path / "set").members
        seen.add((member.signature(), member.checksum(), *member.checksums().values()))
        assert member.signature("2") != member.signature()
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "gone", "found nothing"),
        (lambda folder: folder, "no BraTS case found.*holds no layouts"),
        (lambda folder: _put(folder / "notes.txt"), "found another file"),
        (lambda folder: _put(folder / "set.h5"), "cannot be opened as HDF5"),
    ],
)
def test_what_is_no_set_is_refused_in_a_sentence(tmp_path, make, said):
    with pytest.raises(DataError, match=f"(?s){said}"):
        open_set(make(tmp_path))


def test_a_format_that_finds_its_cases_again_is_read_by_the_same_door(tmp_path, case, monkeypatch):
    class Flat:
        """Channels by number, as another program keeps them."""

        name = "flat"
        write = verify = read = close = lambda self, *_: None

        @staticmethod
        def find(path):
            if not (path / "channels.txt").is_file():
                return None
            names = dict(zip(("t1", "t1ce", "t2", "flair", "seg"), range(5), strict=True))
            files = {name: path / f"{case.id}.{number}.nii.gz" for name, number in names.items()}
            return [CaseFiles(case.id, path, NAMINGS["brats2020"], files)]

    monkeypatch.setattr(exporters, "EXPORTERS", dict(exporters.EXPORTERS))
    exporters.register(Flat)
    folder = write_case(tmp_path, case)
    for number, name in enumerate(("t1", "t1ce", "t2", "flair", "seg")):
        (folder / f"{case.id}_{name}.nii.gz").rename(folder / f"{case.id}.{number}.nii.gz")
    _put(folder / "channels.txt")
    cases = open_set(folder)
    assert cases.format == "flat"
    assert np.array_equal(next(iter(cases)).images, case.images)


GZIP = {"compression": "gzip", "compression_opts": 1}


def spoil(path, spoilt):
    with h5py.File(path, "r+") as file:
        spoilt(file)


def smaller_labels(file):
    labels = file["Phantom_001/labels"][:20]
    del file["Phantom_001/labels"]
    file["Phantom_001"].create_dataset("labels", data=labels, chunks=(32, 32, 32), maxshape=(None,) * 3, **GZIP)


def recipe(text):
    return lambda file: file["Phantom_001"].attrs.__setitem__("recipe", text)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (smaller_labels, r"labels of \(20, 48, 36\) voxels beside images of \(40, 48, 36\)"),
        (recipe("{"), "cannot be read"),
        (recipe("[1]"), "no JSON object"),
        (recipe(5), "cannot be read"),
        (lambda file: file["Phantom_001"].attrs.__setitem__("naming", [1, 2]), "cannot be read"),
    ],
)
def test_a_damaged_hdf5_case_is_a_finding(tmp_path, case, spoilt, said):
    with open_exporter("hdf5", tmp_path) as exporter:
        exporter.write(case)
    spoil(tmp_path / "synth.h5", spoilt)
    report = check_dataset(tmp_path, labels="optional", grid=SHAPE)
    (error,) = report.errors
    assert re.search(said, error.message)


def test_a_damaged_hdf5_file_and_a_pipe_are_refused(tmp_path, case):
    with open_exporter("hdf5", tmp_path) as exporter:
        exporter.write(case)
    spoil(tmp_path / "synth.h5", lambda file: file.__setitem__("gone", h5py.SoftLink("/nowhere")))
    with pytest.raises(DataError, match="cannot be opened as HDF5"):
        open_set(tmp_path)
    (tmp_path / "synth.h5").unlink()
    os.mkfifo(tmp_path / "synth.h5")
    with pytest.raises(DataError, match="found a folder, pipe or device"):
        open_set(tmp_path)


def test_a_file_that_is_nearly_called_a_shard_hides_no_scan(tmp_path, case):
    write_case(tmp_path, case)
    _put(tmp_path / "synth-0my.h5")
    assert open_set(tmp_path).format == "brats"


def test_a_case_says_in_one_line_what_it_is(tmp_path):
    assert repr(phantom_case(labels=False, case_id="A")) == "Case('A', 40x48x36, int16, no labels)"
    told = repr(embed(phantom_case()))
    assert told.startswith("Case('Phantom_001', 240x240x155, int16, NCR ")
    assert "\n" not in told


def _put(path):
    path.write_text("nothing")
    return path


def test_pipes_named_like_scans_are_never_opened(tmp_path):
    (tmp_path / "A").mkdir()
    for name in ("t1", "t1ce", "t2", "flair", "seg"):
        os.mkfifo(tmp_path / "A" / f"A_{name}.nii.gz")
    (member,) = open_set(tmp_path).members
    assert all(said.startswith("unreadable: expected a file, found a folder") for said in member.checksums().values())
    assert not member.says_synthetic
    with pytest.raises(DataError, match="found a device or pipe"):
        member.read()
