"""The process's heap: memory that was freed, given back to the system.

glibc keeps freed arrays of up to 32 MB for itself, in pieces that the next ones do not fit into: while volumes of 9 to
30 MB come and go in several threads, a third of what a process holds is none of its data.
"""

import ctypes
import sys
from contextlib import suppress

_trim = None
if sys.platform == "linux":
    with suppress(OSError, AttributeError):  # another C library manages for itself
        _trim = ctypes.CDLL(None).malloc_trim


def give_back() -> None:
    """Give freed memory back, where the C library has to be asked; some milliseconds, for once a sample."""
    if _trim is not None:
        _trim(0)
