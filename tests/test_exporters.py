"""One contract over all exporters, then what is particular to each."""

import dataclasses
import functools
import gzip
import hashlib
import importlib.util
import io
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from synth.brats import AFFINE, MODALITIES, NAMINGS
from synth.case import Case
from synth.disk import files
from synth.disk.manifest import Manifest
from synth.errors import DataError, OutputError
from synth.exporters import EXPORTERS, deflate, hdf5_packed, nifti, open_exporter
from synth.exporters.hdf5 import open_cases

SHAPE = (37, 45, 34)  # no two axes alike, none a multiple of the block
SKEWED = np.array([[-0.9, 0.1, 0.05, 31.5], [0.12, -1.1, 0.02, 90.25], [0.03, -0.02, 1.3, -7.75], [0, 0, 0, 1]])
TURN = np.array([[0, -1.0, 0, 12], [0, 0, 1.5, -3], [-0.75, 0, 0, 40], [0, 0, 0, 1]])  # axes swapped, not cubic
VARIANTS = {"nifti": {}, "hdf5": {}, "hdf5 shards": {"shard_gb": 1e-4}, "hdf5 raw": {"compression": "none"}}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork to kill a writer")


def make_case(k: int = 0, *, dtype=np.float32, affine=AFFINE, shape=SHAPE, labels: bool = True) -> Case:
    rng = np.random.default_rng(100 + k)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    brain = x**2 / 0.6 + (y - 0.1) ** 2 / 0.7 + z**2 / 0.5 < 1
    images = rng.normal([300, 500, 700, 900], 40, (*shape, 4)) * brain[..., None]
    seg = np.zeros(shape, np.uint8)
    for value, radius in ((2, 0.2), (3, 0.1), (1, 0.04)):
        seg[(x - 0.2) ** 2 + y**2 + (z + 0.1) ** 2 < radius] = value
    images = np.clip(images, 0.3 * brain[..., None], None).astype(dtype)
    return Case(
        f"Synth_{k:06d}", images, seg * brain if labels else None, np.asarray(affine, float), {"recipe": {"k": k}}
    )


