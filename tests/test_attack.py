"""The attack kit's short version: `benchmarks/attack/run.py` alone tries thousands."""

import subprocess
import sys
from pathlib import Path

KIT = Path(__file__).parent.parent / "benchmarks/attack/run.py"


def test_a_few_blows_of_each_kind_break_nothing():
    done = subprocess.run([sys.executable, str(KIT), "--quick"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    attacks = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert set(attacks) == {"kills", "signals", "full", "records", "headers"}
