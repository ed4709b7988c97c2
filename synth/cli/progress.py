"""The one way commands show progress, on standard error: tqdm on a terminal, plain lines now and then in a log."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

EVERY = 30.0  # seconds between two lines


def bar(
    description: str,
    unit: str,
    quiet: bool = False,
    total: int | None = None,
    initial: int = 0,
    lines: bool = False,
) -> Callable[[Iterable], Iterable]:
    """A function that wraps an iterable in a progress bar; `quiet` shows none, nor does a pipe.

    With `lines` a pipe gets a line every half minute: what is done, and how long the rest will take.
    """
    if lines and not quiet and sys.stderr is not None and not sys.stderr.isatty():
        return partial(_in_lines, description, unit, total, initial)
    from tqdm import tqdm

    return partial(tqdm, desc=description, unit=unit, total=total, initial=initial, disable=True if quiet else None)


def _in_lines(description: str, unit: str, total: int | None, initial: int, things: Iterable) -> Iterator:
    if total is None and hasattr(things, "__len__"):
        total = initial + len(things)
    begun = told = time.monotonic()
    for done, thing in enumerate(things, start=initial):
        now = time.monotonic()
        if now - told >= EVERY and done > initial:
            told = now
            rest = "" if total is None else f", {_spoken((now - begun) / (done - initial) * (total - done))} left"
            _tell(f"{description}: {done}{'' if total is None else f' of {total}'} {unit}s{rest}")
        yield thing


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads the log any more: no reason to stop
        print(line, file=sys.stderr, flush=True)
