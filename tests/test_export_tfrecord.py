"""`synth export --to tfrecord`: shards that parse back to the cases, also after a kill between two of them."""

import json
import shutil
from itertools import chain

import numpy as np
import pytest
from commands import invoke
from exported import SMALL, painted_set, real_folder, tree

from synth.datasets.sets import open_set
from synth.errors import DataError
from synth.exporters.tfrecord import open_tfrecords
from synth.runs.export.tfrecord import TfRecord

pytestmark = pytest.mark.usefixtures("small_grid")


@pytest.fixture
def place(tmp_path):
    painted_set(tmp_path / "set", ["BraTS2021_00001", "atlas-1", "atlas-2"])
    real_folder(tmp_path / "real", ["BraTS2021_00001", "BraTS2021_00007"])
    next((tmp_path / "real").glob("*/*7_seg.nii.gz")).unlink()
    return tmp_path


LINE = "export set out --to tfrecord --real real --per-shard 2 -q"


def test_shards_parse_back_to_the_cases(place):
    done = invoke(place, LINE)
    assert done.exit_code == 0, done.output
    cases = {case.id: case for name in ("set", "real") for case in open_set(place / name)}
    table = json.loads((place / "out/features.json").read_text())
    assert table["shards"] == [f"synth-0000{k}-of-00003.tfrecord.gz" for k in range(3)]
    read = [{key: value.numpy() for key, value in one.items()} for one in open_tfrecords(place / "out")]
    assert [one["id"].decode() for one in read] == [*open_set(place / "set").ids, *open_set(place / "real").ids]
    for one in read:
        case = cases[one["id"].decode()]
        assert np.array_equal(one["images"], case.images)
        assert one["images"].dtype == np.int16
        assert one["labels"].shape == SMALL
        assert one["labelled"] == (case.labels is not None)
        assert np.array_equal(one["labels"], np.zeros(SMALL) if case.labels is None else case.labels)
        assert np.allclose(one["affine"], case.affine)
        assert one["synthetic"] == case.id.startswith("Synth_")
    with pytest.raises(DataError, match="expected files named"):
        open_tfrecords(place / "set")


def test_a_killed_export_goes_on_with_the_shard_that_it_was_at(place, monkeypatch):
    assert invoke(place, LINE).exit_code == 0
    wanted = tree(place / "out")
    shutil.rmtree(place / "out")
    whole = TfRecord.write

    def dies(self, batch):
        first = next(batch)
        if first.item.index:
            raise KeyboardInterrupt
        return whole(self, chain([first], batch))

    with monkeypatch.context() as patch:
        patch.setattr(TfRecord, "write", dies)
        assert invoke(place, LINE).exit_code == 130
    assert "2 were there already" in invoke(place, f"{LINE} --resume").output
    assert tree(place / "out") == wanted
    (place / "out/synth-00001-of-00003.tfrecord.gz").write_bytes(b"damaged")
    assert "3 were there already" in invoke(place, f"{LINE} --resume").output
    assert tree(place / "out") == wanted
