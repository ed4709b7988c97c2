"""Priors on disk: the arrays of a dataclass in one compressed `.npz`."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from synth.errors import LayoutError


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
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {spec.name: stored[spec.name].astype(np.float64) for spec in fields(cls)}
    except (OSError, KeyError, ValueError) as error:
        raise LayoutError(f"{path}: cannot be read as a {what} ({error}); install synth again.") from error
