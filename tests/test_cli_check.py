"""`synth check` on good data and on every kind of bad data we could think of."""

import gzip
import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from phantoms import embed, phantom_case, write_case

import synth.datasets.volume
from synth.brats import AFFINE, NAMINGS
from synth.cli import main

ID = "Phantom_001"


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """One whole case on the BraTS grid, written once."""
    return write_case(tmp_path_factory.mktemp("template"), embed(phantom_case()))


@pytest.fixture
def folder(tmp_path, template):
    """A copy of the case to damage; its parent is the dataset."""
    return shutil.copytree(template, tmp_path / "data" / ID)


def check(folder, *options):
    return CliRunner().invoke(main, ["check", str(folder), *options])


def at(folder, modality, suffix=".nii.gz"):
    return folder / f"{ID}_{modality}{suffix}"


# --- ways to damage a case ---------------------------------------------------------------------------------------


def remove(modality):
    return lambda folder: at(folder, modality).unlink()


def fill(modality, content):
    return lambda folder: at(folder, modality).write_bytes(content)


def replace(modality, make):
    """Put whatever `make(path)` creates in the place of a file."""

    def damage(folder):
        path = at(folder, modality)
        path.unlink()
        make(path)

    return damage


def voxels(modality, change, *, dtype=None, affine=None):
    """Change voxels, type or affine by way of nibabel."""

    def damage(folder):
        path = at(folder, modality)
        image = nib.load(path)
        array = np.asarray(image.dataobj)
        array = change(array if dtype is None else array.astype(dtype))
        nib.save(nib.Nifti1Image(array, image.affine if affine is None else affine, dtype=array.dtype), path)

    return damage


def same(array):
    return array


def put(value):
    def change(array):
        array = array.copy(order="F")
        array[130:150, 120, 88] = value
        return array

    return change


def field(modality, name, value):
    """Overwrite a header field in the bytes of the file, as no honest program would."""

    def damage(folder):
        path = at(folder, modality)
        data = bytearray(gzip.decompress(path.read_bytes()))
        dtype, offset = nib.Nifti1Header.template_dtype.fields[name][:2]
        data[offset : offset + dtype.itemsize] = np.asarray(value, dtype.base).tobytes()[: dtype.itemsize]
        path.write_bytes(gzip.compress(data, 1))

    return damage


def labels(values, naming="brats2020"):
    """Use these values for NCR, ED and ET."""

    def damage(folder):
        voxels("seg", lambda array: np.array([0, values[0], values[1], 0, values[2]], np.uint8)[array])(folder)
        if naming != "brats2020":
            rename(folder)

    return damage


def scaled_labels(slope):
    """Store the labels as they are under a header that scales them."""

    def damage(folder):
        path = at(folder, "seg")
        image = nib.load(path)
        new = nib.Nifti1Image(np.asarray(image.dataobj), image.affine)
        new.header.set_slope_inter(slope, 0)
        nib.save(new, path)

    return damage


def rename(folder):
    new = NAMINGS["brats2023"]
    for modality, suffix in new.suffixes.items():
        at(folder, modality).rename(folder / f"{ID}-{suffix}.nii.gz")


def cut(modality, keep):
    def damage(folder):
        path = at(folder, modality)
        path.write_bytes(path.read_bytes()[:keep])

    return damage


def unpacked(folder, keep):
    path = at(folder, "t2")
    at(folder, "t2", ".nii").write_bytes(gzip.decompress(path.read_bytes())[:keep])
    path.unlink()


def flip_bits(folder):
    path = at(folder, "t1ce")
    data = bytearray(path.read_bytes())
    data[-6] ^= 255  # in the checksum: the voxels arrive, but not as they were sent
    path.write_bytes(data)


def bomb(folder):
    path = at(folder, "t1")
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole, 1) + gzip.compress(bytes(300 << 20), 1))


def other_names(folder):
    for i, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{'abcde'[i]}.nii.gz")