@pytest.fixture(params=["installed", "fallback"])
def codec(request, monkeypatch):
    """The module that compresses, as it is and as it is where zlib-ng has no wheel."""
    if request.param == "installed":
        return deflate
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    spec = importlib.util.spec_from_file_location("deflate_without_zlib_ng", deflate.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.COMPRESSOR.startswith("zlib ")
    return module


def open_variant(variant: str, out, **options):
    return open_exporter(variant.split()[0], out, **VARIANTS[variant], **options)


def tree(folder) -> dict[str, str]:
    """Checksums of all files below a folder."""
    paths = sorted(p for p in Path(folder).rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


@pytest.fixture(params=NAMINGS)
def naming(request):
    return NAMINGS[request.param]


# --- the contract ---------------------------------------------------------------------------------------------------


def test_the_registry_lists_what_it_knows():
    assert list(EXPORTERS)[:2] == ["nifti", "hdf5"]
    with pytest.raises(OutputError, match=r"unknown output format 'mha': expected one of nifti, hdf5"):
        open_exporter("mha", "anywhere")
    with pytest.raises(OutputError, match="the format nifti has no option 'shard_gb': expected naming, threads"):
        open_exporter("nifti", "anywhere", shard_gb=1)


@pytest.mark.parametrize("affine", [AFFINE, TURN, SKEWED], ids=["brats", "turned", "skewed"])
def test_a_case_reads_back_as_written(tmp_path, variant, naming, affine):
    case = make_case(affine=affine.astype(np.float32))
    with open_variant(variant, tmp_path, naming=naming) as exporter:
        record = exporter.write(case)
        assert exporter.name == variant.split()[0]
        assert exporter.verify(record) == []
        back = exporter.read(case.id)
    assert back.images.dtype == np.int16
    np.testing.assert_array_equal(back.images, np.rint(case.images))
    np.testing.assert_array_equal(back.labels, case.labels)
    assert back.affine.tobytes() == case.affine.tobytes()
    assert not back.images[case.images == 0].any()


def test_a_case_without_labels_reads_back_without(tmp_path, variant):
    with open_variant(variant, tmp_path) as exporter:
        exporter.write(make_case(labels=False))
        assert exporter.read("Synth_000000").labels is None


def test_intensities_are_rounded_and_cut(tmp_path, variant):
    case = make_case()
    case.images[20, 20, 17] = [-5.0, 0.49, 1.5, 1e6]
    with open_variant(variant, tmp_path) as exporter:
        exporter.write(case)
        assert exporter.read(case.id).images[20, 20, 17].tolist() == [0, 0, 2, 32767]
    negative = dataclasses.replace(make_case(dtype=np.int16))
    negative.images[20, 20, 17] = -3
    with open_variant(variant, tmp_path) as exporter:
        exporter.write(negative)
        assert not exporter.read(case.id).images[20, 20, 17].any()


def test_bytes_depend_on_neither_time_order_memory_nor_threads(tmp_path, variant):
    cases = [make_case(k) for k in range(4)]
    with open_variant(variant, tmp_path / "a") as exporter:
        records = [exporter.write(case) for case in cases]
    time.sleep(1.1)  # a time stamp of whole seconds would show
    options = {"threads": 1} if variant == "nifti" else {}
    with open_variant(variant, tmp_path / "b", **options) as exporter, ThreadPoolExecutor(1) as writer:
        other = [dataclasses.replace(case, images=np.asfortranarray(case.images)) for case in cases]
        again = [writer.submit(exporter.write, case).result() for case in reversed(other)]
    assert again[::-1] == records
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_verify_names_what_is_missing_or_changed(tmp_path, variant):
    with open_variant(variant, tmp_path) as exporter:
        record = exporter.write(make_case())
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 64] = bytes(b ^ 255 for b in data[middle : middle + 64])
        path.write_bytes(data)
    exporter = open_variant(variant, tmp_path)
    problems = exporter.verify(record)
    assert problems
    assert all(str(tmp_path) in p for p in problems)
    absent = {key.replace("Synth_000000", "Synth_000007"): value for key, value in record.items()}
    assert all("not found" in p for p in exporter.verify(absent))
    with pytest.raises(OutputError, match="cannot be read back"):
        exporter.read("Synth_000007")


def test_a_failure_midway_leaves_nothing_under_a_final_name(tmp_path, variant, monkeypatch):
    exporter = open_variant(variant, tmp_path)
    exporter.write(make_case(0))
    before = tree(tmp_path)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fail)
        with pytest.raises(OutputError, match="the disk is full"):
            exporter.write(make_case(1))
    assert tree(tmp_path) == before
    exporter.write(make_case(1))
    exporter.close()


@pytest.mark.parametrize("bad", ["", ".hidden", "../up", "a/b", "a\\b"])
def test_an_id_that_is_no_name_is_refused(tmp_path, variant, bad):
    with open_variant(variant, tmp_path) as exporter, pytest.raises(OutputError, match="cannot name a file"):
        exporter.write(dataclasses.replace(make_case(), id=bad))


same_case = functools.cache(make_case)


def run(variant: str, out: Path, n: int) -> None:
    """What `synth generate` does, resuming included."""
    with Manifest(out, {"n": n}) as manifest, open_variant(variant, out) as exporter:
        for k in range(n):
            record = manifest.get(k)
            if record is None or exporter.verify(record["files"]):
                case = same_case(k)
                manifest.append({"index": k, "id": case.id, "files": exporter.write(case)})


