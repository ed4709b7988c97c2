"""PyTorch is fed from any set, and with samples painted meanwhile; most of it only where PyTorch is installed."""

import pickle
import shutil

import numpy as np
import pytest
from exported import SMALL, painted_set, real_folder
from phantoms import phantom_sources

import synth
from synth.datasets import members
from synth.datasets.sets import open_set
from synth.runs import torch_data
from synth.runs.export.run import export

pytestmark = pytest.mark.usefixtures("small_grid")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One real case and one that descends from it, in three formats."""
    folder = tmp_path_factory.mktemp("made")
    painted_set(folder / "nifti", ["BraTS2021_00001", "atlas-1"])
    painted_set(folder / "hdf5", ["BraTS2021_00001", "atlas-1"], form="hdf5")
    real_folder(folder / "real", ["BraTS2021_00001"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "GRID", SMALL)
        export([folder / "nifti"], folder / "msd", to="msd", real=[folder / "real"])
    return folder


def test_without_pytorch_one_is_told_how_to_get_it(made, monkeypatch):
    monkeypatch.setattr(torch_data, "torch", None)
    for make in (lambda: synth.torch_dataset(made / "nifti"), synth.torch_stream):
        with pytest.raises(synth.SynthError, match=r"get it with: pip install 'synth-brats\[torch\]'"):
            make()


@pytest.mark.parametrize("name", ["nifti", "hdf5", "msd"])
def test_whole_cases_of_any_set(made, name):
    torch = pytest.importorskip("torch")
    cases = synth.torch_dataset(made / name)
    wanted = open_set(made / name)
    assert len(cases) == len(wanted)
    for item, case in zip(cases, wanted, strict=True):
        assert (item["image"].dtype, item["label"].dtype) == (torch.float32, torch.int64)
        assert item["image"].shape == (4, *SMALL)
        assert np.array_equal(item["label"], case.labels)
        brain = case.images[..., 0] > 0
        assert np.allclose(item["image"].numpy()[:, brain].mean(1), 0, atol=1e-4)
        assert not item["image"].numpy()[:, ~brain].any()
        assert (item["id"], item["synthetic"]) == (case.id, case.id.startswith("Synth"))
    raw = synth.torch_dataset(made / name, normalise=None)[0]["image"]
    assert np.array_equal(np.moveaxis(raw.numpy(), 0, -1), next(iter(wanted)).images)


def test_patches_depend_on_number_and_seed_and_go_through_workers(made):
    pytest.importorskip("torch")
    from torch.utils.data import DataLoader

    cases = synth.torch_dataset(made / "nifti", patch=8, patches=3, transform=lambda item: item["image"].numpy())
    assert [cases[k].shape for k in range(len(cases))] == [(4, 8, 8, 8)] * 6
    assert np.array_equal(cases[4], cases[4])
    first = cases[4]
    cases.seed = 1
    assert not np.array_equal(cases[4], first)
    with pytest.raises(IndexError, match="item 6 of 6"):
        cases[6]
    plain = pickle.loads(pickle.dumps(synth.torch_dataset(made / "hdf5", patch=8, patches=3)))
    batches = list(DataLoader(plain, batch_size=2, num_workers=2))
    assert batches[0]["id"] == ["Synth_00000"] * 2
    assert all(batch["image"].shape == (2, 4, 8, 8, 8) for batch in batches)


def test_what_cannot_be_trained_on_is_refused_at_once(made, tmp_path):
    pytest.importorskip("torch")
    shutil.copytree(made / "real", tmp_path / "real")
    next((tmp_path / "real").rglob("*seg*")).unlink()
    with pytest.raises(synth.SynthError, match="has no segmentation; training needs labels"):
        synth.torch_dataset(tmp_path / "real")
    for wrong in ({"patch": 0}, {"patches": 0}, {"tumour_share": 2}, {"normalise": "minmax"}):
        with pytest.raises(synth.SynthError):
            synth.torch_dataset(made / "nifti", **wrong)


def test_fresh_samples_are_those_of_generate_and_workers_share_them_out(monkeypatch):
    torch = pytest.importorskip("torch")
    stream = synth.torch_stream(phantom_sources(), seed=3, n=2, edits=("none",), normalise=None)
    layouts = [stream.generation.draw(k) for k in range(2)]
    image = np.ones((1,), np.float32)
    stream.generation._painter = lambda layout, style, noise: np.broadcast_to(
        image, (*(s.stop - s.start for s in layout.bounding_box()), 4)
    )
    items = list(stream)
    for item, (layout, _) in zip(items, layouts, strict=True):
        assert np.array_equal(item["label"], layout.tumour)
    assert all(item["image"].dtype == torch.float32 for item in items)
    worker = type("Worker", (), {"id": 1, "num_workers": 2})()
    monkeypatch.setattr(torch_data, "get_worker_info", lambda: worker)
    (mine,) = stream
    assert np.array_equal(mine["label"], items[1]["label"])
