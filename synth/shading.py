"""Smooth multiplicative shading (coil sensitivity, bias field) as a second-order polynomial of the logarithm."""

from math import prod

import numpy as np

SHADING_TERMS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (1, 0, 1), (0, 1, 1))
"""Exponents of x, y, z (grid coordinates scaled to -1..1) in the polynomial; no constant term."""


def grid_coordinates(shape, box) -> list[np.ndarray]:
    """Coordinates of `box` scaled to -1..1 over the full grid: three float32 arrays that broadcast together."""
    axes = []
    for axis, (size, part) in enumerate(zip(shape, box, strict=True)):
        line = (np.arange(size, dtype=np.float32) * 2 / (size - 1) - 1)[part]
        axes.append(line.reshape([-1 if a == axis else 1 for a in range(3)]))
    return axes


def shading_field(coefficients, shape, box) -> np.ndarray:
    """The field exp(polynomial) on `box` of a grid of `shape`: float32, around 1."""
    axes = grid_coordinates(shape, box)
    log = np.float32(0)
    for c, exponents in zip(coefficients, SHADING_TERMS, strict=True):
        if c:
            log = log + np.float32(c) * prod(line**e for line, e in zip(axes, exponents, strict=True) if e)
    size = [part.stop - part.start for part in box]
    return np.broadcast_to(np.exp(log), size)


def shading_terms(points: np.ndarray) -> np.ndarray:
    """(n, 9) values of the terms at (n, 3) coordinates in -1..1."""
    return np.stack([np.prod(points ** np.asarray(e), axis=1) for e in SHADING_TERMS], 1)


def fit_shading(log_ratio: np.ndarray, terms: np.ndarray, ridge: float = 1e-3) -> np.ndarray:
    """Coefficients (..., 9) that explain `log_ratio` (n, ...) = log(intensity / expected) by the terms (n, 9).

    A small ridge and a bound of 0.8 keep a scan with little brain from extrapolating wildly.
    """
    design = np.concatenate([terms, np.ones((len(terms), 1))], 1)
    normal = design.T @ design + ridge * len(terms) * np.diag([1.0] * terms.shape[1] + [0.0])
    return np.clip(np.linalg.solve(normal, design.T @ log_ratio)[:-1].T, -0.8, 0.8)