def forked(work) -> int:
    """Run `work` in a child process; return its exit status."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(child, 0)[1]


def kill_at(event: int) -> None:
    """Let this process die at its `event`-th step that others can see, as by `kill -9`."""
    count, lock = [0], threading.Lock()

    def counted(function):
        def step(*args, **kwargs):
            with lock:
                count[0] += 1
                if count[0] == event:
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return step

    for name in ("fsync", "replace", "rename", "unlink", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))


@needs_fork
@pytest.mark.parametrize(("variant", "n"), [("nifti", 2), ("hdf5", 2), ("hdf5 shards", 3)])
def test_killed_anywhere_and_resumed_gives_the_same_bytes(tmp_path, variant, n):
    events = 0
    run(variant, tmp_path / "undisturbed", n)
    expected = tree(tmp_path / "undisturbed")
    while True:
        events += 1
        out = tmp_path / f"killed{events}"

        def work(out=out, event=events):
            kill_at(event)
            run(variant, out, n)

        status = forked(work)
        if os.path.isdir(out):
            check_visible(variant, out)
        run(variant, out, n)
        assert tree(out) == expected, f"killed at step {events}"
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert events > 5 * n


def check_visible(variant: str, out: Path) -> None:
    """Every file under a final name is whole, and a case's folder has all its files."""
    if variant == "nifti":
        for folder in out.glob("Synth_*"):
            assert sorted(p.name for p in folder.iterdir()) == sorted(
                f"{folder.name}_{m}.nii.gz" for m in (*MODALITIES, "seg")
            )
            for path in folder.iterdir():
                gzip.decompress(path.read_bytes())
    elif list(out.glob("synth*.h5")) + list(out.glob(".staging/*.h5")):
        cases = open_cases(out)
        for k, case_id in enumerate(cases.ids):
            np.testing.assert_array_equal(cases.read(k).images, np.rint(same_case(int(case_id[-6:])).images))


@needs_fork
def test_a_full_disk_is_told_and_survived(tmp_path, variant):
    """A limit on the size of files makes real writes fail, in Python and inside HDF5."""
    out = tmp_path / "set"
    run(variant, tmp_path / "undisturbed", 3)
    biggest = max(p.stat().st_size for p in (tmp_path / "undisturbed").rglob("*") if p.is_file())

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (biggest - 4096, biggest - 4096))
        try:
            run(variant, out, 3)
        except OutputError as error:
            os._exit(7 if "the disk is full" in str(error) else 8)

    assert os.waitstatus_to_exitcode(forked(work)) == 7
    assert not list(out.rglob("*.partial"))
    check_visible(variant.split()[0], out)
    run(variant, out, 3)
    assert tree(out) == tree(tmp_path / "undisturbed")


