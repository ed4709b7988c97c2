"""What the tests of commands share: running one in a folder, and all that a folder holds."""

import pytest
from click.testing import CliRunner

from synth.cli import main


def invoke(folder, line):
    """Run a command line whose paths are relative to `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(main, line.split())


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
