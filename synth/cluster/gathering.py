"""A crew for those who want one: Dask is imported here alone, when it is asked for."""

from typing import TYPE_CHECKING

from synth.cluster.workers import Workers
from synth.errors import SynthError

if TYPE_CHECKING:
    from synth.cluster.crew import Crew


def gather(workers: Workers, need: float) -> "Crew":
    """The crew, to be entered with `with`.

    Args:
        workers: who they are.
        need: memory that the work takes in each, in bytes.

    Raises:
        SynthError: Dask is not installed.
    """
    try:
        from synth.cluster.crew import Crew
    except ModuleNotFoundError as error:
        raise SynthError(
            f"several workers need dask.distributed, found no module {error.name!r}; install it with: "
            "pip install 'synth-brats[dask]'."
        ) from error
    return Crew(workers, need)