def test_a_damaged_case_is_found_and_mended(tmp_path, variant):
    run(variant, tmp_path, 3)
    expected = tree(tmp_path)
    victim = max((p for p in tmp_path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    for damage in (lambda data: data[: len(data) // 2], lambda data: data[:3000] + bytes(9000) + data[12000:]):
        victim.write_bytes(damage(victim.read_bytes()))
        run(variant, tmp_path, 3)
        assert tree(tmp_path) == expected


# --- files ----------------------------------------------------------------------------------------------------------


def test_atomic_write_replaces_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def fail_halfway():
        with files.atomic_write(path) as handle:
            handle.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert path.read_bytes() == b"old"
    with files.atomic_write(path) as handle:
        handle.write(b"new")
        assert os.listdir(tmp_path) != ["a.txt"]
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_atomic_write_explains_its_own_errors_and_passes_others(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), files.atomic_write(tmp_path / "no" / "folder"):
        pass
    with pytest.raises(FileNotFoundError), files.atomic_write(tmp_path / "a"):
        Path("/no/such/input").read_bytes()
    assert not os.listdir(tmp_path)


def test_sha256_file_has_a_fallback_for_python_3_10(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    expected = hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert files.sha256_file(tmp_path / "a") == expected
    monkeypatch.delattr(hashlib, "file_digest", raising=False)
    assert files.sha256_file(tmp_path / "a") == expected


# --- NIfTI ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("affine", [AFFINE, TURN], ids=["brats", "turned"])
def test_nifti_opens_in_nibabel_and_simpleitk_with_one_geometry(tmp_path, naming, affine):
    case = make_case(affine=affine)
    with open_exporter("nifti", tmp_path, naming=naming) as exporter:
        record = exporter.write(case)
    names = [f"{case.id}/{naming.stem(case.id, m)}.nii.gz" for m in (*MODALITIES, "seg")]
    assert list(record) == names
    assert list(tree(tmp_path)) == sorted(names)
    assert tree(tmp_path) == record
    for m, name in enumerate(names):
        expected = np.rint(case.images[..., m]) if m < 4 else naming.to_disk(case.labels)
        image = nib.load(tmp_path / name)
        assert image.get_data_dtype() == (np.int16 if m < 4 else np.uint8)
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), expected)
        assert image.affine.tobytes() == affine.tobytes()
        np.testing.assert_allclose(image.header.get_qform(), affine, atol=1e-6)
        np.testing.assert_allclose(image.header.get_zooms(), np.sqrt((affine[:3, :3] ** 2).sum(0)))
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 2)
        assert image.header.get_xyzt_units() == ("mm", "unknown")
        itk = SimpleITK.ReadImage(str(tmp_path / name))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(itk).T, expected)
        for voxel in ((0, 0, 0), (5, 7, 11), (36, 44, 33)):
            lps = itk.TransformContinuousIndexToPhysicalPoint([float(v) for v in voxel])
            np.testing.assert_allclose(np.array(lps) * [-1, -1, 1], nib.affines.apply_affine(affine, voxel), atol=1e-4)


def test_the_labels_on_disk_follow_the_convention(tmp_path, naming):
    with open_exporter("nifti", tmp_path, naming=naming) as exporter:
        exporter.write(make_case())
    path = next(tmp_path.glob("*/*seg.nii.gz"))
    assert tuple(np.unique(nib.load(path).dataobj)) == naming.label_values


def test_a_sheared_affine_has_no_qform(tmp_path):
    nifti.write_nifti(tmp_path / "a.nii.gz", np.ones((3, 4, 5), np.uint8), SKEWED)
    header = nib.load(tmp_path / "a.nii.gz").header
    assert int(header["qform_code"]) == 0
    np.testing.assert_array_equal(header.get_sform(), SKEWED.astype(np.float32))


def test_write_nifti_plain_types_and_refusals(tmp_path):
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    digest = nifti.write_nifti(tmp_path / "a.nii", array, TURN)
    assert digest == files.sha256_file(tmp_path / "a.nii")
    np.testing.assert_array_equal(nib.load(tmp_path / "a.nii").get_fdata(), array)
    nifti.write_nifti(tmp_path / "b.nii.gz", array, TURN, dtype=np.int16)
    assert nib.load(tmp_path / "b.nii.gz").get_data_dtype() == np.int16
    nifti.write_nifti(tmp_path / "zero.nii.gz", np.zeros((3, 4, 5), np.uint8), TURN)
    assert not np.asanyarray(nib.load(tmp_path / "zero.nii.gz").dataobj).any()
    with pytest.raises(OutputError, match=r"ending in \.nii\.gz or \.nii"):
        nifti.write_nifti(tmp_path / "a.mha", array, TURN)
    with pytest.raises(OutputError, match="no voxels of type bool"):
        nifti.write_nifti(tmp_path / "c.nii", array > 3, TURN)
    with pytest.raises(OutputError, match="maps the volume to a plane"):
        nifti.write_nifti(tmp_path / "c.nii", array, np.diag([1.0, 1, 0, 1]))


def test_the_gzip_header_is_bare(codec):
    data = bytearray(os.urandom(1000) * 50)
    packed = codec.gzip_bytes(data)
    assert packed[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    assert gzip.decompress(packed) == data
    assert codec.open_gzip(io.BytesIO(packed)).read() == data
    assert gzip.decompress(codec.gzip_bytes(b"")) == b""
    volume = np.random.default_rng(0).integers(0, 4, 60_000, np.uint8).tobytes()
    smaller = codec.gzip_bytes(volume, small=True)
    assert len(smaller) < len(codec.gzip_bytes(volume))
    assert gzip.decompress(smaller) == volume


def test_parts_make_one_gzip_file_that_every_reader_takes(codec):
    parts = [bytes(range(256)) * 40, b"", np.arange(30_000, dtype="<i2"), bytearray(5000)]
    packed, whole = codec.gzip_parts(iter(parts)), b"".join(map(bytes, parts))
    blocks = list(codec.gunzip_blocks(packed, 1000))
    assert {len(block) for block in blocks[:-1]} == {1000}
    assert gzip.decompress(packed) == b"".join(blocks) == codec.open_gzip(io.BytesIO(packed)).read() == whole
    assert packed == codec.gzip_parts(parts)
    assert subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True).stdout == whole
    one = codec.gzip_bytes(whole)
    for damaged in (one[:-9], one[:-8] + b"x" * 8, one + one, b"none"):
        with pytest.raises(codec.DAMAGED):
            list(codec.gunzip_blocks(damaged, 1000))


def test_inflating_stops_at_its_bound_and_at_damage(codec):
    data = bytes(range(256)) * 4000
    packed = codec.deflate(data)
    assert zlib.decompress(packed) == data
    assert codec.inflate(packed, len(data)) == data
    assert codec.inflate(packed, 1000) == data[:1000]
    assert codec.inflate(b"no deflate data", 1000) is None
    with pytest.raises(codec.DAMAGED):
        codec.open_gzip(io.BytesIO(codec.gzip_bytes(data)[:-9])).read()


def test_the_compressor_has_a_name_and_a_version(codec):
    assert re.fullmatch(r"zlib(-ng)? \d+(\.\d+)+\S* level \d", codec.COMPRESSOR)


def test_only_the_data_decide_the_bytes(codec):
    volume = nifti.nifti_bytes(nifti.to_int16(make_case().images[..., 0]), AFFINE)
    assert results(codec.gzip_bytes, volume) == {codec.gzip_bytes(volume)}
    assert results(codec.deflate, volume) == {codec.deflate(volume)}


def test_a_compressor_that_looks_at_the_heap_is_caught():
    def careless(data):  # as if a hash table were used as it came from malloc
        return bytes(np.empty(1 << 16, np.uint8))

    assert len(results(careless, b"")) > 1


def results(compress, data, each: int = 100) -> set[bytes]:
    """What compressing the same data gave in four threads, with random bytes left on the heap in between."""

    def soiled(seed: int) -> set[bytes]:
        rng, dirt, found = np.random.default_rng(seed), [], set()
        for _ in range(each):
            dirt += [rng.bytes(int(2 ** rng.uniform(10, 19))) for _ in range(3)]
            while len(dirt) > 12:
                del dirt[rng.integers(len(dirt))]
            found.add(compress(data))
        return found

    with ThreadPoolExecutor(4) as pool:
        return set().union(*pool.map(soiled, range(4)))


def test_the_header_is_that_of_a_real_scan(tmp_path, real_data):
    folder = sorted((real_data / "brats" / "val").iterdir())[0]
    path = folder / f"{folder.name}_t1.nii.gz"
    real = nib.load(path)
    nifti.write_nifti(tmp_path / "a.nii.gz", np.asanyarray(real.dataobj), real.affine)
    ours = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(ours.dataobj), np.asanyarray(real.dataobj))
    assert ours.affine.tobytes() == real.affine.tobytes()
    differing = {k for k in ours.header if ours.header[k].tobytes() != real.header[k].tobytes()}
    assert differing <= {"qform_code", "qoffset_x", "srow_x", "srow_y"}  # codes 1 or 2, and the sign of zero


