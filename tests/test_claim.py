"""One answer to "whose is this folder": every command, every situation, one form of sentence."""

import json
import os
import re
from pathlib import Path

import click
import pytest
from commands import files, invoke
from phantoms import head_layout

from synth.cli import main
from synth.datasets.layout_files import save_layout
from synth.disk.claim import (
    DRY_RUN,
    EXPORT,
    EXTRACT,
    GENERATE,
    KINDS,
    LAYOUTS,
    OWNERS,
    PICTURE,
    RECONSTRUCT,
    REPLAY,
    REPORT,
    SEGMENT,
    STATISTICS,
    TRAIN,
    UTILITY,
    VIEW,
    Joins,
    claim,
    claim_file,
)
from synth.disk.files import atomic_write
from synth.disk.lock import LOCK, FolderLock
from synth.disk.manifest import MANIFEST, RUN, Manifest, recorded_files
from synth.errors import OutputError

PAINTED = {"synth": "0.1", "format": "nifti", "naming": "brats2020", "seed": 1, "n": 2, "shard": [0, 1]}
MARKS = {  # as they have been on disk since the first version of each command
    GENERATE: PAINTED,
    LAYOUTS: {"synth": "0.1", "format": "layouts", "naming": "brats2020", "seed": 1, "n": 2},
    SEGMENT: {"made_by": "synth segment 0.1", "format": "segmentations", "cases": 2},
    EXPORT: {"made_by": "synth export 0.1", "format": "export", "to": "nnunet", "cases": 2},
    RECONSTRUCT: {"model": "tiny", "seed": 0, "seconds": 1.0, "comparisons": []},
    REPORT: {"schema": "synth.report", "version": 1, "sections": []},
    UTILITY: {
        "arch": "unet3d",
        "steps": 2,
        "files of --train": "0",
        "files of --synthetic": "1",
        "files of --test": "2",
    },
    TRAIN: {"generator": {"width": 8}, "train": {"steps": 2, "seed": 0}},
}
COMMANDS = {EXTRACT: "layouts extract", LAYOUTS: "layouts sample", TRAIN: "train generator"}
MARKED = [owner for owner in OWNERS if owner.mark]
by_command = pytest.mark.parametrize("by", OWNERS, ids=lambda owner: owner.command)
by_mark = pytest.mark.parametrize("by", MARKED, ids=lambda owner: owner.command)
by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.command)
HEADS = {
    VIEW: b"<!doctype html>\n<title>A \xc2\xb7 synth view</title>",
    PICTURE: b"\x89PNG\r\n\x1a\n",
    STATISTICS: b'{\n "against": null,\n "healthy": 0\n}\n',
    DRY_RUN: b'{"edits":[],"index":0}\n',
}


def made(folder: Path, by) -> Path:
    """A folder that a command wrote."""
    folder.mkdir(parents=True)
    (folder / by.mark).write_text(json.dumps(MARKS[by]))
    return folder


def parameters(command: str) -> set[str]:
    """The options of a command, as they are typed."""
    place = main
    for word in command.removeprefix("synth ").split():
        if word.startswith("--"):
            break
        place = place.get_command(click.Context(place), word)
    return {name for parameter in place.params for name in parameter.opts}


def refused(out: Path, by, expected: str, found: str, **options) -> str:
    """The advice of a refusal; everything else is checked: the form, the options it names, that nothing changes."""
    before = files(out.parent)
    with pytest.raises(OutputError) as caught:
        claim(out, by, **options)
    sentence = str(caught.value)
    form = re.fullmatch(r"(.*): expected (.*), found (.*); (.*choose another folder)\.", sentence)
    assert form, sentence
    assert form.groups()[:3] == (str(out), expected, found)
    assert set(re.findall(r"--\w+", form[4])) <= parameters(COMMANDS.get(by, by.command))
    assert files(out.parent) == before
    return form[4]


def wanted(by) -> str:
    return f"a new or empty folder or {by.what} to go on with" if by.goes_on else "a new or empty folder"


def modes(by) -> list[dict]:
    """The calls that a command knows."""
    return [{}, *[{"resume": True}] * by.resume, *[{"force": True}] * bool(by.force)]


@by_command
def test_a_command_owns_up_to_its_options(by):
    options = parameters(COMMANDS.get(by, by.command))
    assert by.resume == ("--resume" in options)
    assert bool(by.force) == ("--force" in options)


@by_kind
def test_every_command_with_a_file_of_its_own_has_force(kind):
    assert "--force" in parameters(kind.command)


