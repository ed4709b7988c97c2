"""A shuffled deck of hosts and donors: each comes as often as any other, and sample k still depends on k alone.

Every `count` samples in a row are one shuffle of the hosts: a block. The donors of a block are the same shuffle turned
by some places, another number of places in each of the next `count - 1` blocks: so within a block every source is host
once and donor once, never to itself, and over `count - 1` blocks every pair comes about equally often.
"""

from collections.abc import Iterator
from functools import lru_cache

from synth.randomness import deck_rng

_HOSTS, _TURNS = 0, 1  # kinds of shuffles


class Deck:
    """Which of `count` sources sample k gets.

    Args:
        count: how many there are, at least 1.
        seed: of the run.

    Attributes:
        version: of how it is shuffled: a run that drew otherwise cannot be resumed.

    Example:
        >>> deck = Deck(3, seed=7)
        >>> sorted(deck.host(k) for k in range(6)), sorted(next(deck.donors(k)) for k in range(3))
        ([0, 0, 1, 1, 2, 2], [0, 1, 2])
    """

    version = 1

    def __init__(self, count: int, seed: int):
        self.count, self.seed = count, seed
        self._shuffle = lru_cache(8)(lambda block: deck_rng(seed, block, _HOSTS).permutation(count))
        self._turns = lru_cache(8)(lambda block: 1 + deck_rng(seed, block, _TURNS).permutation(count - 1))

    def host(self, index: int) -> int:
        """The host of sample `index`."""
        block, place = divmod(index, self.count)
        return int(self._shuffle(block)[place])

    def donors(self, index: int) -> Iterator[int]:
        """The donor of sample `index`, and then all others in turn, should it not do; never the host."""
        if self.count < 2:
            return
        block, place = divmod(index, self.count)
        shuffle, (round_, which) = self._shuffle(block), divmod(block, self.count - 1)
        turn = int(self._turns(round_)[which])
        for further in range(self.count - 1):
            yield int(shuffle[(place + 1 + (turn - 1 + further) % (self.count - 1)) % self.count])
