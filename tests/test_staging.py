"""What killed processes left is swept by the next that writes there; what a living one is writing stays."""

import os
import subprocess
import sys
import time

import pytest

from synth.disk import staging
from synth.disk.files import atomic_folder, atomic_write
from synth.disk.staging import discard_staged, partial_name, remove_left
from synth.errors import OutputError


def dead() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def left(folder, name, pid, token=""):
    path = folder / f".{name}.{pid}{token and '-' + token}.partial"
    path.write_text("half")
    return path


def own_token() -> str:
    return partial_name(staging.Path("x")).name.split("-")[1].split(".")[0]


def test_the_dead_are_swept_and_the_living_stay(tmp_path):
    host, mine = own_token()[:4], own_token()
    gone = [
        left(tmp_path, "a", dead(), host + "abcd"),
        left(tmp_path, "b", dead()),  # as an earlier version named it
        left(tmp_path, "c", os.getpid(), host + ("0000" if mine[4:] != "0000" else "0001")),  # a number used again
    ]
    stays = [
        left(tmp_path, "d", os.getppid(), host + "abcd"),
        left(tmp_path, "e", os.getpid(), mine),
        left(tmp_path, "f", dead(), ("0000" if host != "0000" else "0001") + "abcd"),  # on another host
    ]
    old = left(tmp_path, "g", dead(), stays[2].name.split("-")[1][:8])
    os.utime(old, (time.time() - 90_000,) * 2)
    (tmp_path / ".my.partial").write_text("the user's own")
    assert remove_left(tmp_path) == 4
    assert [path.exists() for path in (*gone, old)] == [False] * 4
    assert [path.exists() for path in stays] == [True] * 3
    assert remove_left(tmp_path, locked=True) == 3
    assert os.listdir(tmp_path) == [".my.partial"]


def test_a_sweep_goes_below_but_follows_no_link(tmp_path):
    (tmp_path / "run/deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run/link").symlink_to(tmp_path / "elsewhere")
    kept, swept = left(tmp_path / "elsewhere", "a", dead()), left(tmp_path / "run/deep", "a", dead())
    assert remove_left(tmp_path / "run") == 1
    assert kept.exists()
    assert not swept.exists()


def test_writing_a_name_sweeps_what_was_left_under_it_alone(tmp_path):
    mine, other = left(tmp_path, "a.json", dead()), left(tmp_path, "b.json", dead())
    with atomic_write(tmp_path / "a.json") as handle:
        handle.write(b"{}")
    assert (mine.exists(), other.exists()) == (False, True)


def test_a_folder_without_anything_staged_is_looked_through_once(tmp_path, monkeypatch):
    looked, walk = [], staging.os.walk
    monkeypatch.setattr(staging.os, "walk", lambda folder: looked.append(folder) or walk(folder))
    for number in range(5):
        with atomic_write(tmp_path / f"{number}.json") as handle:
            handle.write(b"{}")
    assert len(looked) == 1


def test_two_that_prepare_one_folder_do_not_disturb_each_other(tmp_path):
    """Each stages under a name of its own; whoever is last stands there, whole, and nothing is left."""
    code = (
        "import sys; from pathlib import Path; from synth.disk.files import atomic_folder\n"
        "for _ in range(20):\n"
        "    with atomic_folder(Path(sys.argv[1]) / 'case') as place:\n"
        "        for name in 'abc': (place / name).write_text('other')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as process:
        while process.poll() is None:
            with atomic_folder(tmp_path / "case") as place:
                for name in "abc":
                    (place / name).write_text("one")
    assert process.returncode == 0
    assert os.listdir(tmp_path) == ["case"]
    assert len({(tmp_path / "case" / name).read_text() for name in "abc"}) == 1


@pytest.mark.parametrize("write", [atomic_write, atomic_folder])
def test_what_is_being_written_can_be_discarded_at_any_moment(tmp_path, write):
    seen = []

    def interrupted():
        with write(tmp_path / "a"):
            seen.append(len(os.listdir(tmp_path)))
            discard_staged()
            seen.append(len(os.listdir(tmp_path)))
            raise InterruptedError

    with pytest.raises((InterruptedError, OutputError)):
        interrupted()
    assert (seen, os.listdir(tmp_path)) == ([1, 0], [])
