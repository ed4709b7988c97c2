"""TensorFlow, imported quietly; whoever needs it or Keras imports this module first.

TensorFlow greets with lines about oneDNN and missing GPUs that no setting silences: they are written to the process's
standard error before its logging begins. They are dropped here; what TensorFlow raises is raised all the same.
"""

import os
import threading
from contextlib import contextmanager, suppress

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


with _without_greetings():
    import tensorflow as tf

    tf.config.list_physical_devices()  # the search for GPUs greets too


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
            gpus = [gpus[number % len(gpus)]]
            tf.config.set_visible_devices(gpus, "GPU")
        for gpu in gpus:  # several processes may share one: none takes all its memory at once
            tf.config.experimental.set_memory_growth(gpu, True)
