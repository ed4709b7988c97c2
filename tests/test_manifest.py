import errno
import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from synth.disk import lock, manifest
from synth.disk.manifest import FREE, MANIFEST, RUN, Manifest, read_entries, read_run, recorded_files
from synth.errors import OutputError

CONFIG = {"n": 5, "seed": 1, "model": {"name": "vox2vox", "sha256": "ab"}, "size": (1, 2)}


def record(k: int, **more) -> dict:
    return {"index": k, "id": f"Synth_{k:06d}", "files": {"a": "0" * 64}, **more}


def test_lines_are_sorted_json_in_the_order_of_indices(tmp_path):
    with Manifest(tmp_path / "new" / "set", CONFIG) as book:
        for k in (0, 3, 1, 2):
            book.append(record(k, value=np.float32(0.5), box=np.arange(2), count=np.int64(3), path=tmp_path))
        assert len(book) == 4
        assert 3 in book
        assert 4 not in book
        assert book.get(4) is None
        assert book.get(1)["box"] == [0, 1]
        assert [entry["index"] for entry in book.entries()] == [0, 1, 2, 3]
    lines = (tmp_path / "new" / "set" / MANIFEST).read_text().splitlines()
    assert lines[0].startswith('{"box":[0,1],"count":3,"files":{"a":"000')
    assert read_entries(tmp_path / "new" / "set") == [json.loads(line) for line in lines]
    assert read_run(tmp_path / "new" / "set") == json.loads(json.dumps(CONFIG))
    assert sorted(os.listdir(tmp_path / "new" / "set")) == [MANIFEST, RUN]


def test_the_order_of_arrival_leaves_no_trace(tmp_path):
    for name, order in (("a", range(6)), ("b", (5, 0, 4, 1, 3, 2))):
        with Manifest(tmp_path / name, CONFIG) as book:
            for k in order:
                book.append(record(k))
    assert (tmp_path / "a" / MANIFEST).read_bytes() == (tmp_path / "b" / MANIFEST).read_bytes()


def test_cut_anywhere_and_resumed_gives_the_same_bytes(tmp_path):
    path = tmp_path / MANIFEST
    with Manifest(tmp_path, CONFIG) as book:
        for k in range(3):
            book.append(record(k))
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert len(read_entries(tmp_path)) == whole[:end].count(b"\n")
        assert path.stat().st_size == end  # reading changes nothing
        with Manifest(tmp_path, CONFIG) as book:
            for k in range(3):
                if k not in book:
                    book.append(record(k))
        assert path.read_bytes() == whole
    path.write_bytes(whole + bytes(40) + b"\n")  # as after a loss of power
    with Manifest(tmp_path, CONFIG) as book:
        book.append(record(3))
    assert path.read_bytes().startswith(whole)
    assert len(read_entries(tmp_path)) == 4


def test_the_same_record_again_is_nothing_and_another_is_refused(tmp_path):
    with Manifest(tmp_path, CONFIG) as book:
        book.append(record(0, score={"psnr": 1.0}))
        before = (tmp_path / MANIFEST).read_bytes()
        book.append(record(0, score={"psnr": 1.0}))
        assert (tmp_path / MANIFEST).read_bytes() == before
        with pytest.raises(OutputError, match=r"sample 0 came out differently .*\(score\.psnr\).*--force"):
            book.append(record(0, score={"psnr": 2.0}))
        book.discard(0)
        book.discard(7)
        assert len(book) == 0
        book.append(record(0, score={"psnr": 2.0}))
        assert book.get(0)["score"]["psnr"] == 2.0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"id": "no index"}, "whole number `index`"),
        ({"index": True}, "whole number `index`"),
        ({"index": -1}, "whole number `index`"),
        ({"index": "0"}, "whole number `index`"),
        ([0], "whole number `index`"),
        ({"index": 0, "score": float("nan")}, "cannot be written as JSON"),
        ({"index": 0, "what": object()}, "a value of type object has no JSON form"),
    ],
)
def test_a_record_that_cannot_be_written_is_refused(tmp_path, bad, message):
    with Manifest(tmp_path, CONFIG) as book:
        with pytest.raises(OutputError, match=message):
            book.append(bad)
        assert len(book) == 0


def test_other_settings_are_refused_by_name(tmp_path):
    Manifest(tmp_path, CONFIG).close()
    Manifest(tmp_path, CONFIG).close()
    other = {**CONFIG, "seed": 2, "model": {"name": "vox2vox", "sha256": "cd"}, "extra": "x" * 99}
    with pytest.raises(OutputError) as caught:
        Manifest(tmp_path, other)
    message = str(caught.value)
    assert 'model.sha256 (was "ab", now "cd")' in message
    assert "seed (was 1, now 2)" in message
    assert "extra (was null" in message
    assert "size" not in message
    assert len(message) < 500
    Manifest(tmp_path, CONFIG).close()  # the refused one left neither lock nor change


def test_settings_that_are_free_may_change(tmp_path):
    Manifest(tmp_path, CONFIG).close()
    Manifest(tmp_path, {**CONFIG, "n": 9}, free=("n",)).close()
    assert read_run(tmp_path)["n"] == 9


