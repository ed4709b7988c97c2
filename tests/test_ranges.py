"""What is said of the range of a modality: of none of the real cases anything."""

import re

import numpy as np
import pytest
from phantoms import phantom_case

from synth.brats import MODALITIES
from synth.datasets.ranges import range_note
from synth.datasets.sets import open_set


@pytest.fixture(scope="module")
def scan():
    return phantom_case().images[..., 2]


def on_scale(scan, highest, rounded=False, kind=np.float32):
    values = scan * (highest / scan.max())
    return (np.maximum(np.rint(values), scan > 0) if rounded else values).astype(kind)


@pytest.mark.parametrize(
    ("highest", "rounded", "kind", "found"),
    [
        (1, False, np.float32, "fractions on a narrow scale"),
        (1e-6, False, np.float64, "fractions on a narrow scale"),
        (100, False, np.float32, "fractions on a narrow scale"),
        (5, True, np.int16, r"eight bits or fewer, \d grey levels"),
        (20, True, np.float32, r"eight bits or fewer, \d\d grey levels"),
        (100, True, np.uint8, r"eight bits or fewer, \d\d grey levels"),
        (255, True, np.uint8, r"eight bits or fewer, \d+ grey levels"),
        (60_000, True, np.uint16, "intensities beyond int16"),
        (60_000, False, np.float32, "intensities beyond int16"),
    ],
)
def test_an_unusual_range_is_named_with_what_is_written_instead(scan, highest, rounded, kind, found):
    note = range_note(on_scale(scan, highest, rounded, kind))
    assert re.match(f"expected a scanner's whole numbers, found {found} \\(", note)
    assert re.search(r"is written on a scale of about \d+ to \d{4,5}\.$", note)


def test_few_levels_on_a_wide_scale_are_named_and_the_scale_kept(scan):
    note = range_note(on_scale(scan, 20, True, np.int16) * 100)
    assert "found only 1" in note
    assert note.endswith("written on its own scale.")


@pytest.mark.parametrize(
    ("highest", "kind"), [(1500, np.int16), (420, np.int16), (32767, np.int16), (3000, np.float32)]
)
def test_a_scanners_range_gets_no_note(scan, highest, kind):
    assert range_note(on_scale(scan, highest, kind != np.float32, kind)) is None
    assert range_note(np.zeros(scan.shape, kind)) is None


def test_the_brain_may_be_given(scan):
    head = np.where(scan > 0, scan, np.int32(60_000))
    assert range_note(head, scan > 0) is None
    assert "beyond int16" in range_note(head)


def test_no_real_case_gets_a_note_and_each_does_as_fractions(real_data):
    for split in ("train", "val"):
        for member in list(open_set(real_data / "brats" / split, scans=True).members)[::6]:
            images = member.read("ignore").images
            for m in range(len(MODALITIES)):
                assert range_note(images[..., m]) is None, (member.id, MODALITIES[m])
                assert range_note(images[..., m] / np.float32(images[..., m].max())), (member.id, MODALITIES[m])
