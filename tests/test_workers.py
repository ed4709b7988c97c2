"""Work shared out among processes: the bytes of one process, whatever becomes of the workers.

The networks are tiny and untrained; the workers are real processes of a local Dask cluster, started once for all tests.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import keras
import pytest
from commands import invoke
from crews import Plain, Squares
from phantoms import SHAPE, phantom_case, phantom_sources

from synth.cluster.gathering import gather
from synth.cluster.workers import Workers
from synth.datasets import members
from synth.disk.manifest import MANIFEST, read_entries
from synth.errors import LayoutError, OutputError, SynthError
from synth.exporters import open_exporter
from synth.models.configs import GeneratorConfig, SegmenterConfig
from synth.models.networks.generator import build_generator
from synth.models.networks.segmenter import build_segmenter
from synth.models.weights import save_generator, save_segmenter
from synth.runs.generate import GenerateConfig, Generation, generate
from synth.runs.layouts import sample_layouts
from synth.runs.segment import segment

N = 4
TINY = GeneratorConfig(width=8, bottleneck=1)
CONFIG = GenerateConfig(seed=5, edits=("gentle",))


@pytest.fixture(scope="module")
def make():
    """A Generation of the phantoms with the usual settings, or with others; it paints without a network."""
    sources = phantom_sources()
    return lambda **changed: Plain(sources, "default", replace(CONFIG, **changed))


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes that outlive the tests, as a user's scheduler does."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50, memory_limit=0
    ) as cluster:
        yield cluster


@pytest.fixture
def workers(cluster):
    return Workers(scheduler=cluster.scheduler_address, chunk=1)


def tree(folder) -> dict[str, bytes]:
    """Every file by its name, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def same(a, b) -> bool:
    return {name: hash(data) for name, data in tree(a).items()} == {name: hash(data) for name, data in tree(b).items()}


# --- the crew -----------------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_items_from_processes_that_were_prepared_once(workers, tmp_path):
    with gather(replace(workers, threads=3, chunk=None), need=0) as crew:
        results = list(crew.map(Squares(tmp_path), range(40, 70)))
    assert [square for square, _, _ in results] == [k * k for k in range(40, 70)]
    assert {(prepared, threads) for _, prepared, threads in results} == {(1, 3)}


def test_what_a_dead_worker_was_at_is_done_by_others(workers, tmp_path):
    for k in (0, 7):
        (tmp_path / f"kill-{k}").touch()
    with gather(workers, need=0) as crew:
        assert [square for square, *_ in crew.map(Squares(tmp_path), range(12))] == [k * k for k in range(12)]
    assert not list(tmp_path.iterdir())  # both were killed


def test_a_failure_of_the_system_is_tried_again_a_few_times(workers, tmp_path):
    (tmp_path / "break-2").touch()
    with gather(workers, need=0) as crew:
        assert len(list(crew.map(Squares(tmp_path), range(4)))) == 4
        (tmp_path / "break-2").touch()
        with (
            gather(replace(workers, retries=0), need=0) as others,
            pytest.raises(OutputError, match=r"worker on .*the disk sighs"),
        ):
            list(others.map(Squares(tmp_path), range(4)))


def test_results_that_take_longer_than_a_look_are_fetched_once(workers, tmp_path, monkeypatch):
    crews = pytest.importorskip("synth.cluster.crew")
    asked = []

    async def slow(self, *args, **kwargs):
        asked.append(args)
        assert len(asked) == 1, "begun anew, which may never end"
        await asyncio.sleep(0.7)
        return await gathered(self, *args, **kwargs)

    gathered = crews.Client._gather
    with gather(workers, need=0) as crew:
        monkeypatch.setattr(crews, "_LOOK", 0.2)
        monkeypatch.setattr(crews.Client, "_gather", slow)
        assert [square for square, *_ in crew.map(Squares(tmp_path), [7])] == [49]
    assert asked


def test_what_would_fail_everywhere_is_not_tried_again_and_what_was_before_it_is_had(workers, tmp_path):
    (tmp_path / "refuse-3").touch()
    had = []
    with gather(workers, need=0) as crew, pytest.raises(LayoutError, match=r"^no layout 3\.$"):
        had.extend(crew.map(Squares(tmp_path), range(6)))
    assert [square for square, *_ in had] == [0, 1, 4]


def test_workers_that_are_too_small_are_refused():
    with pytest.raises(SynthError, match=r"each of 2 workers would have 1\.0 GiB of memory and needs 4\.0; this mach"):
        gather(Workers(2, memory="1GiB"), need=3 * 2**30).__enter__()