def test_what_lies_below_a_free_setting_may_change_and_nothing_else(tmp_path):
    Manifest(tmp_path, {**CONFIG, "libraries": {"scipy": "1"}}).close()
    Manifest(tmp_path, {**CONFIG, "libraries": {"scipy": "2", "numpy": "3"}}, free=FREE).close()
    assert read_run(tmp_path)["libraries"] == {"scipy": "2", "numpy": "3"}
    with pytest.raises(OutputError, match=r"other settings: seed \(was 1, now 2\);"):
        Manifest(tmp_path, {**CONFIG, "seed": 2, "libraries": {}}, free=FREE)


def test_a_manifest_without_its_settings_is_refused(tmp_path):
    with Manifest(tmp_path, CONFIG) as book:
        book.append(record(0))
    (tmp_path / RUN).write_text("{torn")
    with pytest.raises(OutputError, match="cannot be read"):
        Manifest(tmp_path, CONFIG)
    (tmp_path / RUN).write_text("[1]")
    with pytest.raises(OutputError, match="expected a JSON object"):
        Manifest(tmp_path, CONFIG)
    (tmp_path / RUN).unlink()
    with pytest.raises(OutputError, match="expected the settings"):
        Manifest(tmp_path, CONFIG)
    with pytest.raises(OutputError, match="expected the manifest"):
        read_entries(tmp_path / "elsewhere")


def test_damage_before_the_last_line_is_told(tmp_path):
    with Manifest(tmp_path, CONFIG) as book:
        for k in range(3):
            book.append(record(k))
    path = tmp_path / MANIFEST
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{torn\n" + lines[2])
    with pytest.raises(OutputError, match="line 2: expected a record"):
        Manifest(tmp_path, CONFIG)
    path.write_bytes(lines[0] + lines[1] + lines[0] + lines[2])
    with pytest.raises(OutputError, match="line 3: sample 0 is recorded twice"):
        read_entries(tmp_path)


def test_a_full_disk_loses_no_record_before_it(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Manifest(tmp_path, CONFIG) as book:
        book.append(record(0))
        with monkeypatch.context() as patch:
            patch.setattr(manifest.os, "fsync", full)
            for k in (1, 2):
                with pytest.raises(OutputError, match="No space left on device"):
                    book.append(record(k))
        assert 1 not in book
        book.append(record(1))
    assert [entry["index"] for entry in read_entries(tmp_path)] == [0, 1]


def test_what_a_killed_run_left_is_cleared_and_nothing_else(tmp_path):
    (tmp_path / ".run.json.123.partial").write_text("{")
    (tmp_path / ".Synth_000001.old.123.partial").mkdir()
    (tmp_path / ".my.partial").write_text("the user's own")
    Manifest(tmp_path, CONFIG).close()
    assert sorted(os.listdir(tmp_path)) == [".my.partial", RUN]


# --- the lock -------------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from synth.disk.lock import FolderLock
lock = FolderLock(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_writer_is_refused_until_the_first_is_dead(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match=rf"process {holder.pid} on .* is writing to this folder"):
            Manifest(tmp_path, CONFIG)
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / lock.LOCK).exists()
    with Manifest(tmp_path, CONFIG), pytest.raises(OutputError, match=f"process {os.getpid()} on"):
        Manifest(tmp_path, CONFIG)
    assert not (tmp_path / lock.LOCK).exists()


def owner(pid: int, host: str | None = None) -> str:
    return json.dumps({"host": host or socket.gethostname(), "pid": pid})


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


@pytest.mark.parametrize("has_locks", [True, False])
def test_what_the_dead_left_is_taken_over_and_other_hosts_are_respected(tmp_path, monkeypatch, has_locks):
    if not has_locks:
        monkeypatch.setattr(lock, "_flock", lambda handle: None)
    path = tmp_path / lock.LOCK
    for text in ("", "{torn", owner(dead_pid())):
        path.write_text(text)
        held = lock.FolderLock(tmp_path)
        assert json.loads(path.read_text())["pid"] == os.getpid()
        held.release()
        held.release()
        assert not path.exists()
    path.write_text(owner(dead_pid(), "another-machine"))
    with pytest.raises(OutputError, match=r"on another-machine .* delete .*\.synth\.lock"):
        lock.FolderLock(tmp_path)
    if not has_locks:
        path.write_text(owner(os.getppid()))
        with pytest.raises(OutputError, match=f"process {os.getppid()} on"):
            lock.FolderLock(tmp_path)


def test_without_fcntl_the_file_itself_is_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    held = lock.FolderLock(tmp_path)
    with pytest.raises(OutputError, match=f"process {os.getpid()} on .* delete"):
        lock.FolderLock(tmp_path)
    held.release()
    lock.FolderLock(tmp_path).release()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        Manifest(tmp_path / "file" / "set", CONFIG)
    with pytest.raises(OutputError, match="cannot be written"):
        lock.FolderLock(tmp_path / "file")


def test_records_without_files_are_done_again_and_settings_in_a_pipe_are_refused(tmp_path):
    with Manifest(tmp_path, {"synth": "test"}) as manifest:
        for index, record in enumerate(({"files": 5}, {}, {"files": {"a": "b"}})):
            manifest.append({"index": index, **record})
        assert manifest.verified(lambda files: []) == {2}
    assert recorded_files(tmp_path) == {"a"}
    (tmp_path / RUN).unlink()
    os.mkfifo(tmp_path / RUN)
    with pytest.raises(OutputError, match="found a folder, pipe or device"):
        read_run(tmp_path)