def two_places(folder):
    shutil.copytree(folder, folder.parent / "copy")


def both_suffixes(folder):
    at(folder, "t1", ".nii").write_bytes(gzip.decompress(at(folder, "t1").read_bytes()))


def unreadable_name(folder):
    for path in list(folder.iterdir()):
        name = os.fsencode(path.name).replace(b"Phantom", b"Ph\xe4ntom\n")
        os.rename(path, os.path.join(os.fsencode(folder), name))


def empty(folder):
    shutil.rmtree(folder)


def rot(degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ AFFINE


SHIFTED = AFFINE + np.array([[0, 0, 0, 3.0], [0] * 4, [0] * 4, [0] * 4])
T1, T2, SEG = (f"{ID}_{name}.nii.gz: " for name in ("t1", "t2", "seg"))

BAD = {  # kind: (damage, what the one line must say)
    "missing modality": (
        remove("t2"),
        f"case {ID} lacks t2: expected {ID}_t2 (.nii.gz or .nii), found t1, t1ce, flair, seg.",
    ),
    "missing segmentation": (remove("seg"), "lacks seg"),
    "segmentation under another name": (
        lambda folder: at(folder, "seg").rename(folder / "W39_1998.09.19_Segm.nii.gz"),
        f"flair; W39_1998.09.19_Segm.nii.gz most likely is the segmentation: name it {ID}_seg.nii.gz.",
    ),
    "another shape": (
        voxels("t2", lambda a: a[..., :150]),
        T2 + "expected 240x240x155 voxels, the header says 240x240x150; register the case to the BraTS grid, or give "
        "--resample.",
    ),
    "four dimensions": (
        voxels("t1", lambda a: np.stack([a, a], -1)),
        T1 + "expected 240x240x155 voxels, the header says 240x240x155x2; split it into one file per modality.",
    ),
    "a shifted first file": (voxels("t1", same, affine=SHIFTED), T1 + "its affine differs from that of"),
    "a shifted affine": (voxels("t2", same, affine=SHIFTED), T2 + f"its affine differs from that of {ID}_t1.nii.gz"),
    "2 mm voxels": (voxels("t1", same, affine=AFFINE * [[2], [2], [2], [1]]), "expected voxels of 1 x 1 x 1 mm"),
    "2 mm in the spacing alone": (
        field("t1", "pixdim", [1, 1, 1, 2, 1, 1, 1, 1]),
        "found 1 x 1 x 2 mm in the header's voxel size; resample the case to the BraTS grid, or give --resample.",
    ),
    "other axes": (voxels("t1", same, affine=np.eye(4)), "expected voxel axes LPS (as BraTS has them), found RAS"),
    "oblique axes": (voxels("t1", same, affine=rot(5)), T1 + "its axes are oblique"),
    "no orientation": (
        lambda folder: (field("t1", "sform_code", [0])(folder), field("t1", "qform_code", [0])(folder)),
        T1 + "the header says nothing about orientation",
    ),
    "affine of NaN": (field("t1", "srow_x", [np.nan] * 4), T1 + "the header's affine is not made of finite numbers"),
    "unknown label": (voxels("seg", put(7)), SEG + "expected labels 0, 1, 2, 4 (BraTS 2017-2021, by the file's name)"),
    "label 3 in a file of 2020": (labels((1, 2, 3)), "which is ET in BraTS 2023 and later but"),
    "label 4 in a file of 2023": (labels((1, 2, 4), "brats2023"), "which is ET in BraTS 2017-2021 but the resection"),
    "labels 3 and 4": (
        voxels("seg", put(3)),
        "beside 4 for ET: probably the non-enhancing core in data up to 2016; read them with --labels brats2015",
    ),
    "labels 3 and 4 in a file of 2023": (
        lambda folder: (voxels("seg", put(3))(folder), rename(folder)),
        "beside 3 for ET: probably the resection cavity in post-treatment data of 2024; such cases are not supported",
    ),
    "negative label": (voxels("seg", put(-1), dtype=np.int16), "found -1 (20 voxels); remap the labels to 1 NCR"),
    "an image as segmentation": (
        lambda folder: shutil.copy(at(folder, "t1"), at(folder, "seg")),
        "more; remap the labels",
    ),
    "interpolated labels": (voxels("seg", put(1.5), dtype=np.float32), "20 labels are not whole numbers (such as 1.5)"),
    "labels scaled by the header": (scaled_labels(0.37), SEG + "984 labels are not whole numbers (such as "),
    "one-hot labels": (
        voxels("seg", lambda a: np.stack([a == value for value in (1, 2, 4)], -1).astype(np.uint8)),
        SEG + "expected 240x240x155 voxels, the header says 240x240x155x3: a channel for each class or region",
    ),
    "one-hot labels, channels first": (
        voxels("seg", lambda a: np.stack([a == value for value in (0, 1, 2, 4)]).astype(np.uint8)),
        "the header says 4x240x240x155: a channel for each class or region, as in one-hot maps and a network's output; "
        "save one map with labels 0, 1, 2, 4 instead.",
    ),
    "labels with a first axis of one": (
        voxels("seg", lambda a: a[None]),
        SEG + "expected 240x240x155 voxels, the header says 1x240x240x155: one channel, stored as the first axis",
    ),
    "a scan with a first axis of one": (
        voxels("t2", lambda a: a[None]),
        T2 + "expected 240x240x155 voxels, the header says 1x240x240x155: one channel, stored as the first axis",
    ),
    "a t1ce that is called T1GD": (
        lambda folder: at(folder, "t1ce").rename(folder / f"{ID}_T1GD.nii.gz"),
        f"lacks t1ce: expected {ID}_t1ce (.nii.gz or .nii), found t1, t2, flair, seg; {ID}_T1GD.nii.gz most likely is "
        f"the t1ce: name it {ID}_t1ce.nii.gz.",
    ),
    "several drafts of a segmentation": (
        lambda folder: [at(folder, "seg").rename(folder / f"{ID}_b_seg.nii.gz"), (folder / f"{ID}_a_seg.nii").touch()],
        f"{ID}_a_seg.nii, {ID}_b_seg.nii.gz are perhaps the segmentation: put the right one beside the scans as",
    ),
    "NaN labels": (voxels("seg", put(np.nan), dtype=np.float32), SEG + "20 labels are NaN or Inf"),
    "NaN voxels": (voxels("t1", put(np.nan), dtype=np.float32), T1 + "20 voxels are NaN or Inf; repair or exclude"),
    "Inf voxels": (voxels("t1", put(-np.inf), dtype=np.float64), T1 + "20 voxels are NaN or Inf"),
    "numbers beyond float32": (voxels("t1", put(1e300), dtype=np.float64), T1 + "20 voxels are NaN or Inf"),
    "all zero": (voxels("t1", lambda a: a * 0), T1 + "every voxel is 0; expected a scan"),
    "constant brain": (voxels("t1", lambda a: (a > 0) * np.int16(9)), T1 + "every voxel of the brain is 9"),
    "z-scored": (voxels("t1", lambda a: (a > 0) * (a - 500) / 200.0), "voxels other than 0 are negative (lowest -"),
    "background not 0": (voxels("t1", lambda a: a + np.int16(10)), T1 + "100% of the voxels are not 0; expected a"),
    "tumour outside the brain": (
        voxels("seg", lambda a: np.roll(a, 60, 0)),
        SEG + "984 of 984 tumour voxels lie outside the brain",
    ),
    "truncated .nii.gz": (cut("t1", 60_000), T1 + "the compressed data are damaged or cut off"),
    "truncated .nii": (lambda folder: unpacked(folder, 9_000_000), "the header promises 17856000 bytes of voxels"),
    ".nii that goes on": (
        lambda folder: (unpacked(folder, None), at(folder, "t2", ".nii").open("ab").write(b"more")),
        "the file goes on after the 17856000 bytes",
    ),
    "ends in the header": (
        lambda folder: unpacked(folder, 200),
        "the file ends inside its header, after 200 bytes; it was cut off, copy or download it again.",
    ),
    "wrong checksum": (flip_bits, "t1ce.nii.gz: the compressed data are damaged or cut off (CRC check failed"),
    "garbage": (fill("t1", bytes(range(256)) * 40), "but the file is not gzip-compressed"),
    "compressed garbage": (fill("t1", gzip.compress(bytes(9999))), T1 + "this is no NIfTI file"),
    "empty file": (fill("t1", b""), T1 + "the file is empty (0 bytes)"),
    "wrong magic": (field("t1", "magic", b"abc"), T1 + "expected a single-file NIfTI"),
    "half of a pair": (field("t1", "magic", b"ni1"), "found the header of a two-file NIfTI (.hdr and .img)"),
    "absurd size": (
        field("t1", "dim", [3, 30000, 30000, 30000, 1, 1, 1, 1]),
        "the header says 30000x30000x30000 (5.4e+04 GB; nothing was read); the header is damaged",
    ),
    "negative size": (field("t1", "dim", [3, 240, -240, 155, 1, 1, 1, 1]), "the header says 240x-240x155"),
    "nonsense dimensions": (field("t1", "dim", [12] + [240] * 7), T1 + "the header claims 12 dimensions"),
    "absurd offset": (field("t1", "vox_offset", 1e12), T1 + "the header says that the voxels begin at byte 1e+12"),
    "offset of NaN": (field("t1", "vox_offset", np.nan), T1 + "the header says that the voxels begin at byte nan"),
    "scaled by NaN": (
        lambda folder: (field("t1", "scl_slope", 2)(folder), field("t1", "scl_inter", np.nan)(folder)),
        T1 + "the header scales the voxels by an intercept of nan",
    ),
    "gzip bomb": (bomb, T1 + "the file goes on after the 17856000 bytes"),
    "RGB": (field("t1", "datatype", 128), "expected one real number of up to 64 bits per voxel, found RGB colours"),
    "complex": (voxels("t1", same, dtype=np.complex64), "found complex64 numbers; convert it to int16."),
    "unknown type": (field("t1", "datatype", 77), T1 + "unknown voxel type 77"),
    "another type than written": (
        field("t1", "datatype", 64),
        "the header promises 71424000 bytes of voxels, the file",
    ),
    "a folder": (replace("t1", lambda path: path.mkdir()), T1 + "expected a file, found a folder"),
    "a pipe": (replace("t1", os.mkfifo), T1 + "expected a file, found a device or pipe"),
    "a link to itself": (replace("t1", lambda path: path.symlink_to(path)), T1 + "cannot be read (Too many levels"),
    "a link to nothing": (replace("t1", lambda path: path.symlink_to("gone")), T1 + "cannot be read (No such file"),
    "not compressed, though named so": (
        lambda folder: (unpacked(folder, None), at(folder, "t2", ".nii").rename(at(folder, "t2"))),
        T2 + "the name says .nii.gz, but the file is not gzip-compressed; rename it to .nii if it is whole",
    ),
    "compressed, though not named so": (
        lambda folder: at(folder, "t2").rename(at(folder, "t2", ".nii")),
        "t2.nii: the name says .nii, but the file is gzip-compressed; rename it to .nii.gz.",
    ),
    "one id in two places": (two_places, f"expected all files of case {ID} in one place, found files here and in"),
    ".nii and .nii.gz": (both_suffixes, "the t1 of this case is there twice"),
    "name that is no text": (
        unreadable_name,
        r"the name holds bytes that are no readable UTF-8 text; rename the file.",
    ),
    "no case": (other_names, "no BraTS case found; looked for <id>_{t1,t1ce,t2,flair}.nii.gz or <id>-{t1n,"),
    "empty folder": (empty, "in it and all folders below, found no file at all."),
    "no folder": (lambda folder: shutil.rmtree(folder.parent), "expected the folder of a dataset, found nothing"),
    "a file as folder": (
        lambda folder: (shutil.rmtree(folder.parent), folder.parent.write_text("x")),
        "expected the folder of a dataset, found a file",
    ),
}


@pytest.mark.parametrize(("damage", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_clear_line(folder, damage, sentence):
    damage(folder)
    result = check(folder.parent, "--quiet")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    lines = result.output.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith((f"error: {folder.parent}", f"Error: {folder.parent}"))
    assert sentence in lines[0]
    assert lines[0].endswith(".")


def test_a_file_without_permission(folder, monkeypatch):
    def denied(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(
        synth.datasets.volume, "open", denied, raising=False
    )  # root may read everything: chmod tests nothing
    result = check(folder.parent, "--quiet")
    assert result.exit_code == 1
    assert result.output.count("cannot be read (Permission denied); check the file, its permissions") == 5


def test_a_folder_without_permission(folder, monkeypatch):
    listed = os.listdir

    def listdir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    (folder.parent / "locked").mkdir()
    monkeypatch.setattr(os, "listdir", listdir)
    result = check(folder.parent, "--quiet")
    assert result.exit_code == 1
    assert "locked: the folder cannot be listed (Permission denied)" in result.output


def test_good_data(folder):
    result = check(folder.parent)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"{folder.parent}: 1 case",
        "  names         1 named as in BraTS 2017-2021",
        "  segmentation  1 with, 0 without",
        "  brain         15 ml in 1 case",
        "  tumour        0.984 ml in 1 case",
        "    NCR         0.062 ml in 1 case",
        "    ED          0.696 ml in 1 case",
        "    ET          0.226 ml in 1 case",
        "No problem found.",
    ]
    assert check(folder.parent, "--quiet").output == ""


def test_no_labels(folder):
    remove("seg")(folder)
    assert check(folder.parent).exit_code == 1
    result = check(folder.parent, "--no-labels")
    assert result.exit_code == 0
    assert "0 with, 1 without" in result.output


def test_healthy_scan(folder):
    voxels("seg", lambda a: a * 0)(folder)
    result = check(folder.parent)
    assert result.exit_code == 0
    assert "1 healthy (all labels 0)" in result.output


def test_json(folder):
    voxels("t1", lambda a: a * 0)(folder)
    result = CliRunner().invoke(main, ["check", str(folder.parent), "--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (report["errors"], report["warnings"], len(report["cases"])) == (1, 0, 1)
    assert report["findings"][0]["file"] == str(at(folder, "t1"))
    assert report["findings"][0]["severity"] == "error"


def test_warnings_leave_the_exit_code_alone(folder):
    for modality in ("t1", "t1ce", "t2", "flair", "seg"):
        voxels(modality, same, affine=SHIFTED)(folder)
    result = check(folder.parent)
    assert result.exit_code == 0
    assert "warning: " in result.output
    assert "expected the first voxel at (0, 239, 0) mm as in BraTS, found (3, 239, 0)" in result.output
    assert result.output.endswith("0 errors and 1 warning; 1 of 1 case usable.\n")


def test_two_bad_cases_of_three(folder):
    for name in ("b", "c"):
        copy = shutil.copytree(folder, folder.parent / name)
        for path in copy.iterdir():
            path.rename(copy / path.name.replace(ID, name))
    remove("t1")(folder)
    remove("t2")(folder)
    (folder.parent / "c" / "c_flair.nii.gz").write_bytes(b"")
    result = check(folder.parent)
    assert result.output.splitlines()[-1] == "2 errors and 0 warnings; 1 of 3 cases usable."
