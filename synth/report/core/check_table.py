"""The checks of a section as a table: value, what real scans give, a strip of both, verdict and reason."""

import re
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from synth.report.core.judge import Check, Verdict, number
from synth.report.core.strip import strip

MARKS = {Verdict.PASS: "✓", Verdict.LOOK: "!", Verdict.FAIL: "✕", Verdict.NONE: "–"}  # not by colour alone
CLASSES = {Verdict.PASS: "pass", Verdict.LOOK: "look", Verdict.FAIL: "fail", Verdict.NONE: "none"}
_NOTHING = "–"
_LONG = 8  # checks in a group above which those that pass are folded away
_NAMED = 6  # ids shown before the rest are folded away


def badge(verdict: Verdict) -> str:
    """A verdict as a coloured word with a mark."""
    return (
        f'<span class="badge {CLASSES[verdict]}"><span aria-hidden="true">{MARKS[verdict]}</span>{verdict.value}</span>'
    )


def slug(text: str) -> str:
    """A text as an HTML id that needs no escaping."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text) or "part"


def groups(checks: Iterable[Check]) -> list[tuple[str, list[Check]]]:
    """The checks under each heading, in the order in which the headings come."""
    by_heading: dict[str, list[Check]] = {}
    for check in checks:
        by_heading.setdefault(check.group, []).append(check)
    return list(by_heading.items())


def group(title: str, checks: Sequence[Check]) -> str:
    """One heading with its checks as HTML; in a long group those that pass are folded away."""
    quiet = "" if any(check.verdict in (Verdict.LOOK, Verdict.FAIL) for check in checks) else " data-quiet"
    passing = [check for check in checks if check.verdict == Verdict.PASS]
    rest = [check for check in checks if check.verdict != Verdict.PASS]
    parts = [f'<div class="group"{quiet}><h3>{escape(title)}</h3>']
    if len(checks) > _LONG and len(passing) > 1:
        beside = any(check.yardstick is not None for check in checks)
        parts.append(_table(rest, beside) if rest else "")
        parts.append(f'<details class="passing"><summary>{len(passing)} checks pass</summary>')
        parts.append(f"{_table(passing, beside)}</details>")
    else:
        parts.append(_table(checks, any(check.yardstick is not None for check in checks)))
    return "".join([*parts, "</div>"])


def _table(checks: Sequence[Check], beside: bool) -> str:
    """A table that turns into cards on a narrow screen; `beside`: with the columns of the real scans."""
    columns = [(kind, text) for kind, text in _COLUMNS.items() if beside or kind not in _BESIDE]
    head = "".join(f'<th scope="col" role="columnheader">{text}</th>' for _, text in columns)
    widths = "".join(f'<col class="w-{kind}">' for kind, _ in columns)
    return (
        f'<table class="checks{"" if beside else " short"}" role="table"><colgroup>{widths}</colgroup>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(_row(check, beside) for check in checks)}</tbody></table>'
    )


_COLUMNS = {
    "title": "Check",
    "value": "This set",
    "real": "Real scans",
    "strip": "Beside real",
    "verdict": "Verdict",
    "why": "Why",
}
_BESIDE = ("real", "strip")  # left out where nothing has a yardstick


def _row(check: Check, beside: bool) -> str:
    interval = _range(check.interval, check.unit, "95 %: ") if check.interval is not None else ""
    return (
        f'<tr role="row" id="{slug(check.id)}" data-verdict="{CLASSES[check.verdict]}">'
        f'<th scope="row" role="rowheader">{escape(check.title)}</th>'
        '<td role="cell" class="num" data-label="This set:">'
        f'<span class="value">{amount(check.value, check.unit)}</span>{interval}</td>'
        f"{_real(check) if beside else ''}"
        f'<td role="cell">{badge(check.verdict)}</td>'
        f'<td role="cell">{escape(check.reason)}{_sizes(check)}{_ids(check.cases)}</td></tr>'
    )


def _real(check: Check) -> str:
    """The cells with what real scans give, and the strip of both."""
    yardstick = check.yardstick
    if yardstick is None:
        return '<td role="cell" class="empty"></td><td role="cell" class="empty"></td>'
    spread = "" if yardstick.low == yardstick.high else _range((yardstick.low, yardstick.high), check.unit)
    picture = strip(check)
    return (
        f'<td role="cell" class="num" data-label="Real scans:" title="{escape(yardstick.what)}">'
        f"{_plain(yardstick.median, check.unit)}{spread}</td>"
        f'<td role="cell"{"" if picture else " class=empty"}>{picture}</td>'
    )


def _range(ends: tuple[float, float], unit: str, before: str = "") -> str:
    low, high = (_plain(x, unit) for x in ends)
    return f' <span class="soft range">{before}{low} to {high}</span>'


def amount(value: float | None, unit: str) -> str:
    """A number with its unit, as HTML; a share of something as a percentage."""
    text = _plain(value, unit)
    return f'{text} <span class="soft">{escape(unit)}</span>' if unit and text != _NOTHING else text


def _plain(value: float | None, unit: str) -> str:
    if unit.startswith("of ") and value is not None and np.isfinite(value):
        return f"{100 * value:.3g} %"
    return shown(value)


def _sizes(check: Check) -> str:
    if not check.n:
        return ""
    told = ", ".join(f"{count} {name}" for name, count in check.n.items())
    return f' <span class="soft range">n: {escape(told)}</span>'


def _ids(cases: Sequence[str]) -> str:
    if not cases:
        return ""
    first = escape(", ".join(cases[:_NAMED]))
    if len(cases) <= _NAMED:
        return f'<div class="ids">Look at {first}</div>'
    rest = escape(", ".join(cases[_NAMED:]))
    return f'<details class="ids"><summary>Look at {len(cases)} cases</summary>{first}, {rest}</details>'


def shown(value) -> str:
    """A number as the page tells it; a dash where there is none."""
    if value is None or np.isnan(value):
        return _NOTHING
    return ("∞" if value > 0 else "-∞") if np.isinf(value) else number(float(value))
