"""Probes: what is measured on each case once and kept, so that every comparison afterwards works on small arrays.

A probe is a name, a version and a function from a `Prepared` case to named arrays. What it gives is stored beside the
case's checksum; raise the version when a probe measures differently, and stored arrays are made anew.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synth.quality.prepared import Prepared


@dataclass(frozen=True)
class Probe:
    """One measurement of a case.

    Attributes:
        name: plain, unique.
        version: of what it measures, with anything that changes it (a network's hash).
        measure: gives named arrays of numbers; float16/float32/ints, a few MB at the very most.
    """

    name: str
    version: str
    measure: Callable[[Prepared], dict[str, np.ndarray]]
