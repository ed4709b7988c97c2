"""Hosts and donors from a shuffled deck: evenly, never to themselves, by the sample's number alone."""

from collections import Counter

import numpy as np
import pytest
from phantoms import phantom_layout

from synth.layout.sampling.deck import Deck
from synth.layout.sampling.sampler import LayoutSampler
from synth.layout.sampling.sources import MemorySource


@pytest.mark.parametrize("count", [2, 3, 12, 25])
def test_every_source_is_host_and_donor_once_in_a_block_and_never_to_itself(count):
    deck = Deck(count, seed=3)
    for block in range(4):
        indices = range(block * count, (block + 1) * count)
        assert sorted(deck.host(k) for k in indices) == list(range(count))
        assert sorted(next(deck.donors(k)) for k in indices) == list(range(count))
        for k in indices:
            assert sorted([deck.host(k), *deck.donors(k)]) == list(range(count))


def test_a_lone_host_has_no_donor():
    deck = Deck(1, seed=0)
    assert [deck.host(k) for k in range(3)] == [0, 0, 0]
    assert list(deck.donors(0)) == []


def test_pairs_come_about_evenly_and_blocks_differ():
    deck = Deck(6, seed=0)
    pairs = Counter((deck.host(k), next(deck.donors(k))) for k in range(6 * 5 * 20))
    assert len(pairs) == 30
    assert max(pairs.values()) <= 3 * min(pairs.values())
    assert len({tuple(deck.host(6 * block + place) for place in range(6)) for block in range(12)}) > 6
    assert [Deck(6, seed=1).host(k) for k in range(30)] != [deck.host(k) for k in range(30)]


def test_a_card_depends_on_its_number_alone():
    forth, back = Deck(7, seed=9), Deck(7, seed=9)
    one_way = [(forth.host(k), next(forth.donors(k))) for k in range(50)]
    other_way = [(back.host(k), next(back.donors(k))) for k in reversed(range(50))]
    assert one_way == other_way[::-1]


def test_the_sampler_deals_hosts_evenly_whatever_was_drawn_before():
    hosts = [MemorySource(phantom_layout(seed=k, case_id=f"Phantom_{k}")) for k in range(4)]
    drawn = [LayoutSampler(hosts, "none", seed=5).draw(k)[1].host for k in reversed(range(20))]
    assert set(Counter(drawn).values()) == {5}
    assert drawn[::-1] == [LayoutSampler(hosts, "none", seed=5).draw(k)[1].host for k in range(20)]
    donors = [LayoutSampler(hosts, "swap", seed=5).draw(k)[1].donor for k in range(4)]
    assert sorted(donors) == sorted(source.id for source in hosts)


def test_a_donor_that_does_not_fit_is_passed_over():
    big = phantom_layout(seed=0, case_id="Big")
    tumour = np.where(big.tissue > 0, np.uint8(2), np.uint8(0))  # all of the brain
    hosts = [MemorySource(phantom_layout(seed=k, case_id=f"Phantom_{k}")) for k in range(3)]
    sampler = LayoutSampler([*hosts, MemorySource(big.with_tumour(tumour))], "swap", seed=0)
    assert {sampler.draw(k, host="Phantom_0")[1].donor for k in range(8)} == {"Phantom_1", "Phantom_2"}
