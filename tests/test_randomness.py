from itertools import product

import numpy as np
import pytest

from synth import randomness
from synth.randomness import AnatomyBranch, Branch, anatomy_seed, plan_rng, sample_rng, step_rng


@pytest.fixture
def keys(monkeypatch):
    """What would be asked of NumPy: the seed and the spawn key of every generator made."""
    made = []
    monkeypatch.setattr(randomness, "_rng", lambda seed, key: made.append((seed, tuple(map(int, key)))))
    return made


def test_no_two_branches_of_a_run_coincide(keys):
    for index, attempt in product(range(40), range(20)):
        sample_rng(7, index, attempt=attempt)
        sample_rng(7, index, Branch.NOISE, attempt=attempt)
        sample_rng(7, index, Branch.STYLE, attempt=attempt)
    for index, patch in product(range(40), range(40)):
        sample_rng(7, index, Branch.PATCHES, patch)
    for block, factor in product(range(40), range(5)):  # a plan has an axis to each factor, and five axes
        plan_rng(7, block, factor)
    assert len(set(keys)) == len(keys)


def test_every_branch_has_a_number_of_its_own():
    assert len({int(branch) for branch in Branch}) == len(Branch.__members__)
    assert len({int(branch) for branch in AnatomyBranch}) == len(AnatomyBranch.__members__)
    seeds = [anatomy_seed(seed, branch) for seed in range(5) for branch in AnatomyBranch]
    assert len({np.random.default_rng(seed).integers(2**62) for seed in seeds}) == len(seeds)


def test_the_numbers_are_those_of_runs_on_record():
    def drawn(seed, *key):
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)).integers(2**62)

    for rng, key in (
        (sample_rng(7, 3), (3,)),
        (sample_rng(7, np.int64(3), attempt=2), (3, 17, 2)),
        (sample_rng(7, 3, Branch.NOISE), (3, 1)),
        (sample_rng(7, 3, Branch.STYLE, attempt=1), (3, 17, 1, 2)),
        (sample_rng(7, 3, Branch.PATCHES, 5), (3, 16, 5)),
        (plan_rng(7, 4, 1), (4, 1, 3)),
        (step_rng(7, 100, 2), (100, 2)),
    ):
        assert rng.integers(2**62) == drawn(7, *key)
    assert [anatomy_seed(9, branch) for branch in AnatomyBranch] == [(9, 0), (9, 1), (9, 2), (9, 3)]
