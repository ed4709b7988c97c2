"""The one way commands show progress: tqdm on standard error."""

from functools import partial


def bar(description: str, unit: str, quiet: bool = False, total: int | None = None, initial: int = 0):
    """A function that wraps an iterable in a progress bar; `quiet` shows none, nor does a pipe."""
    from tqdm import tqdm

    return partial(tqdm, desc=description, unit=unit, total=total, initial=initial, disable=True if quiet else None)
