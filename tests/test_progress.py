"""What a command says of where it is, where no terminal shows a bar."""

import pytest

from synth.cli import progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def seen(clock, wrap, things, seconds):
    for _ in wrap(things):
        clock[0] += seconds


def test_a_log_gets_a_line_now_and_then_with_what_is_left(clock, capsys):
    seen(clock, progress.bar("measuring", "case", lines=True), range(20), 10)
    assert capsys.readouterr().err.splitlines()[:2] == [
        "measuring: 3 of 20 cases, 3 min left",
        "measuring: 6 of 20 cases, 2 min left",
    ]


def test_short_work_quiet_work_and_other_commands_say_nothing(clock, capsys):
    seen(clock, progress.bar("measuring", "case", lines=True), range(20), 1)
    seen(clock, progress.bar("measuring", "case", quiet=True, lines=True), range(20), 60)
    seen(clock, progress.bar("measuring", "case"), range(20), 60)
    assert capsys.readouterr().err == ""


def test_what_has_no_length_is_counted(clock, capsys):
    seen(clock, progress.bar("measuring", "case", lines=True), iter(range(3)), 40)
    assert capsys.readouterr().err.splitlines() == ["measuring: 1 cases", "measuring: 2 cases"]
