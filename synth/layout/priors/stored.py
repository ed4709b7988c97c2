"""Priors on disk: the arrays of a dataclass in one compressed `.npz`; and what else ships in such a file."""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import DTypeLike

from synth.errors import LayoutError

_Kept = TypeVar("_Kept", bound="Stored")


class Stored:
    """A dataclass of arrays that is kept in one file.

    Attributes:
        what: it is, for the sentence of a file that is none.
        dtype: its arrays are stored in.
    """

    what: ClassVar[str]
    dtype: ClassVar[DTypeLike]

    def save(self, path: str | Path) -> None:
        """Write it as `load` reads it."""
        save_arrays(path, self, self.dtype)

    @classmethod
    def load(cls: type[_Kept], path: str | Path) -> _Kept:
        """Read what `save` wrote.

        Raises:
            LayoutError: the file is missing or no such statistic.
        """
        return cls(**load_arrays(path, cls, cls.what))


def save_arrays(path: str | Path, prior: Any, dtype: DTypeLike, **others: DTypeLike) -> None:
    """Write a prior's arrays in a type, those named apart in types of their own."""
    arrays = {spec.name: np.asarray(getattr(prior, spec.name), np.float32) for spec in fields(prior)}
    np.savez_compressed(path, **{name: array.astype(others.get(name, dtype)) for name, array in arrays.items()})


def load_arrays(path: str | Path, cls: type, what: str) -> dict[str, np.ndarray]:
    """The arrays of a prior of this class by name, float64.

    Args:
        path: of the file.
        cls: the dataclass.
        what: the prior is, for the sentence.

    Raises:
        LayoutError: the file is missing or no such prior.
    """
    with shipped_arrays(path, f"a {what}") as stored:
        return {spec.name: stored[spec.name].astype(np.float64) for spec in fields(cls)}


def in_bytes(values: np.ndarray) -> dict[str, np.ndarray]:
    """The high and the low bytes of int16, apart: the high ones pack well."""
    plain = values.view(np.uint16)
    return {"high": (plain >> 8).astype(np.uint8), "low": plain.astype(np.uint8)}


def of_bytes(stored: Mapping[str, np.ndarray]) -> np.ndarray:
    """The int16 that were stored `in_bytes`."""
    return (stored["high"].astype(np.uint16) << 8 | stored["low"]).view(np.int16)


@contextmanager
def shipped_arrays(path: str | Path, what: str) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of a file that ships, to be read in the body.

    Raises:
        LayoutError: the file is missing or damaged, or what the body makes of it fails.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            yield stored
    except (OSError, LookupError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise LayoutError(f"{path}: cannot be read as {what} ({error}); install synth again.") from error
