"""What commands and their workers ask of their own process, and nobody else's."""

import ctypes
import os
import subprocess
import sys
from importlib import import_module

import pytest

from synth import process

HEAPS = """
import ctypes, threading
ready = threading.Barrier(5)
def hold():
    kept = bytes(2000)  # more than Python's own heap gives
    ready.wait()
for _ in range(4):
    threading.Thread(target=hold, daemon=True).start()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w")))
libc.fflush(None)
ready.wait()
"""


def said_by(program: str, **settings: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in (process._OWN, process._ARENAS)}
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, env={**environment, **settings}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="heaps are glibc's")
@pytest.mark.parametrize(
    ("begin", "settings", "one"),
    [
        ("from synth.cli import main; main(['--version'], standalone_mode=False)", {}, True),
        ("from synth.cli import main; main(['--version'], standalone_mode=False)", {"MALLOC_ARENA_MAX": "9"}, False),
        ("from synth.cli import main", {}, False),  # somebody else's process
    ],
)
def test_a_commands_threads_share_one_heap(begin, settings, one):
    heaps = said_by(begin + HEAPS, **settings).count("<heap nr=")
    assert (heaps == 1) == one


def test_keras_takes_nothing_along_in_a_command():
    ended = "from synth.models.runtime import tf; import sys; tf.keras.Model; print(*sys.modules); import matplotlib"
    taken = said_by(f"from synth.process import claim_process; claim_process(); {ended}").split()
    assert "keras" in taken
    assert not {"sklearn", "pandas", "matplotlib"} & set(taken)


@pytest.mark.parametrize(("own", "there"), [(True, False), (False, True)])
def test_what_is_left_out_is_there_afterwards(tmp_path, monkeypatch, own, there):
    (tmp_path / "taken_along_by_keras.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(process, "_TAKEN_ALONG", ("taken_along_by_keras", "json"))
    monkeypatch.delenv(process._OWN, raising=False)
    if own:
        monkeypatch.setenv(process._OWN, "1")
    with process.without_taken_along():
        import_module("json")  # imported before: it stays
        if there:
            import_module("taken_along_by_keras")
        else:
            with pytest.raises(ImportError):
                import_module("taken_along_by_keras")
    import_module("taken_along_by_keras")
