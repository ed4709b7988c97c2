"""TensorFlow, imported quietly; whoever needs it or Keras imports this module first.

TensorFlow greets with lines about oneDNN and missing GPUs that no setting silences: they are written to the process's
standard error before its logging begins. They are dropped here; what TensorFlow raises is raised all the same.
"""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import numpy as np
import scipy

from synth.process import without_taken_along

one_at_a_time = threading.Lock()
"""Held while a network runs on a whole brain: each uses all cores, and two would hold their activations side by side
(a gibibyte each) for no gain of time."""


@contextmanager
def _without_greetings():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        kept = os.dup(2)
    except OSError:  # no standard error to keep clean
        yield
        return
    try:
        with open(os.devnull, "w") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


with _without_greetings(), without_taken_along():
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):  # the search for GPUs greets too
        with suppress(RuntimeError, ValueError):  # too late if TensorFlow ran already; then it stays as it is
            tf.config.experimental.set_memory_growth(gpu, True)  # others may work there, too: none takes all at once

try:
    _trim = ctypes.CDLL(None).malloc_trim  # of glibc
except (AttributeError, OSError, TypeError):
    _trim = None


def give_back() -> None:
    """Give the system the memory that was freed and that the C library keeps: before and after what needs a lot.

    A brain's volumes come and go in pieces of some megabytes, which glibc keeps by the gibibyte. Takes some hundredths
    of a second.
    """
    if _trim is not None:
        _trim(0)


FLOAT32, MIXED = "float32", "mixed_float16"
_TENSOR_CORES = (7, 0)  # the compute capability of GPUs that gain by float16


def kernels() -> str:
    """What convolutions are computed with in this process: "oneDNN", "Eigen" or "cuDNN"; bytes depend on it.

    Import synth before TensorFlow to have oneDNN on every x86 processor; TF_ENABLE_ONEDNN_OPTS=0 leaves it off.
    """
    if tf.config.list_physical_devices("GPU"):
        return "cuDNN"
    try:
        from tensorflow.python.util import _pywrap_util_port as built  # there is no public way to ask

        return "oneDNN" if built.IsMklEnabled() else "Eigen"
    except (ImportError, AttributeError):
        return "oneDNN" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1" else "Eigen"


def versions() -> dict[str, str]:
    """The libraries that a sample's bytes depend on in this process, by name."""
    return {"tensorflow": tf.__version__, "numpy": np.__version__, "scipy": scipy.__version__}


@cache
def precision() -> str:
    """In what a generator computes in this process, decided once: `MIXED` on GPUs that gain by it, else `FLOAT32`.

    Weights, what a style says, and the image to which the network adds are float32 either way.
    """
    gpus = tf.config.list_physical_devices("GPU")
    able = [tf.config.experimental.get_device_details(gpu).get("compute_capability") or (0, 0) for gpu in gpus]
    return MIXED if able and min(able) >= _TENSOR_CORES else FLOAT32


@contextmanager
def computing_in(policy: str) -> Iterator[None]:
    """Networks that are built in the block compute in `MIXED` or `FLOAT32`."""
    before = tf.keras.config.dtype_policy()
    tf.keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        tf.keras.config.set_dtype_policy(before)


def repeatable() -> None:
    """Ask TensorFlow for the same bits every time: it matters on a GPU; on one kind of CPU they are the same anyway."""
    tf.config.experimental.enable_op_determinism()
    # operations one after the other, each on all cores: as fast, and about 0.1 GiB less at the peak
    with suppress(RuntimeError):  # too late if TensorFlow runs already in this process; then it stays as it is
        tf.config.threading.set_inter_op_parallelism_threads(1)


def take_place(threads: int, number: int | None) -> None:
    """Be one of several processes on a machine: a share of the cores and, where there are GPUs, one of them.

    Args:
        threads: cores to compute with; bytes do not depend on it.
        number: of this process among those of the machine; None: it was given its GPUs by whoever started it.
    """
    with suppress(RuntimeError):  # too late if TensorFlow runs already in this process; then it stays as it is
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        gpus = tf.config.list_physical_devices("GPU")
        if gpus and number is not None:
            tf.config.set_visible_devices([gpus[number % len(gpus)]], "GPU")
