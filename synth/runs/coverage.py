"""Which samples are a run's, and how well they cover its plan."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.disk.files import atomic_write
from synth.disk.manifest import json_text
from synth.errors import SynthError
from synth.layout.sampling.coverage import Coverage, coverage, survey
from synth.runs.folder import COVERAGE

if TYPE_CHECKING:
    from synth.runs.generate import Generation


def shard_indices(n: int, shard: tuple[int, int]) -> list[int]:
    """The samples k below n with k mod m = i, of a shard (i, m).

    Raises:
        SynthError: there is no such shard, or it is empty.
    """
    i, m = shard
    if n < 1:
        raise SynthError(f"--n must be at least 1, found {n}.")
    if m < 1 or not 0 <= i < m:
        raise SynthError(f"--shard i/m needs 0 <= i < m, found {i}/{m}.")
    indices = list(range(i, n, m))
    if not indices:
        raise SynthError(f"shard {i}/{m} of {n} samples is empty; use fewer shards.")
    return indices


def plan_coverage(
    generation: "Generation",
    n: int,
    shard: tuple[int, int],
    made: Iterable[Mapping[str, Any]],
    surveying: Callable = iter,
) -> Coverage:
    """How well a run's samples cover its plan; `made` are the `plan` entries of their records.

    Raises:
        SynthError: the run has no plan.
    """
    sampler = generation.sampler
    if sampler.plan is None:
        raise SynthError("this run has no plan that could be covered; give it one.")
    return coverage(sampler.plan, sampler.seed, shard_indices(n, shard), made, survey(sampler, n, surveying))


def write_coverage(
    generation: "Generation",
    n: int,
    shard: tuple[int, int],
    made: Iterable[Mapping[str, Any]],
    out: Path,
    surveying: Callable = iter,
) -> Coverage:
    """`plan_coverage`, kept in the run's folder too."""
    return keep_coverage(plan_coverage(generation, n, shard, made, surveying), out)


def keep_coverage(covered: Coverage, out: Path) -> Coverage:
    """Write a coverage to a run's folder; it is given back."""
    with atomic_write(out / COVERAGE) as handle:
        handle.write(json_text(covered.to_dict(), what=f"{out / COVERAGE}", indent=1).encode())
    return covered
