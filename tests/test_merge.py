"""Shards of a run, merged: the bytes of the run that was never cut, or a sentence on what is wrong with them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from commands import files, invoke
from crews import Plain
from odd_gate import Odd
from phantoms import phantom_sources

from synth.disk.manifest import MANIFEST, RUN
from synth.errors import DataError, OutputError
from synth.runs import merge as merging
from synth.runs.generate import GenerateConfig, generate
from synth.runs.merge import merge

N = 5


@pytest.fixture(scope="module")
def make():
    """Writes a run of phantoms, or a shard of it."""
    sources = phantom_sources()

    def write(out, gate=None, **changed):
        shard = changed.pop("shard", (0, 1))
        generation = Plain(sources, "default", replace(GenerateConfig(seed=5, edits=("gentle",)), **changed))
        generate(generation, N, out, gate=gate, shard=shard)
        return Path(out)

    return write


@pytest.fixture(scope="module")
def prepared(make, tmp_path_factory):
    """A run, and the same in two shards; to be copied."""
    root = tmp_path_factory.mktemp("runs")
    make(root / "whole", plan="balanced-side")
    for i in range(2):
        make(root / f"part{i}", plan="balanced-side", shard=(i, 2))
    return root


def same(a, b) -> bool:
    return {name: hash(data) for name, data in files(a).items()} == {
        name: hash(data) for name, data in files(b).items()
    }


@pytest.mark.parametrize("link", [None, "hard", "soft"])
def test_merged_shards_are_the_whole_run(link, place):
    done = merge([place / "part1", place / "part0"], place / "out", link=link)
    assert (done.cases, done.quarantined, done.coverage.n, done.coverage.met) == (N, 0, N, True)
    assert same(place / "out", place / "whole")
    first = place / "out/Synth_00000/Synth_00000_t1.nii.gz"
    assert (first.stat().st_nlink > 1, first.is_symlink()) == (link == "hard", link == "soft")


def test_hdf5_files_of_a_given_size_are_packed_anew(make, tmp_path):
    for name, shard in (("whole", (0, 1)), ("part0", (0, 2)), ("part1", (1, 2))):
        make(tmp_path / name, format="hdf5", shard_gb=0.0002, shard=shard)
    assert len(list((tmp_path / "whole").glob("synth-*.h5"))) > 1
    assert "shard_gb" in json.loads((tmp_path / "whole" / RUN).read_text())
    merge([tmp_path / "part0", tmp_path / "part1"], tmp_path / "out")
    assert same(tmp_path / "out", tmp_path / "whole")


def test_what_the_gate_refused_is_merged_apart(make, tmp_path):
    make(tmp_path / "whole", Odd())
    parts = [make(tmp_path / f"part{i}", Odd(), shard=(i, 2)) for i in range(2)]
    done = merge(parts, tmp_path / "out")
    assert (done.cases, done.quarantined) == (3, 2)
    assert same(tmp_path / "out", tmp_path / "whole")


def test_an_interrupted_merge_goes_on(place):
    merge([place / "part0", place / "part1"], place / "out")
    (place / "out" / MANIFEST).unlink()
    (place / "out/Synth_00002/Synth_00002_t1.nii.gz").write_bytes(b"torn")
    with pytest.raises(OutputError, match=r"give --resume to go on with it"):
        merge([place / "part0", place / "part1"], place / "out")
    merge([place / "part0", place / "part1"], place / "out", resume=True)
    assert same(place / "out", place / "whole")


def damage(path):
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def other_seed(place):
    run = json.loads((place / "part1" / RUN).read_text())
    (place / "part1" / RUN).write_text(json.dumps({**run, "seed": 6}))


def without(*place_of):
    """A shard's settings that lack something, as if somebody had written them."""

    def spoil(place):
        for name in ("part0", "part1"):
            run = json.loads((place / name / RUN).read_text())
            inner = run
            for key in place_of[:-1]:
                inner = inner[key]
            del inner[place_of[-1]]
            (place / name / RUN).write_text(json.dumps(run))

    return spoil


def name_outside(place):
    """A record whose file would be put beside the merged set."""
    first, *rest = (place / "part1" / MANIFEST).read_text().splitlines(keepends=True)
    record = json.loads(first)
    record["files"] = {"../outside": next(iter(record["files"].values()))}
    (place / "part1" / MANIFEST).write_text(json.dumps(record) + "\n" + "".join(rest))


def last_line_lost(place):
    path = place / "part1" / MANIFEST
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("spoil", "shards", "sentence"),
    [
        (
            other_seed,
            ("part0", "part1"),
            r"part1: expected a run with the same settings, found other settings: seed \(wa",
        ),
        *(
            (
                without(*keys),
                ("part0", "part1"),
                rf"part0/run\.json: expected the settings of a shard.*{keys[-1]}",
            )
            for keys in (("seed",), ("shard",), ("model",), ("model", "hash"))
        ),
        (lambda place: None, ("part0",), r"shard 1/2 is missing \(1 of 2 are\)"),
        (lambda place: None, ("part0", "part0"), r"part0: shard 0/2 is there twice"),
        (lambda place: None, ("part0", "whole"), r"whole: expected a shard i/2, as .*part0, found 0/1"),
        (last_line_lost, ("part0", "part1"), r"part1: has 1 of the 2 samples of shard 1/2; make the others with --res"),
        (
            lambda place: damage(place / "part1/Synth_00003/Synth_00003_seg.nii.gz"),
            ("part0", "part1"),
            r"Synth_00003_seg\.nii\.gz: the checksum differs from the manifest's",
        ),
        (
            lambda place: shutil.rmtree(place / "part0/Synth_00002"),
            ("part0", "part1"),
            r"Synth_00002_.*not found; make",
        ),
        (
            name_outside,
            ("part0", "part1"),
            r"part1/manifest\.jsonl, line 1: expected a record of one sample, found damaged",
        ),
    ],
)
def test_what_is_no_whole_run_is_refused(spoil, shards, sentence, place):
    spoil(place)
    with pytest.raises((DataError, OutputError), match=sentence):
        merge([place / name for name in shards], place / "out")
    assert not (place / "out" / MANIFEST).exists()


def test_the_command_says_what_it_did(place):
    result = invoke(place, "merge part0 part1 out --link hard")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("5 cases of 2 shards merged in out; ")
    assert "5 samples, as planned" in result.output
    result = invoke(place, "merge part0 out")
    assert result.exit_code == 1
    assert result.output == "Error: shard 1/2 is missing (1 of 2 are); give the folders of all.\n"


def test_files_are_read_once(place, monkeypatch):
    read = []
    real = merging.copy_file
    monkeypatch.setattr(merging, "copy_file", lambda source, path: read.append(source) or real(source, path))
    monkeypatch.setattr(merging, "sha256_file", lambda path: pytest.fail(f"{path} is read again"))
    merge([place / "part0", place / "part1"], place / "out")
    assert sorted(read) == sorted({*read})
    assert len(read) == 5 * N
