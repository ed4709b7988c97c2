"""What all tests share: the phantoms and, where SYNTH_TEST_DATA points to them, real scans."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: two workers share two cores
# before TensorFlow, which takes oneDNN by itself on processors with VNNI alone; steps without it last up to 6 times
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# before xdist's workers begin, which inherit it, as do the processes that tests start: each would compile all of synth
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# likewise: as in a command, Keras takes no scikit-learn, pandas and Matplotlib along, a second in each process
os.environ.setdefault("SYNTH_OWN_PROCESS", "1")
# likewise: glibc gives arrays of megabytes back to the system and asks for them anew, and to be given an empty page
# costs more than to fill it
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "1073741824")
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "1073741824")

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(
    0, str(Path(__file__).parent)
)  # --import-mode=importlib leaves it out; tests say `from phantoms import`


LONGEST = (  # files by what they take: begun first, so that both workers end together
    "test_report_spoilt",
    "test_segmentation_training",
    "test_training",
    "test_segment_grids",
    "test_examples",
    "test_default_model",
    "test_segment",
    "test_report",
    "test_segmenters",
    "test_streaming",
    "test_utility",
    "test_cli_train_segmenter",
    "test_memorisation",
    "test_reconstruct",
    "test_fingerprint",
    "test_tissue",
    "test_view",
    "test_resample",
)


def pytest_collection_modifyitems(items):
    """Files in the order of `LONGEST`, all others after them; a file's own tests stay in order."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """Tests end processes, not the power: the system's own memory keeps what was written; a flush takes 10 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def networks_are_built_once():
    """See `loading`; TensorFlow is not loaded for it, where no test has."""
    if "synth.models.weights" not in sys.modules:
        yield
        return
    from loading import built_once

    with built_once():
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with `brats/train`, `brats/val`, `labels`, `atlas`; the test is skipped where there is none."""
    folder = os.environ.get("SYNTH_TEST_DATA")
    if not folder:
        pytest.skip("needs real scans: set SYNTH_TEST_DATA to their folder")
    if not (Path(folder) / "brats").is_dir():
        pytest.skip(f"SYNTH_TEST_DATA={folder} holds no folder brats/")
    return Path(folder)


@pytest.fixture
def small_grid(monkeypatch):
    """Cases of the size that `exported` writes are on BraTS's grid."""
    from exported import SMALL

    from synth.datasets import members

    monkeypatch.setattr(members, "GRID", SMALL)


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """Two phantoms prepared for training, as `prepare_cases` leaves real ones."""
    from phantoms import phantom_case, phantom_layout

    from synth.trainers.painting.patches import load_case, store_case

    shape, out = (48, 56, 40), []
    for seed in range(2):
        folder, case_id = tmp_path_factory.mktemp("prepared"), f"P{seed}"
        case = phantom_case(shape, seed=seed, case_id=case_id)
        store_case(case, phantom_layout(shape, seed=seed, case_id=case_id), folder)
        out.append(load_case(folder))
    return out


@pytest.fixture(scope="session")
def tiny_segmenter(tmp_path_factory) -> Path:
    """Folder of an untrained segmenter that sees a phantom in one piece: what it finds is chance, always the same."""
    import keras

    from synth.models.configs import SegmenterConfig
    from synth.models.networks.segmenter import build_segmenter
    from synth.models.weights import save_segmenter

    config = SegmenterConfig("unet3d", 4)
    keras.utils.set_random_seed(1)
    card = {"name": "tiny", "segmenter": config.to_dict(), "window": 64}
    return save_segmenter(tmp_path_factory.mktemp("tiny_segmenter"), build_segmenter(config), card)


@pytest.fixture
def place(prepared, tmp_path) -> Path:
    """A copy of what the module's own fixture `prepared` made, to work in and to damage."""
    return shutil.copytree(prepared, tmp_path / "place")
