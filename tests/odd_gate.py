"""A gate for tests."""

from synth.brats import REGIONS
from synth.runs.gate import Gate, Verdict


class Odd(Gate):
    """Refuses every third sample, without looking."""

    def __init__(self):
        self.thresholds, self.redraws = {"WT": 0.5}, 0

    def settings(self):
        return {"segmenter": {"name": "odd", "hash": "0"}, "dice": self.thresholds, "redraws": 0}

    segmenter = None

    def judge(self, case, layout=None):
        refused = case.meta["index"] % 3 == 0
        ml = dict.fromkeys(REGIONS, 1.0)
        return Verdict(dict.fromkeys(REGIONS, 0.2 if refused else 0.8), ml, ml, ("WT",) if refused else ())
