"""Attacks on what writes: killed at every call, ended by signals, with a full disk, through links, two at once."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from blows import Ended, at_call, full_from, kill, run
from stage import COMMANDS, Command, main_in, tree

from synth.disk.staging import delete

Try = tuple[str, str, Ended]  # what was attacked, the problem ("": none), how it ended
QUICK = 10.0  # seconds in which a signal has to end a process


class Ground:
    """A furnished place, with the undisturbed output of each command."""

    def __init__(self, place: Path, seed: int = 0):
        self.place, self.dice = place, random.Random(seed)
        self.whole: dict[str, tuple[dict[str, str], int, float]] = {}

    def fresh(self) -> Path:
        """A folder's name that is free."""
        out = self.place / "out"
        delete(out)
        return out

    def undisturbed(self, command: Command) -> tuple[dict[str, str], int, float]:
        """What a command writes, in how many calls and seconds."""
        if command.name not in self.whole:
            out, counts = self.fresh(), self.place / "calls"

            def work() -> int:
                count = at_call(0, kill)
                code = main_in(self.place, command.arguments(out))
                counts.write_text(str(count()[0]))
                return code

            ended = run(work, self.place / "log")
            if ended.code:
                raise SystemExit(f"undisturbed {command.name}: {ended}")
            self.whole[command.name] = tree(out), int(counts.read_text()), ended.seconds
        return self.whole[command.name]

    def strike(self, command: Command, out: Path, prepare=lambda: None, blow=None, again=False) -> Ended:
        """Run a command with a blow."""

        def work() -> int:
            prepare()
            return main_in(self.place, command.arguments(out, again))

        return run(work, self.place / "log", blow)

    def resumed(self, command: Command, out: Path) -> tuple[str, Ended]:
        """Run it again, and compare; the problem, if there is one."""
        ended = self.strike(command, out, again=True)
        if ended.code:
            return f"the second start ended with {ended.code}: {ended.said[-300:]}", ended
        found, expected = tree(out), self.undisturbed(command)[0]
        if found != expected:
            differing = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
            return f"other files after resuming: {', '.join(differing[:4])}", ended
        return "", ended


def kills(ground: Ground, step: int = 10, commands=COMMANDS) -> Iterator[Try]:
    """SIGKILL before every `step`-th changing call of each command, then again from a place within the second start."""
    for command in commands:
        _, calls, _ = ground.undisturbed(command)
        for number in range(1, calls + 1, step):
            out = ground.fresh()
            ended = ground.strike(command, out, lambda number=number: at_call(number, kill))
            if ended.code != -signal.SIGKILL:
                yield command.name, f"call {number} was not reached ({ended.code})", ended
                continue
            second = ground.dice.randrange(1, calls + 1)
            ground.strike(command, out, lambda second=second: at_call(second, kill), again=True)
            problem, again = ground.resumed(command, out)
            yield command.name, problem and f"call {number}: {problem}", again