@by_command
def test_new_and_empty_folders_and_what_a_kill_left_are_free(by, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / LOCK).write_text("")
    (tmp_path / "killed" / ".run.json.123.partial").write_text("{")
    (tmp_path / "link").symlink_to("empty")
    for out in ("new", "empty", "killed", "link", "new/deep", "empty/../empty"):
        for mode in modes(by):
            assert not claim(tmp_path / out, by, **mode).replaces
    assert not (tmp_path / "new").exists()
    assert len(list((tmp_path / "killed").iterdir())) == 2


@by_command
def test_what_is_no_folder_is_refused(by, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("gone")
    os.mkfifo(tmp_path / "device")
    found = {"file": "a file", "link": "a file", "broken": "a link to nothing", "device": "something else of this name"}
    for name, what in found.items():
        for mode in modes(by):
            with pytest.raises(
                OutputError, match=rf"{name}: expected {wanted(by)}, found {what}; choose another folder"
            ):
                claim(tmp_path / name, by, **mode)


@by_command
@pytest.mark.parametrize("name", ["thesis.docx", RUN, "settings.json", "report.json", "report.html"])
def test_folders_of_others_are_refused(by, name, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text('{"epochs": 3}')
    if by.joins is Joins.ALWAYS:
        claim(out, by, force=True)
        return
    whose = "" if by.joins is Joins.FORCED else " that synth did not write"
    advice = refused(out, by, wanted(by), f"an entry{whose} ({name})")
    assert ("--force" in advice) == (by.joins is Joins.FORCED)
    if by.joins is Joins.FORCED:
        assert not claim(out, by, force=True).replaces
        return
    (out / "zebra").mkdir()
    for mode in modes(by):
        assert refused(out, by, wanted(by), f"2 entries that synth did not write ({name}, ...)", **mode) == (
            "choose another folder"
        )


@by_mark
def test_a_commands_own_folder_is_gone_on_with_or_replaced_as_it_says(by, tmp_path):
    out = made(tmp_path / "out", by)
    if by.goes_on:
        assert not claim(out, by).replaces
        return
    advice = refused(out, by, wanted(by), f"{by.what} that `{by.command}` wrote")
    assert ("--resume" in advice, "--force" in advice) == (by.resume, bool(by.force))
    if by.resume:
        assert not claim(out, by, resume=True).replaces
    assert claim(out, by, force=True).replaces
    assert claim(out, by, resume=True, force=True).replaces


@by_command
@pytest.mark.parametrize("other", MARKED, ids=lambda owner: owner.command)
def test_a_folder_of_another_command_is_named_and_refused(by, other, tmp_path):
    if by is other:
        return
    out = made(tmp_path / "out", other)
    for mode in modes(by):
        found = f"{other.what} that `{other.command}` wrote"
        assert refused(out, by, wanted(by), found, **mode) == "choose another folder"


@by_mark
@pytest.mark.parametrize("text", ['{"synth": "0.', "", "[" * 100_000], ids=["cut", "empty", "nested"])
def test_torn_settings_are_told(by, text, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / by.mark).write_text(text)
    for mode in modes(by):
        if by.joins is Joins.FORCED and "force" in mode:
            assert not claim(out, by, **mode).replaces  # a killed one has no mark either
            continue
        with pytest.raises(
            OutputError, match=rf"found a {by.mark} that cannot be read \(.*\); .*choose another folder"
        ):
            claim(out, by, **mode)
    assert (out / by.mark).read_text() == text


@by_mark
@pytest.mark.parametrize("text", ["[1]", "{}", "null", '{"format": {"a": 1}, "train": 3, "synth": 1}'])
def test_marks_of_other_forms_are_strangers(by, text, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / by.mark).write_text(text)
    with pytest.raises(OutputError, match=rf"found an entry.* \({by.mark}\)"):
        claim(out, by)


@by_mark
def test_links_and_dots_lead_to_the_folder_they_name(by, tmp_path, monkeypatch):
    made(tmp_path / "out", by)
    (tmp_path / "link").symlink_to("out")
    monkeypatch.chdir(tmp_path / "out")
    for out in ("../link", "../out/../out", ".", "new/.."):  # the last is the folder itself once "new" is made
        assert claim(out, by, force=True).replaces == bool(by.force and not by.goes_on)


@by_command
def test_a_folder_in_the_input_is_refused_where_it_must_be_apart(by, tmp_path):
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    for mode in modes(by):
        apart = {"apart": ("the scans", data), **mode}
        assert refused(data / "out", by, "a folder apart from the scans", "one inside it", **apart)
        assert refused(tmp_path / "link" / "out", by, "a folder apart from the scans", "one inside it", **apart)
        assert refused(data / "deep/..", by, "a folder apart from the scans", "that very folder", **apart)
        assert claim(tmp_path / "data-2", by, **apart)


def test_a_report_stands_alone_beside_its_measurements(tmp_path):
    out = made(tmp_path / "out", REPORT)
    (out / "report.html").write_text("")
    (out / "features").mkdir()
    (out / "kept").mkdir()
    assert claim(out, REPORT, force=True, beside=["kept"]).replaces
    refused(out, REPORT, wanted(REPORT), "an entry that synth did not write (kept)", force=True)
    (out / "report.json").unlink()
    (out / "report.html").unlink()
    (out / "kept").rmdir()
    assert not claim(out, REPORT).replaces  # killed while it was measuring


def test_recipes_of_a_dry_run_do_not_count(tmp_path):
    (tmp_path / "recipes.jsonl").write_text("{}\n")
    assert not claim(tmp_path, GENERATE).replaces


# --- what --force deletes -----------------------------------------------------------------------------------------


def run(folder: Path, names=("a/1", "b/2")) -> Path:
    """A run with files, and others' beside them."""
    with Manifest(folder, PAINTED) as manifest:
        for index, name in enumerate(names):
            (folder / name).parent.mkdir()
            (folder / name).write_text("ours")
            manifest.append({"index": index, "id": Path(name).name, "files": {name: "0"}})
    (folder / "b/mask").write_text("mine")
    (folder / "notes").write_text("mine")
    (folder / "sheet.png").write_text("ours")
    return folder


def test_force_deletes_what_is_named_and_nothing_else(tmp_path):
    out = run(tmp_path / "out")
    run(out / "part")
    run(out / "other")
    kept = {name: data for name, data in files(out).items() if name.startswith("other")}
    ours = claim(out, GENERATE, force=True)
    assert len(files(out)) == 3 * 7
    ours.clear(recorded_files, ("sheet.png",), parts={"part": ()})
    mine = {"b/mask": b"mine", "notes": b"mine"}
    part = {"part/b/mask": b"mine", "part/notes": b"mine", "part/sheet.png": b"ours"}
    assert files(out) == {**mine, **part, **kept}
    assert not (out / "a").exists()
    ours.clear(recorded_files)  # nothing is left to replace
    assert files(out) == {**mine, **part, **kept}


def test_parts_that_become_empty_go(tmp_path):
    out = run(tmp_path / "out")
    with Manifest(out / "part", PAINTED):
        pass
    claim(out, GENERATE, force=True).clear(recorded_files, parts={"part": ()})
    assert not (out / "part").exists()


def test_a_manifest_that_names_files_elsewhere_deletes_none_of_them(tmp_path):
    (tmp_path / "scan").write_text("a patient's")
    (tmp_path / "link").symlink_to("scan")
    out = run(tmp_path / "out")
    (out / "link").symlink_to(tmp_path / "scan")
    claim(out, GENERATE, force=True).clear(
        lambda folder: ["../scan", str(tmp_path / "scan"), "link", "../link", "gone"]
    )
    assert (tmp_path / "scan").read_text() == "a patient's"
    assert (out / "link").is_symlink()


@pytest.mark.parametrize("busy", [".", "part"])
def test_nothing_is_deleted_under_a_run_that_is_writing(busy, tmp_path):
    out = run(tmp_path / "out")
    run(out / "part")
    ours = claim(out, GENERATE, force=True)
    lock = FolderLock(out / busy)
    try:
        before = files(out)
        with pytest.raises(OutputError, match="is writing to this folder"):
            ours.clear(recorded_files, ("sheet.png",), parts={"part": ()})
        assert files(out) == before
    finally:
        lock.release()


def test_what_became_anothers_since_it_was_asked_is_not_deleted(tmp_path):
    out = run(tmp_path / "out")
    ours = claim(out, GENERATE, force=True)
    (out / RUN).write_text(json.dumps(MARKS[SEGMENT]))
    before = files(out)
    ours.clear(recorded_files)
    assert files(out) == before


@pytest.mark.parametrize("mode", [{}, {"resume": True}])
def test_without_force_nothing_is_cleared(mode, tmp_path):
    out = run(tmp_path / "out")
    before = files(out)
    if mode:
        claim(out, GENERATE, **mode).clear(recorded_files)
    claim(tmp_path / "new", GENERATE, **mode).clear(recorded_files)
    assert files(out) == before
    assert (out / MANIFEST).is_file()


def test_other_settings_are_told_in_the_same_form(tmp_path):
    run(tmp_path)
    with pytest.raises(OutputError) as caught:
        Manifest(tmp_path, {**PAINTED, "seed": 2})
    assert str(caught.value) == (
        f"{tmp_path}: expected a run with the same settings, found other settings: seed (was 1, now 2); give the same "
        "with --resume, choose another folder, or start over with --force."
    )


# --- single files -------------------------------------------------------------------------------------------------


@by_kind
def test_files_are_replaced_by_their_own_kind_alone(kind, tmp_path):
    name = f"file{kind.suffixes[0] if kind.suffixes else ''}"
    path = tmp_path / name
    claim_file(path, kind)
    for head, found in ((HEADS[kind], f"{kind.what} that `{kind.command}` wrote"), (b"", "an empty file")):
        path.write_bytes(head)
        claim_file(path, kind, force=True)
        with pytest.raises(OutputError) as caught:
            claim_file(path, kind)
        advice = "give --force to replace it, or choose another name"
        assert str(caught.value) == f"{path}: expected the name of a new file, found {found}; {advice}."
    for head in (b"mine", *(HEADS[other] for other in KINDS if other is not kind)):
        path.write_bytes(head)
        for force in (False, True):
            with pytest.raises(OutputError, match=f"found a file that `{kind.command}` did not write; choose another"):
                claim_file(path, kind, force=force)
        assert path.read_bytes() == head


@by_kind
@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_file_is_never_replaced(kind, force, tmp_path, monkeypatch):
    suffix = kind.suffixes[0] if kind.suffixes else ""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path(f"ours{suffix}").write_bytes(HEADS[kind])
    Path(f"link{suffix}").symlink_to(f"ours{suffix}")
    Path(f"broken{suffix}").symlink_to("gone")
    os.mkfifo(f"device{suffix}")
    found = {"folder": "a folder", "..": "a folder", f"link{suffix}": "a link", f"broken{suffix}": "a link"}
    for name, what in {**found, f"device{suffix}": "something else of this name"}.items():
        with pytest.raises(OutputError, match=rf"expected the name of a new file, found {what}; choose another name"):
            claim_file(name, kind, force=force)
    if not force:  # atomic_write would make "new" first
        with pytest.raises(OutputError, match="give --force"):
            claim_file(f"new/../ours{suffix}", kind)
    if suffix:
        with pytest.raises(
            OutputError, match=rf"scan.nii.gz: expected a name ending in \{suffix}.*found 'scan.nii.gz'"
        ):
            claim_file("scan.nii.gz", kind, force=force)


def test_a_new_file_may_be_written(tmp_path):
    claim_file(tmp_path / "V.HTML", VIEW)
    with atomic_write(tmp_path / "V.HTML") as handle:
        handle.write(HEADS[VIEW])
    claim_file(tmp_path / "V.HTML", VIEW, force=True)


# --- the commands ask ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "by"),
    [
        ("generate -n 1 -o out --no-scores", GENERATE),
        ("layouts sample -n 1 -o out", LAYOUTS),
        ("segment data out", SEGMENT),
        ("report --synthetic data --real data --out out", REPORT),
    ],
)
@pytest.mark.parametrize("other", [GENERATE, SEGMENT, TRAIN], ids=lambda owner: owner.command)
def test_commands_ask_before_they_work(line, by, other, tmp_path):
    made(tmp_path / "out", other)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "A_t1.nii.gz").touch()
    before = files(tmp_path)
    for option in ("", " --force") if by is not other else ("",):
        result = invoke(tmp_path, line + option)
        assert result.exit_code == 1
        assert f"found {other.what} that `{other.command}` wrote; " in result.output
        assert result.output.startswith("Error: out: expected ")
    assert files(tmp_path) == before