# --- HDF5 -----------------------------------------------------------------------------------------------------------


def test_hdf5_explains_itself_to_plain_h5py(tmp_path, naming):
    case = dataclasses.replace(make_case(affine=SKEWED), meta={"recipe": "x" * 100_000})  # above HDF5's old 64 kB
    with open_exporter("hdf5", tmp_path, naming=naming) as exporter:
        exporter.write(case)
    assert os.listdir(tmp_path) == ["synth.h5"]
    with h5py.File(tmp_path / "synth.h5") as file:
        assert list(file.attrs["label_names"]) == ["NONE", "NCR", "ED", "ET"]
        assert file.attrs["synth_version"]
        group = file[case.id]
        assert tuple(group.attrs["label_values"]) == naming.label_values
        assert re.fullmatch(r"synth \S+ synthetic", group.attrs["provenance"])
        assert group.attrs["naming"] == naming.name
        assert list(group.attrs["modalities"]) == list(MODALITIES)
        assert "x" * 100_000 in group.attrs["recipe"]
        np.testing.assert_array_equal(group.attrs["affine"], SKEWED)
        np.testing.assert_allclose(group.attrs["spacing"], np.linalg.norm(SKEWED[:3, :3], axis=0))
        np.testing.assert_array_equal(group["images"][:], np.rint(case.images))
        np.testing.assert_array_equal(group["labels"][:], naming.to_disk(case.labels))
        assert group["images"].chunks == (32, 32, 32, 4)
        assert (group["images"].compression, group["images"].shuffle) == ("gzip", True)
        stored = group["images"].id.get_num_chunks()
        assert stored < 2**3 or case.images[32:, 32:, 32:].any()  # background is not stored


