"""Styles that no scanner had: a distribution fitted on measured styles, and what every style must respect."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from synth.brats import CLASSES, MODALITIES
from synth.errors import SynthError
from synth.style.style import PURE, SHAPES, Style

SHIPPED = Path(__file__).parent / "weights" / "style_prior.json"
MINIMUM_STYLES = 3
MAX_REDRAWS = 50
_REACH = 1.8  # standard deviations of each factor: beyond, a style fitted on few scans is made up
_PARTS = tuple((name, SHAPES[name]) for name in ("mean", "texture", "sharpness", "shading", "window", PURE))
_WIDTHS = sum(int(np.prod(SHAPES[name])) for name in ("mean", "texture"))  # where they begin in a vector
_MIXED_APART = (("mean", PURE), ("texture", "sharpness"), ("shading",), ("window",))
_MARGIN = 0.05  # normalised units by which a contrast must hold
_LEAST_SPREAD = 1e-6  # of a value: styles that all have the same
_QUANTILES = 17  # of each width, the least and the largest among them


def style_problems(style: Style) -> list[str]:
    """What a radiologist would find wrong with a style's contrasts, a phrase each; empty for a plausible one.

    Fluid is darkest in t1 and flair and brightest of the tissues in t2; white matter is brighter than grey in t1;
    enhancing tumour is brighter than white matter in t1ce; oedema is brighter than grey matter in flair.
    """
    table = {(c, m): style.mean[i][j] for i, c in enumerate(CLASSES) for j, m in enumerate(MODALITIES)}
    rules = [
        ("GM", "CSF", "t1"), ("WM", "GM", "t1"), ("CSF", "GM", "t2"), ("CSF", "WM", "t2"), ("GM", "CSF", "flair"),
        ("WM", "CSF", "flair"), ("ET", "WM", "t1ce"), ("ED", "GM", "flair"),
    ]  # fmt: skip
    return [f"{a} not brighter than {b} in {m}" for a, b, m in rules if table[a, m] < table[b, m] + _MARGIN]


@dataclass(frozen=True)
class StylePrior:
    """A Gaussian over styles in few factors: `centre` + z `factors`, z standard normal, cut at 1.8.

    Along an axis a scan has thick slices or it has not: there is little between, where a Gaussian has most. So widths
    (`Style.sharpness`) are drawn as the others are, and then put where that quantile of the measured ones is.

    Attributes:
        centre: (d,) the mean of the vectors that `_vector` makes of styles; without pure tissue where one has none.
        factors: (k, d) principal directions, each scaled by its standard deviation.
        widths: (q, 4, 3) quantiles of the logarithm of each width, evenly spaced from the least to the largest; None:
            as the Gaussian says.
    """

    centre: np.ndarray
    factors: np.ndarray
    widths: np.ndarray | None = None

    @classmethod
    def fit(cls, styles: Iterable[Style], max_factors: int = 12) -> "StylePrior":
        """The prior of measured styles.

        Factors are directions in which styles differ most where each value counts in its own deviations, and each part
        of a style as much as any other: plainly, they would be of the scale that scans are stored on, and contrasts
        would hardly differ.

        Raises:
            SynthError: fewer than 3 styles.
        """
        styles = list(styles)
        vectors = _alike([_vector(style) for style in styles])
        if len(vectors) < MINIMUM_STYLES:
            raise SynthError(
                f"styles can be sampled from at least {MINIMUM_STYLES} scans, found {len(vectors)}; "
                "use --style own, or more cases."
            )
        centre = vectors.mean(0)
        sizes = [int(np.prod(shape)) for _, shape in _PARTS]
        unit = np.maximum(vectors.std(0), _LEAST_SPREAD) * np.sqrt(np.repeat(sizes, sizes))[: len(centre)]
        _, scale, directions = np.linalg.svd((vectors - centre) / unit, full_matrices=False)
        directions *= unit
        keep = min(max_factors, len(vectors) - 1)
        logs = np.log([style.sharpness for style in styles])
        widths = np.quantile(logs, np.linspace(0, 1, _QUANTILES), axis=0)
        return cls(centre, (scale[:keep, None] / np.sqrt(len(vectors) - 1)) * directions[:keep], widths)

    def sample(self, rng: np.random.Generator) -> Style:
        """A plausible style (`style_problems` finds nothing).

        Raises:
            SynthError: none of 50 draws was plausible; the styles fitted on must be odd.
        """
        for _ in range(MAX_REDRAWS):
            z = np.clip(rng.standard_normal(len(self.factors)), -_REACH, _REACH)
            style = _style(self._with_widths(self.centre + z @ self.factors))
            if not style_problems(style):
                return style
        raise SynthError(
            f"none of {MAX_REDRAWS} sampled styles was plausible ({'; '.join(style_problems(style))}); check the "
            "scans' modalities with `synth check`, or use --style own."
        )

    def _with_widths(self, vector: np.ndarray) -> np.ndarray:
        """The drawn vector with its widths where the measured ones are."""
        if self.widths is None:
            return vector
        part = slice(_WIDTHS, _WIDTHS + int(np.prod(SHAPES["sharpness"])))
        spread = np.sqrt((self.factors[:, part] ** 2).sum(0))
        place = ndtr((vector[part] - self.centre[part]) / np.maximum(spread, 1e-9)) * (len(self.widths) - 1)
        at, known = np.arange(len(self.widths)), self.widths.reshape(len(self.widths), -1).T
        out = vector.copy()
        out[part] = [np.interp(p, at, quantiles) for p, quantiles in zip(place, known, strict=True)]
        return out

    def to_dict(self) -> dict:
        """JSON-able."""
        widths = {} if self.widths is None else {"widths": self.widths.round(4).tolist()}
        return {"centre": self.centre.round(6).tolist(), "factors": self.factors.round(6).tolist(), **widths}

    @classmethod
    def from_dict(cls, record: dict) -> "StylePrior":
        """The prior of a dict made by `to_dict`."""
        widths = np.array(record["widths"]) if "widths" in record else None
        return cls(np.array(record["centre"]), np.array(record["factors"]), widths)


def mixed_style(scans: Sequence[Callable[[], Style]], prior: StylePrior, rng: np.random.Generator) -> Style:
    """A plausible style that no scan has: contrasts, grain, shading and window, each mixed of two styles of its own.

    Each of these lies a drawn share of the way, on the scales of the prior, from one scan to another or, half of the
    times, to a style that nobody has. They are drawn apart, as coil, protocol and resolution have little to do with one
    another.

    Args:
        scans: give measured styles, at least one.
        prior: what nobody's styles are drawn from.
        rng: of the sample.

    Raises:
        SynthError: the prior has no plausible style.
    """
    for _ in range(MAX_REDRAWS):
        drawn = [_between(scans, prior, rng) for _ in _MIXED_APART]
        parts = {name: getattr(s, name) for names, s in zip(_MIXED_APART, drawn, strict=True) for name in names}
        style = replace(drawn[0], **parts)
        if not style_problems(style):
            return style
    return prior.sample(rng)  # odd scans: nobody's style is plausible, or it says why not


def _between(scans: Sequence[Callable[[], Style]], prior: StylePrior, rng: np.random.Generator) -> Style:
    number, others = int(rng.integers(len(scans))), len(scans) - 1
    other = int(rng.integers(others)) if others and rng.random() < 0.5 else None
    first = scans[number]()
    second = prior.sample(rng) if other is None else scans[other + (other >= number)]()
    share = rng.random()
    ours, theirs = _alike([_vector(first), _vector(second)])
    return _style(share * ours + (1 - share) * theirs)


@cache
def shipped_style_prior() -> StylePrior:
    """The prior fitted on the 24 training cases by `benchmarks/fit_style_prior.py`: factors, no single scan's table."""
    return StylePrior.from_dict(json.loads(SHIPPED.read_text()))


