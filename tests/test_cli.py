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
