import multiprocessing
import os

import numpy as np
from phantoms import phantom_case, write_case

from synth.datasets.sets import open_set
from synth.quality import anatomy
from synth.report.core.measuring import measure_here, measure_set
from synth.report.core.processes import as_many_as_pay, measuring_in


def test_processes_start_where_they_pay():
    assert as_many_as_pay(7, 8) == 1
    assert as_many_as_pay(8, 8) == 2
    assert as_many_as_pay(1000, 8) == 8
    assert as_many_as_pay(1000, 1) == 1
    assert 1 <= as_many_as_pay(10**6) <= (os.cpu_count() or 1)


def test_a_set_is_measured_in_another_process_as_here(tmp_path):
    for seed in range(2):
        write_case(tmp_path / "set", phantom_case((40, 48, 36), seed=seed, case_id=f"Head_{seed:03d}"))
    cases = open_set(tmp_path / "set", scans=True, strict=False)
    seen = []

    def elsewhere(jobs):
        for facts in measuring(jobs):
            seen.extend(child.pid for child in multiprocessing.active_children())
            yield facts

    here = measure_set(cases, [anatomy.PROBE], tmp_path / "here", measuring=measure_here)
    with measuring_in(1) as measuring:
        there = measure_set(cases, [anatomy.PROBE], tmp_path / "there", measuring=elsewhere)
        measure_set(cases, [anatomy.PROBE], tmp_path / "again", measuring=elsewhere)
    assert len(set(seen)) == 1  # one process for both sets
    assert here.facts == there.facts
    assert here.files == there.files
    assert [facts["id"] for facts in there.facts] == ["Head_000", "Head_001"]
    assert set(seen) - {os.getpid()}
    assert not multiprocessing.active_children()
    for one, other in zip(here.records, there.records, strict=True):
        assert np.array_equal(one("anatomy", "volume_ml"), other("anatomy", "volume_ml"))