def _vector(style: Style) -> np.ndarray:
    """Levels and widths as logarithms, the window as log width and relative offset, the rest as it is; `PURE` last."""
    low, high = np.array(style.window).T
    window = np.stack([np.log(high - low), low / (high - low)], 1)
    parts = [style.mean, np.log(np.maximum(style.texture, 1e-4)), np.log(style.sharpness), style.shading, window]
    parts += [] if style.pure is None else [style.pure]
    return np.concatenate([np.ravel(part) for part in parts])


def _alike(vectors: list[np.ndarray]) -> np.ndarray:
    """Vectors of one length: without pure tissue where one has none."""
    least = min(map(len, vectors), default=0)
    return np.array([vector[:least] for vector in vectors])


def _style(vector: np.ndarray) -> Style:
    parts, start = {}, 0
    for name, shape in _PARTS:
        size = int(np.prod(shape))
        if name == PURE and start == len(vector):
            continue
        parts[name] = vector[start : start + size].reshape(shape)
        start += size
    width, offset = np.exp(parts["window"][:, 0]), np.maximum(parts["window"][:, 1], 0)
    width = np.minimum(width, 20_000 / (1 + offset))  # int16 on disk
    return Style(
        mean=parts["mean"],
        spread=np.zeros((len(CLASSES), len(MODALITIES))),
        texture=np.exp(parts["texture"]),
        sharpness=np.exp(parts["sharpness"]),
        shading=parts["shading"],
        window=np.stack([offset * width, (1 + offset) * width], 1),
        pure=parts.get(PURE),
    )
