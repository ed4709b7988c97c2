import json
from dataclasses import replace

import numpy as np
import pytest
from phantoms import SHAPE, phantom_case, phantom_sources, write_case

from synth.disk.manifest import Manifest
from synth.errors import DataError
from synth.exporters import open_exporter
from synth.lineage import ancestors, patient_of
from synth.trainers.segmentation.annotated import Annotated, find_annotated
from synth.trainers.segmentation.folds import refuse_relatives, sources_without, split


def case(case_id, patients=None, synthetic=False):
    return Annotated(case_id, "s", frozenset({patient_of(case_id)} if patients is None else patients), synthetic, None)


def synthetic_set(folder, records, format_="nifti"):
    """A set as `synth generate` leaves it, as far as lineage goes."""
    with Manifest(folder, {"synth": "test"}) as manifest, open_exporter(format_, folder) as exporter:
        for index, (case_id, lineage) in enumerate(records.items()):
            files = exporter.write(phantom_case(seed=index, case_id=case_id))
            manifest.append({"index": index, "id": case_id, "files": files, **lineage})


@pytest.mark.parametrize(
    ("case_id", "patient"),
    [
        ("Brats18_2013_2_1", "Brats18_2013_2"),
        ("Brats18_TCIA02_370_1", "Brats18_TCIA02_370"),
        ("BraTS19_CBICA_AAB_1", "BraTS19_CBICA_AAB"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("BraTS2021_00002", "BraTS2021_00002"),
        ("BraTS-GLI-00005-001", "BraTS-GLI-00005"),
    ],
)
def test_scans_of_one_patient_are_known(case_id, patient):
    assert patient_of(case_id) == patient


def test_ancestors_are_host_and_donor_but_not_the_atlas():
    assert ancestors({"host": "atlas-12", "donor": None}) == frozenset()
    assert ancestors({"host": "BraTS-GLI-00005-001", "donor": "BraTS2021_00002"}) == {
        "BraTS-GLI-00005",
        "BraTS2021_00002",
    }


@pytest.mark.parametrize("format_", ["nifti", "hdf5"])
def test_a_synthetic_set_brings_its_lineage(tmp_path, format_):
    lineage = {"Synth_000000": {"host": "A", "donor": "B"}, "Synth_000001": {"host": "atlas-1", "donor": None}}
    synthetic_set(tmp_path / "set", lineage, format_)
    found = find_annotated(tmp_path / "set")
    assert [one.id for one in found] == ["Synth_000000", "Synth_000001"]
    assert [one.patients for one in found] == [{"A", "B"}, frozenset()]
    assert all(one.synthetic for one in found)
    assert len({one.signature for one in found}) == 2


def test_hdf5_cases_read_back(tmp_path):
    synthetic_set(tmp_path / "set", {"Synth_000000": {"host": "A", "donor": None}}, "hdf5")
    found = find_annotated(tmp_path / "set")[0].read(grid=SHAPE)
    np.testing.assert_array_equal(found.labels, phantom_case(seed=0).labels)


def test_the_sets_below_a_folder_keep_their_lineage(tmp_path):
    synthetic_set(tmp_path / "all" / "painted", {"Synth_000000": {"host": "A", "donor": None}})
    write_case(tmp_path / "all" / "scans", phantom_case(case_id="Real_1"))
    lineages = {case.id: (case.synthetic, case.patients) for case in find_annotated(tmp_path / "all")}
    assert lineages == {"Synth_000000": (True, {"A"}), "Real_1": (False, {"Real_1"})}


def test_a_case_that_the_manifest_does_not_know_is_refused(tmp_path):
    synthetic_set(tmp_path / "set", {"Synth_000000": {"host": "A", "donor": None}})
    line = json.loads((tmp_path / "set" / "manifest.jsonl").read_text())
    (tmp_path / "set" / "manifest.jsonl").write_text(json.dumps({**line, "id": "Other"}) + "\n")
    with pytest.raises(DataError, match="lineage is unknown"):
        find_annotated(tmp_path / "set")


def test_folds_keep_a_patients_scans_together():
    cases = [case(f"BraTS-GLI-{k:05d}-{scan:03d}") for k in range(7) for scan in range(2)]
    folds = split(cases, 3, seed=1)
    assert sorted(len(fold.held_out) for fold in folds) == [4, 4, 6]
    assert sorted(one.id for fold in folds for one in fold.held_out) == sorted(one.id for one in cases)
    for fold in folds:
        assert not fold.patients & {patient for one in fold.training for patient in one.patients}
        assert len(fold.training) + len(fold.held_out) == len(cases)
    assert [f.held_out for f in split(cases, 3, seed=1)] == [f.held_out for f in folds]
    with pytest.raises(DataError, match="7 patients"):
        split(cases, 8, seed=0)


def test_two_names_of_one_scan_are_in_one_fold():
    cases = [replace(case(f"P{k}"), fingerprint=(f"{k}",)) for k in range(6)]
    cases += [replace(case("BraTS-GLI-00001-000"), fingerprint=("", "1")), case("BraTS-GLI-00001-001")]
    for seed in range(5):
        folds = split(cases, 3, seed=seed)
        (held,) = [fold for fold in folds if "P1" in {one.id for one in fold.held_out}]
        assert {"BraTS-GLI-00001-000", "BraTS-GLI-00001-001"} <= {one.id for one in held.held_out}
        assert held.unrelated([case("S", {"BraTS-GLI-00001"}, True), case("T", {"P1"}, True)]) == []
    with pytest.raises(DataError, match="found 6 patients"):
        split(cases, 7, seed=0)


def test_folds_without_twins_are_dealt_as_ever():
    cases = [case(f"P{k}") for k in range(9)]
    printed = [replace(one, fingerprint=(one.id, "")) for one in cases]
    ids = [[[one.id for one in fold.held_out] for fold in split(given, 4, seed=2)] for given in (cases, printed)]
    assert ids[0] == ids[1] == [["P2", "P8", "P1"], ["P7", "P3"], ["P6", "P4"], ["P5", "P0"]]


def test_no_descendant_of_a_held_out_patient_is_learnt_from():
    fold = split([case("A"), case("B"), case("C")], 3, seed=0)[0]
    (patient,) = fold.patients
    other = "A" if patient != "A" else "B"
    painted = [
        case("S0", {patient}, True),
        case("S1", {other, patient}, True),
        case("S2", {other}, True),
        case("S3", set(), True),
    ]
    assert [one.id for one in fold.unrelated(painted)] == ["S2", "S3"]
    with pytest.raises(DataError, match=r"S0.*descends from"):
        refuse_relatives(painted, fold.held_out)
    with pytest.raises(DataError, match="is of the patient"):
        refuse_relatives([case("BraTS-GLI-00005-001")], [case("BraTS-GLI-00005-000")])
    refuse_relatives([painted[2], *fold.training], fold.held_out)


def test_fresh_samples_know_nothing_of_held_out_patients():
    sources = phantom_sources(5)
    left = sources_without(sources, frozenset({"Phantom_001"}))
    assert [host.id for host in left.hosts] == ["Phantom_000", "Phantom_002", "Phantom_003", "Phantom_004"]
    assert not np.allclose(left.prior().centre, sources_without(sources, frozenset({"Phantom_000"})).prior().centre)
    hosts = [replace(host, layout=host.layout) for host in sources.hosts]
    object.__setattr__(hosts[2], "fingerprint", ("", "d"))
    left = sources_without(replace(sources, hosts=hosts), frozenset({"Phantom_001"}), [("c",), ("", "d")])
    assert [host.id for host in left.hosts] == ["Phantom_000", "Phantom_003", "Phantom_004"]
    with pytest.raises(DataError, match="fewer folds"):
        sources_without(sources, frozenset(host.id for host in sources.hosts))
