"""Runs whose output goes to object storage: its objects are the files of a run on a disk, whatever happens."""

from dataclasses import replace
from pathlib import Path

import pytest
from commands import files, invoke
from crews import Plain
from odd_gate import Odd
from phantoms import phantom_sources

from synth.cluster.workers import Workers
from synth.datasets.sets import open_set
from synth.disk.manifest import MANIFEST
from synth.disk.objects import Objects, address_of
from synth.errors import DataError, OutputError, SynthError
from synth.runs import merge_stored, stored
from synth.runs.generate import GenerateConfig, generate
from synth.runs.merge import merge

N = 3


@pytest.fixture(scope="module")
def make():
    """Writes a run of phantoms to a folder or an address."""
    sources = phantom_sources()

    def write(out, n=N, *, gate=None, resume=False, force=False, progress=iter, workers=None, shard=(0, 1), **changed):
        config = replace(GenerateConfig(seed=5, edits=("gentle",)), **changed)
        own = {"resume": resume, "force": force, "progress": progress, "workers": workers, "shard": shard}
        return generate(Plain(sources, "default", config), n, out, gate=gate, **own)

    return write


@pytest.fixture(scope="module")
def on_disk(make, tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk") / "set"
    make(folder, plan="balanced-side")
    return files(folder)


@pytest.fixture
def bucket(request):
    """An address of this process's memory, where nothing is yet."""
    fsspec = pytest.importorskip("fsspec")
    name = f"memory://{request.node.name.partition('[')[0]}/set"
    yield name
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(scope="module")
def s3():
    """A server that answers as S3 does, with a bucket, named by the environment as for users."""
    pytest.importorskip("s3fs", reason="needs s3fs: pip install 'synth-brats[cloud]'")
    server = pytest.importorskip("moto.server", reason="needs moto's server: pip install 'moto[s3]' flask flask-cors")
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "ENDPOINT_URL": f"http://{host}:{port}",
            "ACCESS_KEY_ID": "someone",
            "SECRET_ACCESS_KEY": "something",
            "DEFAULT_REGION": "us-east-1",
            "EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(f"AWS_{name}", value)
        files_of("s3").mkdir("bucket")
        yield "s3://bucket"
    running.stop()


def files_of(store):
    import fsspec

    return fsspec.filesystem(store, use_listings_cache=False)


def objects(address, folder) -> dict[str, bytes]:
    """What is below an address, fetched as a user may."""
    files_of(address.partition("://")[0]).get(address, str(folder / "fetched"), recursive=True)
    return files(folder / "fetched")


def test_objects_are_the_files_of_a_run_on_a_disk(make, on_disk, bucket, tmp_path):
    outcome = make(bucket, plan="balanced-side")
    assert (outcome.written, outcome.out, outcome.coverage.met) == (N, bucket, True)
    assert objects(bucket, tmp_path) == on_disk
    assert len(open_set(tmp_path / "fetched")) == N


def test_tables_of_a_format_and_refused_samples_go_there_too(make, bucket, tmp_path):
    make(tmp_path / "set", 4, gate=Odd(), format="msd")
    make(bucket, 4, gate=Odd(), format="msd")
    assert objects(bucket, tmp_path) == files(tmp_path / "set")


class GoneError(Exception):
    """The process, as far as the run can tell."""


def after(count, samples):
    """The first samples, then the end; nothing is put any more."""
    for number, sample in enumerate(samples):
        if number == count:
            raise GoneError
        yield sample


def test_a_killed_run_goes_on_from_the_pieces_of_its_manifest(make, on_disk, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "_MOST", 1)
    with pytest.raises(GoneError):
        make(bucket, plan="balanced-side", progress=lambda samples: after(2, samples))
    there = Objects(bucket)
    _, second = sorted(name for name in there.sizes() if name.startswith(stored.PIECES))
    assert MANIFEST not in there.sizes()
    there.delete([second])  # killed between the files and their piece
    there.write("Synth_00002/Synth_00002_t1.nii.gz", b"of a case that was never recorded")
    with pytest.raises(OutputError, match=rf"{bucket}: expected a new or empty folder, .*give --resume to go on"):
        make(bucket, plan="balanced-side")
    outcome = make(bucket, plan="balanced-side", resume=True)
    assert (outcome.written, outcome.kept) == (2, 1)
    assert objects(bucket, tmp_path) == on_disk


def test_a_run_that_is_killed_goes_on_in_s3_and_is_refused_where_there_is_no_bucket(
    make, on_disk, s3, tmp_path, monkeypatch
):
    monkeypatch.setattr(stored, "_MOST", 1)
    with pytest.raises(GoneError):
        make(f"{s3}/a/set", plan="balanced-side", progress=lambda samples: after(1, samples))
    assert make(f"{s3}/a/set", plan="balanced-side", resume=True).kept == 1
    assert objects(f"{s3}/a/set", tmp_path) == on_disk
    make(f"{s3}/a/set", 1, force=True)
    assert not [name for name in Objects(f"{s3}/a/set").sizes() if "Synth_00001" in name]
    with pytest.raises(OutputError, match=r"^s3://nowhere/set: cannot be \w+, there is no such bucket"):
        make("s3://nowhere/set", 1)


def test_denied_access_and_a_store_that_does_not_answer_are_told(s3, monkeypatch):
    store = Objects(f"{s3}/b")
    monkeypatch.setattr(store._files, "find", lambda *_, **__: (_ for _ in ()).throw(PermissionError("Forbidden")))
    with pytest.raises(OutputError, match=r"cannot be listed, access is denied \(Forbidden\); check the credentials"):
        store.sizes()
    monkeypatch.setattr(store._files, "find", lambda *_, **__: (_ for _ in ()).throw(TimeoutError("slow")))
    with pytest.raises(OutputError, match=r"cannot be listed \(TimeoutError: slow\); check the address, the network"):
        store.sizes()


def test_records_whose_objects_are_gone_are_made_again(make, on_disk, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "_MOST", 1)
    with pytest.raises(GoneError):
        make(bucket, plan="balanced-side", progress=lambda samples: after(2, samples))
    Objects(bucket).delete(["Synth_00000/Synth_00000_seg.nii.gz"])
    outcome = make(bucket, plan="balanced-side", resume=True)
    assert (outcome.written, outcome.kept) == (2, 1)
    assert objects(bucket, tmp_path) == on_disk


def test_a_whole_set_grows_and_is_replaced_without_what_others_put_there(make, bucket, tmp_path):
    make(bucket, 2)
    assert (make(bucket, N, resume=True).written, read_run_n(bucket)) == (1, N)
    with pytest.raises(OutputError, match=rf"^{bucket}: expected a run with the same settings, found .*naming"):
        make(bucket, N, resume=True, naming="brats2023")
    Objects(bucket).write("notes.txt", b"ours")
    make(bucket, 1, force=True, naming="brats2023")
    make(tmp_path / "disk", 1, naming="brats2023")
    assert objects(bucket, tmp_path) == {**files(tmp_path / "disk"), "notes.txt": b"ours"}


def read_run_n(bucket):
    import json

    return json.loads(Objects(bucket).read(["run.json"])[0])["n"]


def test_a_prefix_of_others_is_left_alone(make, bucket):
    Objects(bucket).write("scan.nii.gz", b"a patient's")
    with pytest.raises(OutputError, match=r"found 1 objects that synth did not write \(scan\.nii\.gz, \.\.\.\)"):
        make(bucket, force=True)
    assert Objects(bucket).read(["scan.nii.gz"]) == [b"a patient's"]


@pytest.mark.parametrize(
    ("out", "changed", "sentence"),
    [
        ("memory://b/set", {"format": "hdf5"}, r"the format hdf5 is assembled on a disk; write the set to a folder"),
        ("memory://b/set", {"workers": Workers(2)}, r"is this process's memory, which workers do not see"),
        ("sftp://host/set", {}, r"^sftp://host/set: expected the address of an object store \(s3://, s3a://, gs://"),
        ("s3://", {}, r"with a bucket"),
        ("s3://b/a*", {}, r"without spaces and any of"),
    ],
)
def test_addresses_that_will_not_do_are_refused(out, changed, sentence, make):
    pytest.importorskip("fsspec")
    with pytest.raises(OutputError, match=sentence):
        make(out, **changed)


def test_a_missing_package_is_named(make, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(OutputError, match=r"^s3://b/set: needs fsspec and .*pip install 'synth-brats\[cloud\]'"):
        make("s3://b/set")


def test_an_address_is_one_with_one_slash_too_and_a_path_is_none():
    assert address_of(Path("s3://b/set")) == address_of("s3://b/set/") == "s3://b/set"
    assert address_of("C:/set") is address_of("folder/s3:") is address_of(Path("/set")) is None


def test_commands_that_read_or_write_folders_refuse_addresses(tmp_path):
    result = invoke(tmp_path, "check s3://b/set")
    assert "expected a path, found the address of an object store; copy it first" in result.output
    result = invoke(tmp_path, "layouts sample --n 1 --out s3://b/set")
    assert "s3://b/set: expected a path, found the address of an object store; only `synth gen" in result.output
    with pytest.raises(DataError, match="copy it first"):
        open_set(Path("s3://b/set"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("form", "gate"), [("nifti", None), ("msd", Odd())])
def test_shards_in_a_store_are_merged_there(make, bucket, tmp_path, form, gate):
    place = bucket.removesuffix("/set")
    own = {"gate": gate, "format": form, **({} if gate else {"plan": "balanced-side"})}
    make(tmp_path / "set", 5, **own)
    for i in range(2):
        make(f"{place}/part{i}", 5, shard=(i, 2), **own)
    done = merge([f"{place}/part1", f"{place}/part0"], bucket)
    assert (done.cases + done.quarantined, done.out) == (5, bucket)
    assert objects(bucket, tmp_path) == files(tmp_path / "set")


def test_an_interrupted_merge_goes_on_and_copies_what_is_not_there(make, s3, tmp_path, monkeypatch):
    make(tmp_path / "set", N)
    for i in range(2):
        make(f"{s3}/m/part{i}", N, shard=(i, 2))
    monkeypatch.setattr(merge_stored, "_TOGETHER", 1)
    shards, out = [f"{s3}/m/part{i}" for i in range(2)], f"{s3}/m/set"
    with pytest.raises(GoneError):
        merge(shards, out, progress=lambda records: after(2, records))
    assert MANIFEST not in Objects(out).sizes()
    with pytest.raises(OutputError, match="give --resume to go on with it"):
        merge(shards, out)
    copied = []
    whole = Objects.copy
    monkeypatch.setattr(Objects, "copy", lambda self, source, names: copied.extend(names) or whole(self, source, names))
    assert merge(shards, out, resume=True).cases == N
    assert {name.partition("/")[0] for name in copied} == {"Synth_00002"}
    assert objects(out, tmp_path) == files(tmp_path / "set")


def test_what_cannot_be_merged_in_a_store_is_told(make, bucket, tmp_path):
    place = bucket.removesuffix("/set")
    for i in range(2):
        make(f"{place}/part{i}", N, shard=(i, 2))
    make(tmp_path / "part0", N, shard=(0, 2))
    both = [f"{place}/part0", f"{place}/part1"]
    for shards, out, sentence in (
        (
            [tmp_path / "part0", both[1]],
            bucket,
            r"part0: expected an address of the store that the set goes to \(",
        ),
        (both, tmp_path / "set", r"^memory://.*part0: expected shards where the set goes, a folder, found an address"),
        (both[:1], bucket, r"shard 1/2 is missing"),
        ([f"{place}/none", both[1]], bucket, r"none: expected a shard that `synth generate` wrote, found no run\.json"),
    ):
        with pytest.raises(DataError, match=sentence):
            merge(shards, out)
    with pytest.raises(SynthError, match="no links"):
        merge(both, bucket, link="hard")
    Objects(both[1]).delete([MANIFEST])
    with pytest.raises(DataError, match=r"part1: expected a whole shard, found a part"):
        merge(both, bucket)
    assert not Objects(bucket).sizes()
