"""A folder above several sets: what synth painted below it is never taken for real, and its lineage goes on."""

import json
from dataclasses import replace

import pytest
from phantoms import phantom_case, phantom_layout, phantom_sources, write_case

import synth.hosts.extract
from synth.cli.segmenter_options import training_of
from synth.datasets.fingerprint import fingerprint
from synth.datasets.layout_files import load_ancestors, load_fingerprint, save_layout
from synth.datasets.sets import open_set
from synth.disk.manifest import Manifest
from synth.errors import DataError, LayoutError
from synth.exporters import open_exporter
from synth.hosts.inputs import find_inputs
from synth.hosts.sources import data_sources
from synth.layout.sampling.recipe import LayoutRecipe
from synth.layout.sampling.sampler import LayoutSampler
from synth.lineage import ancestors, descended
from synth.report.run import report
from synth.trainers.segmentation.annotated import find_annotated
from synth.trainers.segmentation.leaks import refuse_leaks
from synth.trainers.segmentation.mix import real_cases, sources_of_training

LINEAGE = {"Synth_000000": {"host": "P", "donor": "BraTS-GLI-00005-001"}, "Synth_000001": {"host": "atlas-3"}}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """`all/scans` with a real case, `all/painted` with a set, `other` with a real case; names alone count here."""
    root = tmp_path_factory.mktemp("parent")
    with (
        Manifest(root / "all/painted", {"synth": "1"}) as manifest,
        open_exporter("nifti", root / "all/painted") as out,
    ):
        for index, (case_id, lineage) in enumerate(LINEAGE.items()):
            files = out.write(phantom_case(seed=index, case_id=case_id))
            manifest.append({"index": index, "id": case_id, "files": files, "donor": None, **lineage})
    write_case(root / "all/scans", phantom_case(seed=5, case_id="BraTS2021_00002"))
    write_case(root / "other", phantom_case(seed=6, case_id="BraTS2021_00003"))
    return root


@pytest.mark.parametrize("kind", ["real", "holdout"])
def test_report_refuses_painted_cases_as_real(parent, tmp_path, kind):
    sets = {"real": parent / "other", "holdout": None, kind: parent / "all"}
    with pytest.raises(DataError, match=r"all: expected real scans, found 2 of 3 cases that synth painted \(Synth_0"):
        report(parent / "all/painted", sets["real"], tmp_path / "out", holdout=sets["holdout"])


def test_training_refuses_a_mixed_folder_whatever_it_is_given_as(parent):
    with pytest.raises(DataError, match=r"all: is given as real, but of its 3 cases 2 were painted \(Synth_000000, "):
        sources_of_training([parent / "all"], [])
    with pytest.raises(DataError, match=r"as synthetic, but of its 3 cases 1 stand in no manifest .*BraTS2021_00002"):
        sources_of_training([], [parent / "all"])
    with pytest.raises(DataError, match="as real, but of its 3 cases 2 were painted"):
        real_cases(parent / "all")
    with pytest.raises(DataError, match="is a set that synth painted"):
        real_cases(parent / "all/painted")
    real, painted = sources_of_training([parent / "all/scans"], [parent / "all/painted"])
    assert ([case.id for case in real], [case.id for case in painted]) == (["BraTS2021_00002"], list(LINEAGE))


def test_validation_cases_of_a_segmenter_are_real(parent):
    import inspect

    given = dict.fromkeys(inspect.signature(training_of).parameters) | {"data": [parent / "other"], "synthetic": []}
    given |= {"val": parent / "all", "fresh_share": 0.0, "arch": "unet3d", "deep_supervision": False, "out": "out"}
    del given["train"]
    with pytest.raises(DataError, match="2 were painted"):
        training_of(**given)