def test_hdf5_holds_the_same_voxels_whoever_compresses(tmp_path, codec, monkeypatch):
    monkeypatch.setattr(hdf5_packed, "deflate", codec.deflate)
    monkeypatch.setattr(hdf5_packed, "inflate", codec.inflate)
    case = make_case()
    with open_exporter("hdf5", tmp_path) as exporter:
        exporter.write(case)
        np.testing.assert_array_equal(exporter.read(case.id).images, np.rint(case.images))


@pytest.mark.parametrize("options", [{}, {"compression": "none"}], ids=["gzip", "none"])
def test_patches_are_cut_from_the_case(tmp_path, options):
    with open_exporter("hdf5", tmp_path, **options) as exporter:
        for k in range(2):
            exporter.write(make_case(k))
    cases = open_cases(tmp_path / "synth.h5")
    assert (len(cases), cases.ids) == (2, ["Synth_000000", "Synth_000001"])
    assert cases[1].meta == {"recipe": {"k": 1}}
    whole, rng = cases.read(1), np.random.default_rng(0)
    assert [case.id for case in cases] == cases.ids
    for _ in range(30):
        start = [int(rng.integers(0, n - 1)) for n in SHAPE]
        box = tuple(slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(start, SHAPE, strict=True))
        images, labels = cases.read_patch(1, box)
        np.testing.assert_array_equal(images, whole.images[box])
        np.testing.assert_array_equal(labels, whole.labels[box])
    images, _ = cases.read_patch(1, (slice(-9, None), slice(None), slice(30, 99)))
    np.testing.assert_array_equal(images, whole.images[-9:, :, 30:])
    for bad in ((slice(0, 9),), (slice(0, 9, 2),) * 3, (slice(5, 5),) * 3, (1, 2, 3)):
        with pytest.raises(DataError, match="patch"):
            cases.read_patch(0, bad)


