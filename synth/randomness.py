"""The one table of seed branches: who draws what from which seed, so that no two draws are the same by accident.

Everything random is addressed, not drawn in turn: the numbers of sample k of seed s come from
`SeedSequence(s, spawn_key=(k, ...))`, whatever was drawn before. What is drawn apart from a sample's layout has a
branch of its own below; a new one takes a free number. Numbers never change: they decide the bytes of every run on
record.

Trees (seeds that mean different things):
    a run's seed       `sample_rng`, `plan_rng`, `deck_rng`: the branches below
    a training's seed  `step_rng`: (step, slot), with no branch of its own
    an anatomy's       `anatomy_seed`: each brain has a seed of its own, drawn with what else it is from the atlas
                       brain's number
    an edit's own      drawn with its parameters and recorded among them (`seed` of `elastic`, `satellites`, ...)
    a report's         plain `default_rng(seed)`: resampling, pictures; nothing is generated from it

Known and kept, as other numbers would break trainings on record: `synth train segmenter` on freshly painted cases uses
one seed for both, so slots 1 and 2 of step k begin with the bits that sample k's noise and style begin with. The one
chooses cases and places, the others seed noise and styles; nothing that is learnt can see it.
"""

from enum import IntEnum

import numpy as np


class Branch(IntEnum):
    """Branches of a sample's seed sequence; its layout (host, donor, edits) has the trunk."""

    NOISE = 1  # what the painter makes grain of: a gate draws it anew without touching layout or style
    STYLE = 2  # the style, where it is sampled: `--style own` then gives the same layouts as `--style sampled`
    TONES = 4  # the inside of a tumour that is not as its host had it
    DETAIL = 5  # what is finer than the tissue map, where no scan says it
    SLICES = 6  # how thick they are, where the style has thick ones
    PLAN = 3  # last in (block, factor, PLAN): the order of a plan's levels, which belongs to no single sample
    PATCHES = 16  # before the patch's number: where `synth.dataset` cuts it
    ATTEMPT = 17  # before the number of a further attempt, whose layout, noise and style lie behind it
    DECK = 18  # last in (block, kind, DECK): the order in which hosts and donors come, of no single sample either


class AnatomyBranch(IntEnum):
    """What is drawn from the seed of one atlas brain."""

    DEFORMATION = 0  # the rest of the prior's deformation, and the finest one
    WEIGHTS = 1  # where sulci are wide and white matter is plenty
    FOLDS = 2  # of the cortex
    DETAIL = 3  # what is finer than the tissue map


def sample_rng(seed: int, index: int, *branch: int, attempt: int = 0) -> np.random.Generator:
    """The generator of what a branch of a sample draws; without a branch that of its layout.

    Args:
        seed: of the run.
        index: of the sample.
        branch: a `Branch`, and numbers behind it where it has many.
        attempt: which of the further samples for the same place, 0 for the first.

    Example:
        >>> int(sample_rng(7, 3, Branch.NOISE).integers(100)) == int(sample_rng(7, 3, Branch.NOISE).integers(100))
        True
    """
    further = (Branch.ATTEMPT, attempt) if attempt else ()
    return _rng(seed, (index, *further, *branch))


def plan_rng(seed: int, block: int, factor: int) -> np.random.Generator:
    """The generator of the order of levels in one block of one factor of a plan."""
    return _rng(seed, (block, factor, Branch.PLAN))


def deck_rng(seed: int, block: int, kind: int) -> np.random.Generator:
    """The generator of one shuffle of a deck (`layout.sampling.deck`)."""
    return _rng(seed, (block, kind, Branch.DECK))


def step_rng(seed: int, step: int, slot: int) -> np.random.Generator:
    """The generator of one example of a training step: which case, which patch, which augmentation."""
    return _rng(seed, (step, slot))


def anatomy_seed(seed: int, branch: AnatomyBranch) -> tuple[int, int]:
    """The seed of what a branch of an atlas brain draws, as `numpy.random.default_rng` takes it."""
    return seed, int(branch)


def _rng(seed: int, key: tuple[int, ...]) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(int(number) for number in key)))
