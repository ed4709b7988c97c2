"""The strip beside a number: a dot for the synthetic set on the range that real scans give, as inline SVG."""

from html import escape

import numpy as np

from synth.report.core.judge import Check, Yardstick, number

WIDTH, HEIGHT = 150, 26
_LEFT, _RIGHT, _MIDDLE = 6, WIDTH - 6, HEIGHT / 2
_BEYOND = 4.0  # times the yardstick's own extent; what lies farther out becomes an arrow


def strip(check: Check) -> str:
    """The picture of a check, or nothing where there is no value or no yardstick.

    The scale begins at 0 unless something lies below, and ends a little beyond the dot or the yardstick. A dot so far
    out that the yardstick would shrink to a line is drawn as an arrow at the edge.
    """
    if check.value is None or check.yardstick is None:
        return ""
    edges = np.array([check.yardstick.low, check.yardstick.median, check.yardstick.high], float)
    if not (np.isfinite(check.value) and np.isfinite(edges).all()):
        return ""
    return draw(check.value, check.yardstick, check.interval, words(check))


def draw(value: float, yardstick: Yardstick, interval: tuple[float, float] | None, said: str) -> str:
    """A strip of finite numbers; `said` is read out in its place."""
    low, high = _scale(value, yardstick, interval)

    def place(x: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * min(max((x - low) / (high - low), 0.0), 1.0), 1)

    parts = [f'<line class="base" x1="{_LEFT}" x2="{_RIGHT}" y1="{_MIDDLE}" y2="{_MIDDLE}"/>']
    left, right = place(yardstick.low), place(yardstick.high)
    parts.append(f'<rect class="band" x="{left}" width="{max(right - left, 2):.1f}" y="6" height="14" rx="2"/>')
    middle = place(yardstick.median)
    parts.append(f'<line class="mid" x1="{middle}" x2="{middle}" y1="6" y2="20"/>')
    if interval is not None and np.isfinite(interval).all():
        ends = (place(interval[0]), place(interval[1]))
        parts.append(f'<line class="span" x1="{ends[0]}" x2="{ends[1]}" y1="{_MIDDLE}" y2="{_MIDDLE}"/>')
    parts.append(_dot(value, low, high, place))
    return (
        f'<svg class="strip" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}">'
        f"<title>{escape(said)}</title>{''.join(parts)}</svg>"
    )


def words(check: Check) -> str:
    """What the strip shows, for those who do not see it."""
    yardstick = check.yardstick
    return (
        f"{number(check.value)}; {yardstick.what}: {number(yardstick.low)} to {number(yardstick.high)}, "
        f"median {number(yardstick.median)}"
    )


def _scale(value: float, yardstick: Yardstick, interval) -> tuple[float, float]:
    """The numbers at the ends of the strip."""
    known = [yardstick.low, yardstick.high, yardstick.median]
    start = min(0.0, *known)
    extent = max(max(known) - start, 1e-9)
    shown = [*known, *(np.clip([value, *(interval or ())], start - _BEYOND * extent, start + _BEYOND * extent))]
    shown = [float(x) for x in shown if np.isfinite(x)]
    low, high = min(0.0, *shown), max(0.0, *shown)
    room = 0.08 * max(high - low, 1e-9)
    return (low - room if low < 0 else 0.0), high + room


def _dot(value: float, low: float, high: float, place) -> str:
    if low <= value <= high:
        return f'<circle class="dot" cx="{place(value)}" cy="{_MIDDLE}" r="5"/>'
    tip, back = (_RIGHT + 5, _RIGHT - 5) if value > high else (_LEFT - 5, _LEFT + 5)
    return f'<path class="beyond" d="M{tip} {_MIDDLE} L{back} 7 L{back} 19 Z"/>'
