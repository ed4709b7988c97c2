import json
from pathlib import Path

import numpy as np
import pytest
from phantoms import head_layout
from scipy.stats import ks_2samp

from synth.datasets.members import LayoutMember
from synth.errors import DataError, OutputError
from synth.hosts.inputs import Input
from synth.layout.facts import describe
from synth.layout.layout import Layout
from synth.quality.layout_stats import UNITS, _kolmogorov, distances, layout_statistics, table_lines, write_json

OF_DETAIL = {"mixed", "vessels", "void", "tones"}  # which these layouts have not


def given(layouts, complete=True):
    members = [LayoutMember(Path(layout.id)) for layout in layouts]
    return [
        Input(member, lambda layout=layout: layout, complete=complete)
        for member, layout in zip(members, layouts, strict=True)
    ]


HEADS = [head_layout(seed=k, case_id=f"h{k}") for k in range(8)]


def test_rows_say_what_the_layouts_say():
    found = layout_statistics(given(HEADS[:3]))
    for head, row in zip(HEADS, found.rows, strict=False):
        facts, volumes = describe(head), head.volumes_ml()
        assert row["id"] == head.id
        assert row["WT"] == pytest.approx(volumes["WT"], rel=1e-3)
        assert row["ET share"] == pytest.approx(volumes["ET"] / volumes["WT"], abs=1e-3)
        assert (row["sphericity"], row["side"], row["lobe"]) == (facts.sphericity, facts.side, facts.lobe)
        assert 0 < row["CSF"] + row["GM"] + row["WM"] < 1
    values = [row["WT"] for row in found.rows]
    summary = found.measures["WT"]
    assert (summary.n, summary.mean) == (3, pytest.approx(np.mean(values), rel=1e-3))
    assert summary.p5 < summary.median < summary.p95
    assert found.kinds["enhancing"] == {"yes": 3, "no": 0}
    assert set(found.measures) == set(UNITS) - OF_DETAIL


def test_right_and_front_and_up_are_positive():
    head = HEADS[0]
    mirrored = Layout(head.tissue[::-1].copy(), head.tumour[::-1].copy(), head.affine, "m")
    a, b = layout_statistics(given([head, mirrored])).rows
    assert {a["side"], b["side"]} == {"left", "right"}
    for row in (a, b):
        assert (row["x"] > 0) == (row["side"] == "right")


def test_healthy_layouts_count_as_such_and_stand_ins_have_no_tissue():
    healthy = head_layout(tumour=False, case_id="healthy")
    found = layout_statistics(given([HEADS[0], healthy]))
    assert found.healthy == 1
    assert found.rows[1]["WT"] is found.rows[1]["side"] is None
    assert found.measures["WT"].n == 1
    assert found.measures["brain"].n == 2
    assert "WT " in "\n".join(table_lines(found))
    alone = layout_statistics(given([HEADS[0]], complete=False))
    assert "brain" not in alone.measures
    assert layout_statistics(given([healthy])).measures.keys() == {"brain", "CSF", "GM", "WM"}


def test_distances_are_kolmogorovs_and_have_a_yardstick():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30), rng.normal(0.5, 1, 40).round(1)
    assert _kolmogorov(a, b) == pytest.approx(ks_2samp(a, b).statistic)
    real = layout_statistics(given(HEADS))
    same = distances(real, real)
    assert same == distances(real, real)  # the halves are seeded
    assert same["WT"].to_real < same["WT"].real_halves
    larger = [Layout(h.tissue, h.tumour, h.affine * [2, 2, 2, 1], h.id) for h in HEADS]
    assert distances(layout_statistics(given(larger)), real)["WT"].to_real == 1
    lines = table_lines(real, same)
    assert "ratio" in lines[1]
    assert len(lines) == 2 + len(set(UNITS) - OF_DETAIL) + 2 * 4


def test_json_holds_everything(tmp_path):
    found = layout_statistics(given(HEADS[:4]))
    write_json(tmp_path / "s.json", found, distances(found, found))
    record = json.loads((tmp_path / "s.json").read_text())
    assert record["layouts"] == 4
    assert record["measures"]["WT"]["unit"] == "ml"
    assert record["rows"][1]["id"] == "h1"
    assert set(record["against"]["lobe"]) == {"to_real", "real_halves"}
    with pytest.raises(OutputError):
        write_json(tmp_path / "gone" / "t.json", found)


def test_nothing_and_too_little_are_refused():
    with pytest.raises(DataError, match="at least one layout"):
        layout_statistics([])
    few = layout_statistics(given(HEADS[:3]))
    with pytest.raises(DataError, match="at least 4 real tumours"):
        distances(few, few)