@by_command
def test_every_command_has_a_sentence_for_what_it_is(by):
    assert by.what.isprintable()
    assert by.command.startswith("synth ")
    assert (by.joins is Joins.NEVER) == bool(by.mark and by is not RECONSTRUCT)
    assert REPLAY.mark == EXTRACT.mark == ""


def test_what_a_command_reads_is_never_in_the_folder_it_clears(tmp_path):
    out, read = tmp_path / "set", tmp_path / "set" / "layouts" / "A"
    read.mkdir(parents=True)
    (out / RUN).write_text(json.dumps(MARKS[LAYOUTS]))
    for path in (read, out):
        with pytest.raises(OutputError, match=r"expected a folder apart from what is read, found .* in it"):
            claim(out, LAYOUTS, force=True, reads=[path])
    claim(out, LAYOUTS, force=True, reads=[tmp_path / "elsewhere"])


def test_a_set_edited_into_itself_stays(tmp_path):
    save_layout(head_layout(case_id="Head"), tmp_path / "in")
    assert invoke(tmp_path, "layouts edit in set --edits mirror:layout").exit_code == 0
    before = files(tmp_path / "set")
    result = invoke(tmp_path, "layouts edit set set --edits mirror:layout --force")
    assert (result.exit_code, "apart from what is read" in result.output) == (1, True)
    assert files(tmp_path / "set") == before