def test_the_reader_is_shared_by_threads_processes_and_pickles(tmp_path):
    with open_exporter("hdf5", tmp_path, shard_gb=1e-4) as exporter:
        for k in range(5):
            exporter.write(make_case(k))
    cases = open_cases(tmp_path)
    expected = [cases.read(k).images.sum() for k in range(5)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda k: cases.read(k % 5).images.sum(), range(20))) == expected * 4
    twin = pickle.loads(pickle.dumps(cases))
    assert [twin.read(k).images.sum() for k in range(5)] == expected
    if hasattr(os, "fork"):
        assert forked(lambda: [cases.read(k) for k in range(5)]) == 0


def test_shards_keep_to_their_size_and_can_be_cut_anew(tmp_path):
    size = hdf5_packed.pack(make_case(), NAMINGS["brats2020"]).size
    with open_exporter("hdf5", tmp_path, shard_gb=2.5 * size / 1e9) as exporter:
        for k in range(7):
            exporter.write(make_case(k))
            assert len(list((tmp_path / ".staging").glob("*.h5"))) <= 2  # what is full does not wait for the end
    assert sorted(os.listdir(tmp_path)) == [f"synth-{k:05d}.h5" for k in range(4)]
    assert [len(open_cases(p)) for p in sorted(tmp_path.iterdir())] == [2, 2, 2, 1]
    with open_exporter("hdf5", tmp_path) as exporter:
        assert exporter.verify({"synth.h5/Synth_000003": open_cases(tmp_path).load("Synth_000003").digest}) == []
    assert os.listdir(tmp_path) == ["synth.h5"]
    assert len(open_cases(tmp_path)) == 7


def test_a_run_can_be_extended_and_gives_what_one_run_gives(tmp_path):
    for name, parts in (("once", [range(5)]), ("twice", [range(3), range(3, 5)])):
        for part in parts:
            with open_exporter("hdf5", tmp_path / name, shard_gb=2e-4) as exporter:
                for k in part:
                    exporter.write(make_case(k))
    assert tree(tmp_path / "once") == tree(tmp_path / "twice")


def test_an_unfinished_run_can_be_read(tmp_path):
    def interrupted():
        with open_exporter("hdf5", tmp_path) as exporter:
            exporter.write(make_case(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert open_cases(tmp_path).ids == ["Synth_000000"]


@pytest.mark.parametrize("options", [{"shard_gb": 0}, {"shard_gb": float("nan")}, {"compression": "lzf"}])
def test_hdf5_refuses_options_out_of_range(tmp_path, options):
    with pytest.raises(OutputError, match=r"expected one of gzip, none|must be above 0"):
        open_exporter("hdf5", tmp_path, **options)


def test_open_cases_refuses_what_is_not_ours(tmp_path):
    with pytest.raises(DataError, match="found nothing"):
        open_cases(tmp_path / "none")
    with pytest.raises(DataError, match="found none"):
        open_cases(tmp_path)
    (tmp_path / "synth.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match="cannot be opened as HDF5"):
        open_cases(tmp_path)
    (tmp_path / "synth.h5").unlink()
    with open_exporter("hdf5", tmp_path) as exporter:
        exporter.write(make_case())
    spoil = {
        "axes of at most": lambda g: swap(g, (10**6, 10**6, 10**6, 4), "<i2", (32, 32, 32, 4)),
        "blocks of <i2": lambda g: swap(g, (9, 9, 9, 4), "<f8", (9, 9, 9, 4)),
        "other filters": lambda g: swap(g, (9, 9, 9, 4), "<i2", (9, 9, 9, 4), "gzip"),
        "label convention": lambda g: g.attrs.modify("naming", "brats1999"),
        "cannot be read": lambda g: g.attrs.pop("affine"),
    }
    for message, change in spoil.items():
        with h5py.File(tmp_path / "synth.h5", "r+") as file:
            change(file["Synth_000000"])
        with pytest.raises(DataError, match=message):
            open_cases(tmp_path).read(0)


def swap(group, shape, dtype, chunks, compression="gzip"):
    del group["images"]
    group.create_dataset("images", shape, dtype, chunks=chunks, compression=compression, shuffle=dtype != "<i2")
