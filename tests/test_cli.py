import subprocess
import sys

import pytest
from click.testing import CliRunner

from synth import __version__
from synth.cli import COMMANDS, main
from synth.errors import DataError


def test_help_lists_every_command_and_imports_none_of_them():
    code = (
        "import sys; from click.testing import CliRunner; from synth.cli import main;"
        "print(CliRunner().invoke(main, ['--help']).output);"
        "print(sorted({'numpy', 'nibabel', 'scipy', 'h5py', 'tensorflow', 'tqdm'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.rstrip().endswith("[]")
    for name in COMMANDS:
        assert f"\n  {name} " in output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    assert COMMANDS[name][1].endswith(".")


def test_version():
    assert CliRunner().invoke(main, ["--version"]).output == f"synth, version {__version__}\n"


def test_unknown_command():
    result = CliRunner().invoke(main, ["chekc"])
    assert result.exit_code == 2
    assert "No such command 'chekc'" in result.output


@pytest.mark.parametrize(
    ("raised", "code", "printed"),
    [
        (DataError("a.nii: is broken; mend it."), 1, "Error: a.nii: is broken; mend it.\n"),
        (KeyboardInterrupt(), 130, "\nInterrupted.\n"),
    ],
)
def test_errors_and_interrupts_end_in_one_line(monkeypatch, raised, code, printed):
    def fail(*args, **kwargs):
        raise raised

    monkeypatch.setattr("synth.datasets.sets.open_set", fail)
    result = CliRunner().invoke(main, ["check", "."])
    assert (result.exit_code, result.output) == (code, printed)
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("line", "advice", "said"),
    [
        ("check .", "give --resample", ""),
        ("check .", "start over with --force", " (`synth check` has no --force.)"),
        ("layouts show . --out a.png", "give --force or --resume", " (`synth layouts show` has no --resume.)"),
        ("check .", "run `synth generate --resume`", ""),
    ],
)
def test_advice_that_a_command_cannot_take_is_said_to_be_such(monkeypatch, line, advice, said):
    def fail(*args, **kwargs):
        raise DataError(f"a.nii: is broken; {advice}.")

    monkeypatch.setattr("synth.datasets.sets.open_set", fail)
    monkeypatch.setattr("synth.hosts.inputs.find_inputs", fail)
    monkeypatch.setattr("synth.show.layouts.show_layouts", fail)
    result = CliRunner().invoke(main, line.split())
    assert result.output == f"Error: a.nii: is broken; {advice}.{said}\n"


@pytest.mark.parametrize(("name", "code", "line"), [("SIGINT", 130, "Interrupted."), ("SIGTERM", 143, "Terminated.")])
def test_a_signal_ends_a_command_at_once_whatever_its_threads_do(tmp_path, name, code, line):
    program = (
        "import os, signal, threading, time\n"
        "from pathlib import Path\n"
        "from synth.cli import main\n"
        "from synth.disk.files import atomic_write\n"
        "import synth.datasets.sets\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "def busy(*args, **kwargs):\n"
        "    threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()\n"
        "    with atomic_write(Path('out')) as handle:\n"
        f"        for _ in range(3): os.kill(os.getpid(), signal.{name})\n"
        "        time.sleep(60)\n"
        "synth.datasets.sets.open_set = busy\n"
        "main(['check', '.'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=50)
    assert (done.returncode, done.stderr.split()) == (code, [line])
    assert list(tmp_path.iterdir()) == []
