"""Fingerprints: one scan is known again under another id, another year's names, another type or scale of numbers.

A modality's digest is of the *order* of its intensities at every third voxel of the box that it fills, so that it is
the same for int16, for floats of 0 to 1, for 0 to 60 000 and after a gamma, in whatever file and memory order, with
however wide an empty border and whatever label map. It is another one where equal intensities become different or
different ones equal: in a scan cut to 256 levels, clipped, blurred, moved onto another grid; and in a mirrored one.
"""

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import numpy as np

from synth.errors import printable
from synth.layout.space import box_of

Fingerprint = tuple[str, ...]
Key = TypeVar("Key", bound=Hashable)

STEP = 3  # voxels: a modality's digest takes 4 ms, and still rests on a hundred thousand of them
_NAMED = 3  # groups of twins that a sentence names
_LEVELS = 1 << 16  # whole numbers below are ranked by a table, all others by sorting


def fingerprint(images: np.ndarray) -> Fingerprint:
    """What a scan is known by: for each modality 16 hexadecimal digits, or "" where nothing tells it from others.

    Args:
        images: (X, Y, Z, M) intensities of any real type, background 0, in any memory order.

    Returns:
        M digests in the order of the modalities; "" for one that is 0 everywhere, or a mask of a single value.
    """
    return tuple(_digest(images[..., m]) for m in range(images.shape[-1]))


def same_scan(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two fingerprints have a digest in common: one modality of one brain is enough, under whatever name."""
    return bool(set(filter(None, one)) & set(other))


def twins(prints: Mapping[Key, Iterable[str]]) -> list[tuple[Key, ...]]:
    """The groups of ids, two or more, that are one scan; groups and ids in the order of the mapping.

    Scans without a fingerprint are nobody's twin. Two that share a digest with a third are in one group.
    """
    group = {key: [key] for key in prints}
    first: dict[str, Key] = {}  # digest -> who has it
    for key, digests in prints.items():
        for digest in filter(None, digests):
            known, own = group[first.setdefault(digest, key)], group[key]
            if known is not own:
                known += own
                group |= dict.fromkeys(own, known)
    order = {key: place for place, key in enumerate(prints)}
    whole = {id(members): tuple(sorted(members, key=order.__getitem__)) for members in group.values()}
    return [members for members in whole.values() if len(members) > 1]


def twin_sentence(prints: Mapping[str, Iterable[str]], what: str) -> str:
    """What is to be said of twins, in one line whatever their number; empty where there are none.

    >>> twin_sentence({"A": ("1",), "B": ("2",), "C": ("1",)}, "training cases")
    '2 of the 3 training cases are 1 scan under several names (A = C): it counts more than once; keep one name of each.'
    """
    groups = twins(prints)
    if not groups:
        return ""
    named = "; ".join(" = ".join(map(printable, group)) for group in groups[:_NAMED])
    more = f"; and {len(groups) - _NAMED} more" if len(groups) > _NAMED else ""
    scans = f"{len(groups)} scan{'s' * (len(groups) > 1)} under several names ({named}{more})"
    return (
        f"{sum(map(len, groups))} of the {len(prints)} {what} are {scans}: "
        f"{'each' if len(groups) > 1 else 'it'} counts more than once; keep one name of each."
    )


def _digest(array: np.ndarray) -> str:
    """Of one modality, by what is in its own box alone."""
    along = array.T if array.strides[0] < array.strides[-1] else array  # along the memory it is found 15 times faster
    box = box_of(along)
    if box is None:
        return ""
    sample = along[box][::STEP, ::STEP, ::STEP]
    ranks = _ranks(np.ascontiguousarray(sample if along is not array else sample.T))
    if ranks.max() < 2:
        return ""
    sha = hashlib.blake2b(repr(ranks.shape).encode(), digest_size=8)
    sha.update(ranks)
    return sha.hexdigest()


def _ranks(values: np.ndarray) -> np.ndarray:
    """The place of each value among the different ones, which always have 0 among them; little-endian uint32."""
    if values.dtype.kind == "f":
        values = values.astype(np.float32, copy=False)
        if values.max() < _LEVELS and np.array_equal(np.rint(values), values):
            values = values.astype(np.int32)
    if values.dtype.kind in "iu" and values.min() >= 0 and values.max() < _LEVELS:
        present = np.zeros(int(values.max()) + 1, bool)
        present[values] = present[0] = True
        return (np.cumsum(present) - 1).astype("<u4")[values]
    _, places = np.unique(np.append(values.ravel(), values.dtype.type(0)), return_inverse=True)
    return places[:-1].reshape(values.shape).astype("<u4")