def test_a_scheduler_that_is_not_there_is_told(monkeypatch):
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.3s"}),
        pytest.raises(SynthError, match=r"tcp://127\.0\.0\.1:9: expected a Dask scheduler, found none that answers"),
    ):
        gather(Workers(scheduler="tcp://127.0.0.1:9"), need=0).__enter__()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "give either a number of workers"),
        ({"count": 2, "scheduler": "tcp://a:1"}, "give either a number of workers"),
        ({"count": 0}, "the number of workers must be at least 1, found 0"),
        ({"count": 2, "retries": -1}, "the number of retries must be at least 0, found -1"),
        ({"scheduler": "tcp://a:1", "memory": "8GB"}, "have their own limits of memory"),
    ],
)
def test_settings_that_make_no_crew_are_refused(options, sentence):
    with pytest.raises(SynthError, match=sentence):
        Workers(**options)


# --- the run ------------------------------------------------------------------------------------------------------


def test_a_network_paints_in_a_worker_what_it_paints_here(tmp_path):
    keras.utils.set_random_seed(1)
    folder = save_generator(
        tmp_path / "tiny", build_generator(TINY), {"name": "tiny", "generator": TINY.to_dict(), "texture_gain": 0.9}
    )
    generation = Generation(phantom_sources(), folder, CONFIG)
    generate(generation, 2, tmp_path / "alone")
    generate(generation, 2, tmp_path / "together", workers=Workers(1))
    assert same(tmp_path / "together", tmp_path / "alone")


@pytest.mark.parametrize("name", ["nifti", "hdf5", "msd"])
def test_workers_write_the_bytes_of_one_process(name, make, workers, tmp_path):
    generate(make(format=name), N, tmp_path / "alone/set")
    outcome = generate(make(format=name), N, tmp_path / "together/set", workers=workers)
    assert (outcome.written, outcome.kept) == (N, 0)
    assert [record["index"] for record in read_entries(tmp_path / "together/set")] == list(range(N))
    assert same(tmp_path / "together/set", tmp_path / "alone/set")


def test_a_run_goes_on_with_workers_and_without(make, workers, tmp_path):
    generate(make(), N, tmp_path / "alone")
    generate(make(), 2, tmp_path / "out")
    (tmp_path / "out/.Synth_00002.77.partial").mkdir()  # of a worker that was killed
    generate(make(), 3, tmp_path / "out", workers=workers, resume=True)
    last = (tmp_path / "out" / MANIFEST).read_bytes().splitlines()[-1]
    generate(make(), N, tmp_path / "out", resume=True)
    assert last in (tmp_path / "out" / MANIFEST).read_bytes()
    assert same(tmp_path / "out", tmp_path / "alone")


def test_layouts_are_drawn_by_workers_as_by_one_process(workers, tmp_path):
    generation = Generation(phantom_sources(), config=CONFIG)  # its network is not touched
    sample_layouts(generation, N, tmp_path / "alone")
    sample_layouts(generation, 2, tmp_path / "together", workers=workers)
    done = sample_layouts(generation, N, tmp_path / "together", workers=workers, resume=True)
    assert (done.written, done.kept) == (2, 2)
    assert same(tmp_path / "together", tmp_path / "alone")


def test_scans_are_segmented_by_workers_as_by_one_process(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    keras.utils.set_random_seed(1)
    config = SegmenterConfig("unet3d", 4)
    card = {"name": "tiny", "segmenter": config.to_dict(), "window": 48}
    model = save_segmenter(tmp_path / "model", build_segmenter(config), card)
    monkeypatch.setattr(members, "GRID", SHAPE)  # which workers in this process see, too
    with open_exporter("nifti", tmp_path / "scans") as exporter:
        for k in range(2):
            exporter.write(phantom_case(seed=k, case_id=f"P{k}"))
    own = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50, "memory_limit": 0}
    said = {}
    with distributed.LocalCluster(processes=False, **own) as here:
        for name, workers in (("alone", None), ("together", Workers(scheduler=here.scheduler_address, chunk=1))):
            said[name] = []
            shared = {"model": model, "workers": workers, "tell": said[name].append}
            done = segment(tmp_path / "scans", tmp_path / name, **shared)
            assert (done.written, set(done.scores)) == (2, {"P0", "P1"})
    assert same(tmp_path / "together", tmp_path / "alone")
    assert said["together"] == said["alone"]


# --- the command --------------------------------------------------------------------------------------------------


def test_without_dask_the_command_says_what_to_install(monkeypatch, tmp_path):
    for name in ("synth.cluster.crew", "dask", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "synth.cluster.crew")
    result = invoke(tmp_path, "generate --n 1 --out out --no-scores --workers 2")
    assert result.exit_code == 1
    assert result.output.startswith("Error: several workers need dask.distributed, found no module 'dask'; install it")
    assert not (tmp_path / "out").exists()


def test_options_of_workers_alone_are_refused(tmp_path):
    result = invoke(tmp_path, "generate --n 1 --out out --threads 2")
    assert (result.exit_code, result.output) == (
        1,
        "Error: --threads, --memory and --performance-report need --workers or --scheduler.\n",
    )