def test_a_generator_learns_from_real_scans_alone(parent, tmp_path):
    from synth.trainers.painting.training import train_generator

    for folders in ((parent / "all", None), (parent / "other", parent / "all"), (parent / "all/painted", None)):
        with pytest.raises(DataError, match="a generator learns from real scans"):
            train_generator(*folders, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_utility_refuses_a_mixed_folder_in_every_role(parent):
    mixed, real, painted = (find_annotated(parent / name) for name in ("all", "other", "all/painted"))
    with pytest.raises(DataError, match="real training set holds synthetic"):
        refuse_leaks(mixed, painted, real)
    with pytest.raises(DataError, match="test set holds synthetic"):
        refuse_leaks(real, painted, mixed)
    with pytest.raises(DataError, match=r"2 cases that synth painted and 1 that no manifest knows \(BraTS2021_00002\)"):
        refuse_leaks(real, mixed, [replace(real[0], id="T", patients=frozenset({"T"}))])


# --- samples of samples ---


def test_descent_goes_on():
    assert descended([("P_1", None), ("Q", None)]) is None  # host and donor say it themselves
    assert descended([("S", frozenset({"P", "Q"})), ("BraTS-GLI-00005-001", None)]) == ("BraTS-GLI-00005", "P", "Q")
    assert descended([("S", frozenset())]) == ()
    assert ancestors({"host": "S", "donor": None, "ancestors": ["P"]}) == {"P"}
    assert ancestors({"host": "S", "donor": None, "ancestors": []}) == frozenset()


def test_samples_of_painted_hosts_descend_from_the_patients_behind_them(parent, tmp_path, monkeypatch):
    def extract(member, detail=False):
        case = member.read("optional", grid=(40, 48, 36))
        seed = int(member.id[-1]) % 3
        return (
            phantom_layout(seed=seed, case_id=member.id),
            phantom_sources().own_style(f"Phantom_{seed:03d}"),
            case,
        )

    monkeypatch.setattr(synth.hosts.extract, "extract_case", extract)
    sources, _ = data_sources(parent / "all", tmp_path / "kept")
    known = {host.id: host.ancestors for host in sources.hosts}
    wanted = {"P", "BraTS-GLI-00005"}
    assert known == {"BraTS2021_00002": None, "Synth_000000": wanted, "Synth_000001": frozenset()}
    assert {host.id: host.fingerprint for host in sources.hosts} == {
        case.id: fingerprint(case.read("ignore", (40, 48, 36)).images) for case in open_set(parent / "all").members
    }
    sampler = LayoutSampler(sources.hosts, "none", 0)
    for name, expected in (("Synth_000000", wanted), ("Synth_000001", set()), ("BraTS2021_00002", {"BraTS2021_00002"})):
        _, recipe = sampler.draw(0, host=name)
        record = json.loads(json.dumps(recipe.to_dict()))
        assert ancestors(record) == expected
        assert ("ancestors" in record) == name.startswith("Synth")  # records of real hosts are what they were
        assert LayoutRecipe.from_dict(record) == recipe
    # layouts that an earlier synth extracted from painted cases knew nothing of it: they are found anew
    (tmp_path / "kept/Synth_000000/Synth_000000_scan.json").unlink()
    again = {host.id: host.ancestors for host in data_sources(parent / "all", tmp_path / "kept")[0].hosts}
    assert again == known


def test_a_set_of_drawn_layouts_knows_whom_they_descend_from(tmp_path):
    with Manifest(tmp_path / "set", {"synth": "1"}) as manifest:
        save_layout(phantom_layout(case_id="Synth_000000"), tmp_path / "set")
        manifest.append({"index": 0, "id": "Synth_000000", "host": "P", "donor": None, "files": {}})
    (host,) = data_sources(tmp_path / "set", "")[0].hosts
    (given,) = find_inputs(tmp_path / "set")
    assert host.ancestors == given.ancestors == {"P"}


def test_what_is_known_of_a_layouts_scan(tmp_path):
    folder = save_layout(phantom_layout(case_id="A"), tmp_path, scan=("1", ""), descent=frozenset("QP"))
    assert (load_fingerprint(folder), load_ancestors(folder)) == (("1", ""), {"P", "Q"})
    plain = save_layout(phantom_layout(case_id="B"), tmp_path)
    assert (load_fingerprint(plain), load_ancestors(plain)) == ((), None)
    for text in ("{", "[]", '{"fingerprint": 3}', '{"ancestors": [1]}'):
        (folder / "A_scan.json").write_text(text)
        with pytest.raises(LayoutError, match=r"A_scan.json: expected what is known of this layout's scan .*again"):
            load_ancestors(folder)
