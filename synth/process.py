"""What a process that is all synth's, a command or a worker of one, asks of the C library and of what it imports.

In the process of somebody else, who imports synth, nothing of this is done.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_OWN = "SYNTH_OWN_PROCESS"  # in the environment: workers inherit it
_ARENAS, _M_ARENA_MAX = "MALLOC_ARENA_MAX", -8  # glibc's names
_TAKEN_ALONG = ("matplotlib", "pandas", "sklearn")  # by Keras, where they are there, for plots, tables and wrappers


def claim_process() -> None:
    """Say that this process, and those it will start, are synth's alone; before there are threads.

    Their threads then share one heap: each had its own, and what is freed in one (a brain's volumes, by the hundred
    MB) no other can use. Who has set `MALLOC_ARENA_MAX` keeps it; other C libraries than glibc know no such thing.
    """
    os.environ[_OWN] = "1"
    if _ARENAS not in os.environ:
        os.environ[_ARENAS] = "1"
        with suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


@contextmanager
def without_taken_along() -> Iterator[None]:
    """While Keras is imported in the block: without what it takes along unasked, a second and 80 MB in each process.

    They can be imported afterwards, and are where they are used. Keras alone then lacks its wrappers for scikit-learn,
    its plots, and tables as training data.
    """
    absent = [name for name in _TAKEN_ALONG if name not in sys.modules] if os.environ.get(_OWN) else []
    sys.modules.update(dict.fromkeys(absent))  # None: importing it fails
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