def signals(ground: Ground, count: int = 40, commands=COMMANDS) -> Iterator[Try]:
    """SIGINT, SIGTERM and SIGKILL at random moments: exit codes, no traceback, in time; then resumed."""
    expected = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
    for number in range(count):
        command = commands[number % len(commands)]
        _, _, seconds = ground.undisturbed(command)
        out, which = ground.fresh(), (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[number // len(commands) % 3]
        ended = ground.strike(command, out, blow=(ground.dice.uniform(0.05, seconds), which))
        problem = ""
        if ended.traceback:
            problem = f"{which.name}: a traceback: {ended.said[-300:]}"
        elif ended.code not in (expected[which], 0):
            problem = f"{which.name}: exit code {ended.code}: {ended.said[-300:]}"
        elif ended.after > QUICK:
            problem = f"{which.name}: took {ended.after:.1f} s"
        if not problem:
            problem, _ = ground.resumed(command, out)
        yield command.name, problem, ended


def full(ground: Ground, points: int = 20, commands=COMMANDS) -> Iterator[Try]:
    """No room from a call on, and tmpfs of a given size where we may mount: a sentence, and resumed with room."""
    for command in commands:
        _, calls, _ = ground.undisturbed(command)
        for number in sorted({1 + calls * k // (2 * points) for k in range(points // 2)}):
            out = ground.fresh()
            ended = ground.strike(command, out, lambda number=number: full_from(number))
            yield command.name, _told(ground, command, out, ended, f"full from call {number}"), ended
        for size in _sizes(ground, command, points - points // 2):
            out = ground.fresh()
            with tmpfs(out, size) as mounted:
                if not mounted:
                    break
                ended = ground.strike(command, out)
                left = ground.place / "left"
                shutil.rmtree(left, ignore_errors=True)
                shutil.copytree(out, left, symlinks=True)
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(left, out, symlinks=True)
            yield command.name, _told(ground, command, out, ended, f"tmpfs of {size} bytes"), ended


def _sizes(ground: Ground, command: Command, points: int) -> list[int]:
    """Sizes of a disk from a page to what is nearly enough."""
    out = ground.fresh()
    ground.strike(command, out)
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return [max(8192, total * (k + 1) // (points + 1)) for k in range(points)]


def _told(ground: Ground, command: Command, out: Path, ended: Ended, how: str) -> str:
    if ended.traceback:
        return f"{how}: a traceback: {ended.said[-400:]}"
    if ended.code not in (0, 1):
        return f"{how}: exit code {ended.code}: {ended.said[-300:]}"
    if ended.code and "Error: " not in ended.said and "error: " not in ended.said:
        return f"{how}: no sentence: {ended.said[-300:]}"
    problem, _ = ground.resumed(command, out)
    return problem and f"{how}: {problem}"


@contextmanager
def tmpfs(place: Path, size: int) -> Iterator[bool]:
    """A disk of so many bytes at a place; False where we may not mount."""
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", str(place)], check=True)


def links(ground: Ground, commands=COMMANDS) -> Iterator[Try]:
    """Links where files are to go: nothing outside of the output changes, and there is no traceback."""
    precious = ground.place / "precious"
    for command in commands:
        expected, _, _ = ground.undisturbed(command)
        tops = sorted({name.split("/")[0] for name in expected})
        for name in (".", ".synth.lock", *tops):
            for kind in ("file", "folder", "nothing", "pipe"):
                out = ground.fresh()
                shutil.rmtree(precious, ignore_errors=True)
                precious.mkdir()
                (precious / "thesis").write_text("years of work")
                target = {"file": precious / "thesis", "folder": precious}.get(kind, precious / "gone")
                if kind == "pipe":
                    os.mkfifo(target)
                if name == ".":
                    if kind == "folder":
                        continue  # a link to a folder is as good as the folder
                    out.symlink_to(target)
                else:
                    out.mkdir()
                    (out / name).symlink_to(target)
                before = {**tree_of_files(precious)}
                ended = ground.strike(command, out)
                problem = ""
                if ended.traceback or ended.code not in (0, 1):
                    problem = f"{name} -> {kind}: {ended.code}: {ended.said[-300:]}"
                elif ended.seconds > 55:
                    problem = f"{name} -> {kind}: hangs"
                elif tree_of_files(precious) != before:
                    problem = f"{name} -> {kind}: what it points to was changed"
                yield command.name, problem, ended


def _twice(place: Path, command: Command, out: Path, pause: float) -> int:
    """Start a command, and the same after a pause; 0 where one was done and neither ended in another way than told."""
    child = os.fork()
    if not child:
        code = 99
        try:
            time.sleep(pause)
            code = main_in(place, command.arguments(out, again=pause > 0))
        finally:
            os._exit(code)
    own = main_in(place, command.arguments(out))
    _, status = os.waitpid(child, 0)
    codes = {own, os.waitstatus_to_exitcode(status)}
    return 0 if codes <= {0, 1} and 0 in codes else 98


def tree_of_files(folder: Path) -> dict[str, bytes]:
    """Regular files by name with their bytes, and what else there is."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def two_at_once(ground: Ground, rounds: int = 3, commands=COMMANDS) -> Iterator[Try]:
    """Two processes on one output: at least one writes all, the other refuses in a sentence or writes the same."""
    for number in range(rounds):
        for command in commands:
            out = ground.fresh()
            pause = 0.0 if number == 0 else ground.dice.uniform(0, ground.undisturbed(command)[2])
            ended = run(partial(_twice, ground.place, command, out, pause), ground.place / "log")
            problem = f"{ended.code}: {ended.said[-300:]}" if ended.code or ended.traceback else ""
            if not problem:
                expected = ground.undisturbed(command)[0]
                problem = "" if tree(out) == expected else "other files than of one"
            yield command.name, problem, ended
