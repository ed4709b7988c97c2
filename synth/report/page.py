"""The page of a report: one HTML file that opens offline, with everything in it.

Text is escaped wherever it comes from: ids, file names and reasons are other people's. The page carries its own content
security policy, which forbids it the network.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from io import BytesIO
from string import Template

import numpy as np
from PIL import Image

from synth.report.core.check_table import CLASSES, MARKS, badge, group, groups, shown, slug
from synth.report.core.judge import FAIL_AT, ORDER, SPLITS, Figure, Section, Table, Verdict, Yardstick, told
from synth.report.core.strip import draw
from synth.show.viewer import policy

NUMBERS = "report.json"
_KINDS = {"png": "image/png", "svg": "image/svg+xml", "jpeg": "image/jpeg", "webp": "image/webp"}
_PICTURE, _WIDE = "picture", 1.7  # class of pictures of scans; width over height of a wide chart
_FIRST = 8  # failing checks listed at the top
_CLOSED = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def render(report: Mapping, sections: Sequence[Section], viewer: str = "") -> str:
    """The whole page.

    Args:
        report: from `run.Report.to_dict`; of it the sets, settings, segmenter and version are told. What is missing is
            left out.
        sections: in the order they are shown.
        viewer: from `viewer.viewer_fragment`, HTML that is trusted; empty for none.

    Returns:
        HTML. With a viewer, the policy is the one that the viewer can run under; without one, only the page's own
        script may run.
    """
    script = _asset("report.js")
    sets = report.get("sets") or {}
    version = str(report.get("synth", ""))
    values = {
        "policy": _policy(script, viewer),
        "generator": escape(f"synth {version}".strip()),
        "title": escape(_title(sets)),
        "style": _asset("style.css"),
        "script": script,
        "navigation": "\n".join(_link(section) for section in sections) + (_VIEWER_LINK if viewer else ""),
        "lead": escape(_lead(sets)),
        "facts": _facts(report, sets) + _run(report),
        "headline": escape(_headline(sections)),
        "cards": "\n".join(_card(section) for section in sections),
        "first": _first(sections),
        "sections": "\n".join(_section(section) for section in sections),
        "viewer": _viewer(viewer),
        "legend": draw(2.1, Yardstick(1.0, 0.6, 1.5), (1.8, 2.4), "a value outside the range of real scans"),
        "fail_at": f"{FAIL_AT:g}",
        "splits": str(SPLITS),
        "machine": f'<p>All numbers, for machines: <a href="{NUMBERS}">{NUMBERS}</a>, beside this page.</p>',
        "footer": escape(f"Made by synth {version}. {_KEEP if _has_scans(sections, viewer) else _NO_SCANS}"),
        **{f"badge_{CLASSES[verdict]}": badge(verdict) for verdict in Verdict},
    }
    return Template(_asset("template.html")).substitute(values)


def _has_scans(sections: Sequence[Section], viewer: str) -> bool:
    return bool(viewer) or any(figure.scans for section in sections for figure in section.figures)


_KEEP = "This page shows slices of scans: keep it where these may be kept."
_NO_SCANS = "This page shows no scan; it names cases by their ids."


def _asset(name: str) -> str:
    return (files("synth.report") / "assets" / name).read_text(encoding="utf-8")


def _policy(script: str, viewer: str) -> str:
    """What the page may do: run its own script, show its own pictures; never the network."""
    if viewer:
        return escape(policy(f"\n{script}\n"))
    digest = b64encode(sha256(f"\n{script}\n".encode()).digest()).decode()
    return escape(f"{_CLOSED}; script-src 'sha256-{digest}'")


def _title(sets: Mapping) -> str:
    name = str((sets.get("synthetic") or {}).get("path", "")).rstrip("/").rpartition("/")[2]
    return f"{name} beside real scans" if name else "Synthetic scans beside real ones"


def _lead(sets: Mapping) -> str:
    counts = [_count(sets, side) for side in ("synthetic", "real")]
    if None in counts:
        return ""
    said = f"{counts[0]} synthetic {_cases(counts[0])} compared with {counts[1]} real {_cases(counts[1])}."
    if paired := sets.get("paired"):
        said += f" {paired} of them are reconstructions of a real case, and compared with it as well."
    return said


def _count(sets: Mapping, side: str) -> int | None:
    facts = sets.get(side)
    return facts.get("usable") if isinstance(facts, Mapping) else None


def _cases(count: int) -> str:
    return "case" if count == 1 else "cases"


def _facts(report: Mapping, sets: Mapping) -> str:
    rows = [_set_fact(side, sets.get(side)) for side in ("synthetic", "real") if sets.get(side)]
    if "holdout" in sets:
        training = sets.get("training")
        known = "unknown" if training is None else str(training)
        rows.append(("Known to the generator", known, "real cases it was trained on"))
        rows.append(("Held out", str(sets["holdout"] or "none"), str(sets.get("split", ""))))
    seed = (report.get("settings") or {}).get("seed")
    if seed is not None:
        rows.append(("Seed", str(seed), "of every random choice: the same seed gives the same numbers"))
    tiles = "".join(
        f'<div><dt>{escape(name)}</dt><dd><span class="big">{escape(big)}</span><small>{escape(small)}</small></dd>'
        "</div>"
        for name, big, small in rows
    )
    return f'<dl class="facts">{tiles}</dl>' if tiles else ""


def _set_fact(side: str, facts: Mapping) -> tuple[str, str, str]:
    lost = facts.get("cases", 0) - facts.get("usable", 0)
    said = str(facts.get("path", "")) + (f"; {lost} more cannot be used" if lost else "")
    return side.capitalize(), f"{facts.get('usable', 0)} {_cases(facts.get('usable', 0))}", said


def _run(report: Mapping) -> str:
    """Versions and settings, folded away."""
    rows = [("synth", report.get("synth"))]
    segmenter = report.get("segmenter") or {}
    if segmenter.get("name"):
        weights = str(segmenter.get("weights_sha256") or "")[:16]
        rows.append(("segmenter", f"{segmenter['name']}, weights {weights}…" if weights else segmenter["name"]))
    rows += [(f"--{name}", value) for name, value in (report.get("settings") or {}).items() if name != "segmenter"]
    lines = [
        f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in rows if value not in (None, "")
    ]
    return f'<details class="run"><summary>Versions and settings</summary><dl>{"".join(lines)}</dl></details>'


def _headline(sections: Sequence[Section]) -> str:
    count = Counter(section.verdict for section in sections)
    return f"Of {len(sections)} sections: {told(count)}." if sections else "Nothing was compared."


def _link(section: Section) -> str:
    kind = CLASSES[section.verdict]
    mark = f'<span class="mark {kind}" aria-hidden="true">{MARKS[section.verdict]}</span>'
    return f'<li><a href="#{slug(section.id)}">{mark}{escape(section.title)}</a></li>'


def _card(section: Section) -> str:
    count = section.counts
    bars = "".join(
        f'<span class="edge-{CLASSES[v]}" style="flex:{count[v]}"></span>' for v in reversed(ORDER) if count[v]
    )
    return (
        f'<li class="edge-{CLASSES[section.verdict]}"><a href="#{slug(section.id)}">'
        f'<span class="name">{escape(section.title)}</span>{badge(section.verdict)}'
        f'<span class="counts">{told(count) or "no checks"}</span>'
        f'<span class="bars" aria-hidden="true">{bars}</span></a></li>'
    )


def _first(sections: Sequence[Section]) -> str:
    """The failing checks, with links."""
    bad = [(section, check) for section in sections for check in section.checks if check.verdict == Verdict.FAIL]
    if not bad:
        return ""
    lines = [
        f'<li>{badge(check.verdict)}<span><a href="#{slug(check.id)}">{escape(check.title)}</a> '
        f'<span class="where">{escape(section.title)}: {escape(check.reason)}</span></span></li>'
        for section, check in bad
    ]
    rest = ""
    if len(lines) > _FIRST:
        rest = (
            f"<details><summary>{len(lines) - _FIRST} more</summary>"
            f'<ul class="first">{"".join(lines[_FIRST:])}</ul></details>'
        )
    return f'<h3>What fails</h3><ul class="first">{"".join(lines[:_FIRST])}</ul>{rest}'


def _section(section: Section) -> str:
    name = slug(section.id)
    notes = "".join(f"<li{_small(note)}>{escape(note)}</li>" for note in section.notes)
    parts = [
        f'<section id="{name}" aria-labelledby="{name}-title">',
        f'<div class="head"><h2 id="{name}-title">{escape(section.title)}</h2>{badge(section.verdict)}</div>',
        f'<p class="question">{escape(section.question)}</p>',
        f'<ul class="notes">{notes}</ul>' if notes else "",
        *(group(title, checks) for title, checks in groups(section.checks)),
        '<p class="quiet">Checks that pass or could not be judged, figures and tables are hidden.</p>',
        f'<div class="wide">{_figures(section.figures)}',
        *(_table(table) for table in section.tables),
        "</div></section>",
    ]
    return "\n".join(part for part in parts if part)


def _small(note: str) -> str:
    return ' class="small"' if note.startswith("Small samples") else ""


def _figures(figures: Sequence[Figure]) -> str:
    """Pictures of scans first, then charts."""
    drawn = sorted(((*_place(figure), figure) for figure in figures), key=lambda placed: _PICTURE not in placed[0])
    return f'<div class="figures">{"".join(_figure(*placed) for placed in drawn)}</div>' if drawn else ""


def _figure(style: str, size: str, figure: Figure) -> str:
    kind = _KINDS.get(figure.kind, f"image/{slug(figure.kind)}")
    data = f"data:{kind};base64,{b64encode(figure.data).decode()}"
    title = escape(figure.title)
    return (
        f'<figure id="figure-{slug(figure.id)}" class="{style}"><button type="button" aria-label="Enlarge: {title}">'
        f'<img alt="{title}"{size} decoding="async" src="{data}"></button>'
        f"<figcaption><b>{title}.</b> {escape(figure.caption)}</figcaption></figure>"
    )


def _place(figure: Figure) -> tuple[str, str]:
    """How a figure is placed, as a class and its size: scans on black, and charts too wide for half a page, go across.

    The size keeps its place while it is decoded, so that a link does not land elsewhere.
    """
    if figure.kind == "svg":
        return "across", ""
    with Image.open(BytesIO(figure.data)) as image:
        width, height = image.size
    style = f"across {_PICTURE}" if figure.scans else "across" if width > _WIDE * height else ""
    return style, f' width="{width}" height="{height}"'


def _table(table: Table) -> str:
    numeric = [
        bool(table.rows) and all(isinstance(row[k], int | float) for row in table.rows)
        for k in range(len(table.columns))
    ]
    head = "".join(
        f'<th scope="col"{_right(n)}>{escape(str(text))}</th>' for text, n in zip(table.columns, numeric, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(f'<td{_right(n)}>{_cell(value)}</td>' for value, n in zip(row, numeric, strict=True))}</tr>"
        for row in table.rows
    )
    name = f"table-{slug(table.id)}"
    caption = f'<p class="soft">{escape(table.caption)}</p>' if table.caption else ""
    return (
        f'<h3 id="{name}">{escape(table.title)}</h3>{caption}<div class="scroll" tabindex="0" role="region" '
        f'aria-labelledby="{name}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _right(numeric: bool) -> str:
    return ' class="n"' if numeric else ""


def _cell(value) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value)
    return shown(value) if value is None or isinstance(value, float | np.floating) else escape(str(value))


_VIEWER_LINK = '\n<li><a href="#viewer">Viewer</a></li>'


def _viewer(fragment: str) -> str:
    if not fragment:
        return ""
    return (
        '<section id="viewer" class="no-print" aria-labelledby="viewer-title"><h2 id="viewer-title">Viewer</h2>'
        f'<p class="question">A few cases in three planes, to look through.</p>{fragment}</section>'
    )
