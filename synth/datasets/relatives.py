"""Which real cases must stay together when a set is split: those of one patient, and one scan under two names."""

from collections.abc import Iterable, Sequence

import numpy as np

from synth.datasets.fingerprint import twins
from synth.errors import DataError


def families(patients: Sequence[frozenset[str]], prints: Sequence[Iterable[str]]) -> list[frozenset[str]]:
    """The patients of each case's family: all that it shares a patient or a scan with, be it by way of a third.

    Args:
        patients: whose anatomy is in each case.
        prints: the fingerprint of each case's scan (`datasets.fingerprint`); empty where it is not known.
    """
    kin = twins({i: (*prints[i], *map("patient {}".format, own)) for i, own in enumerate(patients)})
    family = {i: frozenset().union(*(patients[k] for k in members)) for members in kin for i in members}
    return [family.get(i, own) for i, own in enumerate(patients)]


def deal(patients: Sequence[frozenset[str]], prints: Sequence[Iterable[str]], folds: int, seed: int) -> list[list[int]]:
    """Deal real cases out to folds, families whole, sizes as even as that allows; return each fold's places.

    Args:
        patients: whose anatomy is in each case.
        prints: the fingerprint of each case's scan; empty where it is not known.
        folds: how many, at least 2 and at most the number of families.
        seed: of the order in which families are dealt out.

    Raises:
        DataError: there are fewer families than folds.
    """
    groups: dict[frozenset[str], list[int]] = {}
    for i, family in enumerate(families(patients, prints)):
        groups.setdefault(family, []).append(i)
    if folds < 2 or len(groups) < folds:
        raise DataError(f"{folds} folds need at least 2 folds and as many patients; found {len(groups)} patients.")
    names = sorted(groups, key=sorted)
    dealt: list[list[int]] = [[] for _ in range(folds)]
    for k in np.random.default_rng(seed).permutation(len(names)):
        min(dealt, key=len).extend(groups[names[k]])
    return dealt
