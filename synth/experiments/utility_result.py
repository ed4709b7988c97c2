"""What `synth utility` found: scores of three arms on the same test cases, their intervals, table, JSON and plot."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from synth import __version__
from synth.brats import REGIONS
from synth.disk.files import atomic_write
from synth.disk.json_files import parse, seal
from synth.disk.manifest import json_text
from synth.quality.bootstrap import difference, mean_of_first, paired_bootstrap, ratio

SCHEMA, VERSION = "synth.experiments.utility", 1
ARMS = {"real": "real", "synthetic": "synthetic", "both": "real + synthetic"}
COMPARISONS = {  # name in the JSON -> first arm, second arm, statistic, what it is called
    "tstr_ratio": ("synthetic", "real", ratio, "synthetic / real (TSTR)"),
    "gain": ("both", "real", difference, "gain of both over real"),
}
_COLOURS = {"real": "#4c72b0", "synthetic": "#dd8452", "both": "#55a868"}


@dataclass(frozen=True)
class UtilityResult:
    """The scores, and everything that is said about them.

    Attributes:
        settings: of the experiment, with the folders.
        sizes: how many cases each arm could draw from: "real" and "synthetic".
        cases: ids of the test cases.
        seeds: of the runs.
        scores: arm -> seed -> case id -> region -> Dice.
        notes: what a reader of the numbers must know about the data, in sentences.
        resamples: of the bootstrap.
    """

    settings: dict
    sizes: dict[str, int]
    cases: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: dict[str, dict[int, dict[str, dict[str, float]]]]
    notes: tuple[str, ...] = ()
    resamples: int = 2000

    def values(self, arm: str, region: str) -> np.ndarray:
        """Dice (cases,), averaged over the seeds."""
        return self._by_seed(arm, region).mean(0)

    @cached_property
    def summary(self) -> dict[str, dict[str, dict]]:
        """Arm -> region -> mean with its interval over cases, median, and the mean of each seed."""
        return {arm: {region: self._arm(arm, region) for region in REGIONS} for arm in ARMS}

    @cached_property
    def comparisons(self) -> dict[str, dict[str, dict]]:
        """TSTR ratio and gain -> region -> estimate and interval; None where a ratio does not exist."""
        return {
            name: {
                region: _measured(
                    paired_bootstrap(self.values(a, region), self.values(b, region), statistic, self.resamples)
                )
                for region in REGIONS
            }
            for name, (a, b, statistic, _) in COMPARISONS.items()
        }

    def table(self) -> list[str]:
        """Lines for the terminal: a row per arm and comparison, a column per region."""
        arms = {
            ARMS[arm]: [f"{_said(row, '.3f')} {row['median']:.3f}" for row in self.summary[arm].values()]
            for arm in ARMS
        }
        compared = {
            label: [_said(row, "+.3f" if name == "gain" else ".3f") for row in self.comparisons[name].values()]
            for name, (*_, label) in COMPARISONS.items()
        }
        rows = {"Dice": list(REGIONS), "": ["mean [95 %] median"] * len(REGIONS), **arms, **compared}
        first = max(map(len, rows))
        width = max(len(cell) for cells in rows.values() for cell in cells)
        lines = [f"{label:{first}}  {'  '.join(f'{cell:{width}}' for cell in cells)}" for label, cells in rows.items()]
        return [self._headline(), *(line.rstrip() for line in lines)]

    def to_dict(self) -> dict:
        """Everything, JSON-able; `schema` and `version` say what to expect."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "synth": __version__,
            "settings": self.settings,
            "sizes": self.sizes,
            "test_cases": list(self.cases),
            "seeds": list(self.seeds),
            "notes": list(self.notes),
            "summary": self.summary,
            **self.comparisons,
            "dice": {arm: {str(seed): scores for seed, scores in runs.items()} for arm, runs in self.scores.items()},
        }

    def write(self, folder: Path, name: str = "utility") -> None:
        """`<name>.json`, `<name>.txt` (the table) and `<name>.png` in the folder."""
        with atomic_write(folder / f"{name}.json") as handle:
            plain = parse(json_text(self.to_dict(), what="the result"))
            handle.write(json_text(seal(plain), what="the result", indent=1).encode())
        with atomic_write(folder / f"{name}.txt") as handle:
            notes = [f"note: {note}" for note in self.notes]
            handle.write(("\n".join([*self.table(), *notes]) + "\n").encode())
        with atomic_write(folder / f"{name}.png") as handle:
            self.plot().savefig(handle, format="png", dpi=120)

    def plot(self):
        """A matplotlib Figure: per region the arms' means with intervals, and every test case as a line."""
        from matplotlib.figure import Figure  # the object API: no window system, no global state

        figure = Figure(figsize=(11, 4.6), layout="constrained")
        places = np.arange(len(ARMS))
        for axes, region in zip(figure.subplots(1, len(REGIONS), sharey=True), REGIONS, strict=True):
            values = np.stack([self.values(arm, region) for arm in ARMS])  # (arms, cases)
            axes.plot(places, values, color="0.7", linewidth=0.8, marker=".", zorder=1)
            for place, arm in zip(places, ARMS, strict=True):
                row = self.summary[arm][region]
                low, high = row["interval"]
                axes.plot([place, place], [low, high], color=_COLOURS[arm], linewidth=3, solid_capstyle="butt")
                axes.plot(place, row["mean"], "o", color=_COLOURS[arm], markersize=9, zorder=3)
            said = [f"{label}: {_said(self.comparisons[k][region], f)}" for k, label, f in _SHORT]
            axes.set_title("\n".join([region, *said]), fontsize=10)
            axes.set_xticks(places, [label.replace(" + ", "\n+ ") for label in ARMS.values()])
            axes.set_xlim(-0.5, len(ARMS) - 0.5)
            axes.set_ylim(-0.02, 1.02)
            axes.grid(axis="y", color="0.9")
            axes.set_axisbelow(True)
        figure.axes[0].set_ylabel("Dice on real test cases")
        figure.suptitle(self._headline().rstrip(":"), fontsize=10)
        return figure

    def _headline(self) -> str:
        seeds = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
        return (
            f"{self.settings['arch']} of width {self.settings['width']}, {self.settings['steps']} steps, {seeds}; "
            f"{self.sizes['real']} real and {self.sizes['synthetic']} synthetic cases; {len(self.cases)} test cases "
            "(intervals over these):"
        )

    def _by_seed(self, arm: str, region: str) -> np.ndarray:
        runs = self.scores[arm]
        return np.array([[runs[seed][case][region] for case in self.cases] for seed in self.seeds])

    def _arm(self, arm: str, region: str) -> dict:
        values = self.values(arm, region)
        measured = _measured(paired_bootstrap(values, values, mean_of_first, self.resamples))
        return {
            "mean": measured["estimate"],
            "interval": measured["interval"],
            "median": float(np.median(values)),
            "seed_means": self._by_seed(arm, region).mean(1).tolist(),
        }


_SHORT = (("tstr_ratio", "TSTR", ".2f"), ("gain", "gain", "+.3f"))  # for the plot's titles


def _measured(estimate: tuple[float, float, float]) -> dict:
    estimate, low, high = (float(v) for v in estimate)
    return {"estimate": estimate, "interval": [low, high]} if np.isfinite(estimate) else _UNDEFINED


_UNDEFINED = {"estimate": None, "interval": None}


def _said(row: dict, form: str) -> str:
    value = row["estimate"] if "estimate" in row else row["mean"]
    if value is None:
        return "undefined"
    low, high = row["interval"]
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"
