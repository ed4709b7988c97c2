"""The segmenter's features of two sets on one scale, and shares of cases in them as checks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from synth.quality.distances import Space, bounded
from synth.quality.embedding import NAME
from synth.quality.records import Record, stack
from synth.report.core.judge import FAIL_AT, Check, Comparison, distance_check, not_judged, number

MOST = 200  # cases of a set that are compared: 2 s for all checks; 400 took two minutes


def drawn(records: Sequence[Record], seed: int, most: int = MOST) -> list[Record]:
    """At most so many of the records, chosen by the seed, in their order."""
    if len(records) <= most:
        return list(records)
    return [records[i] for i in np.sort(np.random.default_rng(seed).permutation(len(records))[:most])]


def scaled(synthetic: Sequence[Record], real: Sequence[Record], part: str) -> tuple[np.ndarray, np.ndarray]:
    """One array of the embedding of both sets, (n, d) and (m, d), in real standard deviations, `bounded`."""
    theirs = stack(real, NAME, part)
    space = Space.of(theirs)
    return bounded(space(stack(synthetic, NAME, part))), bounded(space(theirs))


def share_check(
    id: str, group: str, title: str, comparison: Comparison | None, tolerance: float, most: float = np.inf
) -> Check:
    """A share of cases as a check; not judged where it cannot fail, or where it passes and the fault would too.

    Args:
        id: of the check.
        group: its heading.
        title: what the share is.
        comparison: from `compare`.
        tolerance: share that passes whatever the yardstick says.
        most: the share that a set of one case over and over would have, where few cases keep it small.
    """
    check = distance_check(id, group, title, "share", comparison, tolerance)
    if comparison is None:
        return check
    limit = max(comparison.yardstick.high, tolerance)
    few = f"groups of {comparison.size} are too small: a share of {number(limit)} may be chance, and "
    if limit >= most and comparison.value <= limit:
        return replace(
            not_judged(id, group, title, f"{few}one case over and over would have {number(most)}."), n=check.n
        )
    if FAIL_AT * limit >= 1:
        return replace(
            not_judged(id, group, title, f"{few}no share can be more than {FAIL_AT:g} times that."), n=check.n
        )
    return check
