import numpy as np
import pytest

from synth.errors import LayoutError
from synth.layout.priors.tumour import SHIPPED, TumourPrior, shipped_prior


@pytest.fixture(scope="module")
def draws():
    rng = np.random.default_rng(0)
    return [shipped_prior().draw(rng) for _ in range(3000)]


def test_a_draw_depends_on_the_generator_alone():
    first, second = (shipped_prior().draw(np.random.default_rng(7)) for _ in range(2))
    assert first == second != shipped_prior().draw(np.random.default_rng(8))


def test_marginals_are_those_of_the_real_maps(draws):
    """Quartiles over the 450 maps, as `benchmarks/prior_against_real.py` prints them."""
    volumes = np.percentile([d.whole_ml for d in draws], (25, 50, 75))
    assert volumes == pytest.approx([53, 92, 143], rel=0.1)
    cores = np.percentile([d.core_share for d in draws], (25, 50, 75))
    assert cores == pytest.approx([0.22, 0.365, 0.54], abs=0.05)
    lateral = np.percentile([abs(d.centre[0] - 119) for d in draws], (25, 50, 75))
    assert lateral == pytest.approx([21, 29.7, 36], abs=2.5)
    assert 0.035 < np.mean([not d.enhancing for d in draws]) < 0.085
    assert 0.45 < np.mean([d.centre[0] > 119 for d in draws]) < 0.55


def test_large_tumours_lie_more_central(draws):
    logs = np.log([d.whole_ml for d in draws])
    assert -0.4 < np.corrcoef(logs, [abs(d.centre[0] - 119) for d in draws])[0, 1] < -0.1


def test_latents_are_spread_like_standard_deviations(draws):
    latents = np.array([d.latents for d in draws])
    assert latents.shape[1] == len(shipped_prior().modes)
    assert 0.6 < latents.std(0).mean() < 1.2
    assert np.abs(latents).max() <= 3


def test_levels_are_negative_inside_and_nested():
    levels = shipped_prior().levels(np.zeros(48))
    middle = tuple(n // 2 for n in levels.shape[:3])
    assert (levels[middle][:2] < 0).all()
    assert (levels[0, 0, 0] > 0.5).all()
    assert np.mean(levels[..., 1] >= levels[..., 0] - 0.05) > 0.99  # a core ends before the whole tumour does


def test_what_is_wished_for_in_vain_is_said():
    with pytest.raises(LayoutError, match="less rare"):
        shipped_prior().draw(np.random.default_rng(0), lambda d: d.whole_ml > 1e6)


def test_it_is_stored_small_and_read_back(tmp_path):
    assert SHIPPED.stat().st_size < 5e6
    prior = shipped_prior()
    prior.save(tmp_path / "again.npz")
    again = TumourPrior.load(tmp_path / "again.npz")
    assert again.draw(np.random.default_rng(3)) == prior.draw(np.random.default_rng(3))
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(LayoutError, match=r"bad\.npz: cannot be read as a tumour prior"):
        TumourPrior.load(tmp_path / "bad.npz")


def test_it_holds_statistics_of_many_maps_only():
    """No array has a row per map, and none of the mixture's components stands for few."""
    prior = shipped_prior()
    for name, array in vars(prior).items():
        assert 450 not in array.shape, name
    assert prior.weights.min() * 450 > 15
