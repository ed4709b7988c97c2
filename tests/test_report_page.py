"""The page of a report: whole, harmless whatever the ids say, and readable in a real browser."""

import re
import time
from io import BytesIO

import numpy as np
import pytest
from chromium import browser, console_errors, needs_chromium, outside_requests, overflow
from phantoms import phantom_case, phantom_layout
from PIL import Image

from synth.case import Case
from synth.quality.prepared import Prepared
from synth.quality.records import Record, store
from synth.quality.slices import CUTS, PROBE, measure_slices
from synth.report.core import pictures
from synth.report.core.judge import Check, Comparison, Section, Table, Verdict, Yardstick, distance_check, not_judged
from synth.report.core.judge import Figure as Picture
from synth.report.core.sets import Sets
from synth.report.core.strip import strip
from synth.report.page import render
from synth.show.contact_sheet import COLOURS

EVIL = "<script>document.title='owned'</script>\"'><img src=x onerror=\"document.title='owned'\">"


def ready(seed=0, *, tumour=True, case_id="Phantom_001") -> Prepared:
    """A phantom whose layout needs not be found."""
    layout = phantom_layout(seed=seed, tumour=tumour, case_id=case_id)
    return Prepared(phantom_case(seed=seed, tumour=tumour, case_id=case_id), layout, layout.bounding_box())


def turned(prepared: Prepared) -> Prepared:
    """The same brain stored with its axes permuted and one flipped, the affine saying so."""
    case = prepared.case
    to_old = np.zeros((4, 4))
    to_old[[0, 1, 2, 3], [1, 2, 0, 3]] = 1
    to_old[1, 2], to_old[1, 3] = -1, case.labels.shape[1] - 1
    images, labels = (np.moveaxis(array, (2, 0, 1), (0, 1, 2))[:, :, ::-1] for array in (case.images, case.labels))
    box = tuple(slice(n.min(), n.max() + 1) for n in np.nonzero(images.any(-1)))
    return Prepared(Case(case.id, images, labels, case.affine @ to_old), None, box)


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Sets:
    """Three synthetic and two real records with slices, one of them with a hostile id."""
    folder, sides = tmp_path_factory.mktemp("slices"), []
    for side, names in enumerate((("Synth_000000", EVIL, "Synth_000002"), ("Real_0", "Real_1"))):
        records = []
        for k, name in enumerate(names):
            place = folder / f"{side}{k}"
            store(place, PROBE, measure_slices(ready(10 * side + k, tumour=(side, k) != (0, 2))))
            records.append(Record(name, place, {PROBE.name: PROBE.version}))
        sides.append(records)
    return Sets(*sides)


@pytest.fixture(scope="module")
def sections(sets) -> list[Section]:
    def distance(name, value):
        found = Comparison(value, Yardstick(0.2, 0.1, 0.4), 8)
        return distance_check(f"fidelity.intensity.{name}", "Intensity", f"{name}: intensities", "sd", found, 0.1)

    checks = [distance("t1", 0.3), distance("t2", 0.6), distance("flair", 9.0)]
    checks.append(not_judged("fidelity.frd", "Features", "radiomic distance", "its package is not installed."))
    ruled = [
        Check("validity.files", "Cases", "files can be read", 1.0, "of cases", Verdict.PASS, "all 3 cases."),
        Check("validity.labels", "Cases", EVIL, 0.5, "of cases", Verdict.FAIL, EVIL, cases=(EVIL,) * 9),
    ]
    table = Table("closest", EVIL, ("sample", "real", "distance"), tuple((EVIL, f"R{k}", k / 7) for k in range(60)))
    chart = Picture("chart", "Spectra", "A chart.", lambda: _png(240, 120))
    scores = {record.id: k / 3 for k, record in enumerate(sets.synthetic)}
    return [
        Section("validity", "Validity", "Is every case a case?", tuple(ruled), notes=("1 case is left out.", EVIL)),
        Section(
            "fidelity", "Fidelity", "Do scans look real?", tuple(checks), (chart, *pictures.gallery(sets)), (table,)
        ),
        Section("usefulness", "Usefulness", "Does it help?", figures=pictures.extremes(sets, scores)),
    ]


@pytest.fixture(scope="module")
def page(sections, tmp_path_factory):
    """The page as a file, with a report around it as `run.Report.to_dict` makes it."""
    report = {
        "synth": "0.1.0",
        "sets": {
            "synthetic": {"path": EVIL, "cases": 4, "usable": 3},
            "real": {"path": "brats", "cases": 2, "usable": 2},
            "training": None,
            "holdout": 0,
            "split": "Nothing says which cases the generator was trained on.",
        },
        "settings": {"seed": 7, "segmenter": "default", "sample": None},
        "segmenter": {"name": "default", "weights_sha256": "ab" * 32},
    }
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(report, sections), encoding="utf-8")
    return path


def _png(width, height) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (width, height), "white").save(stream, format="PNG")
    return stream.getvalue()


def test_slices_are_small_and_cut_through_the_tumour():
    prepared = ready()
    found = measure_slices(prepared)
    for plane in CUTS:
        assert found[plane].dtype == np.uint8
        assert found[plane].shape == (4, *found[f"{plane}_labels"].shape)
    for plane in ("axial", "coronal", "sagittal"):
        assert found[f"{plane}_labels"].any()
    x, y, z = found["at"][:3]
    assert prepared.case.labels[x, y, z] > 0  # the phantom's axes are upright already
    np.testing.assert_array_equal(found["axial"][0] > 0, prepared.brain[:, :, z - prepared.box[2].start].T)
    assert set(np.unique(found["axial"][1])) <= {0, *range(1, 256)}
    inside = prepared.case.images[..., 2][prepared.case.images[..., 2] > 0]
    np.testing.assert_allclose(found["windows"][2], np.percentile(inside, (0.5, 99.5)), rtol=0.02)


def test_slices_are_those_a_radiologist_sees_however_the_scan_is_stored():
    upright, other = measure_slices(ready()), measure_slices(turned(ready()))
    for plane in CUTS:
        np.testing.assert_array_equal(upright[f"{plane}_labels"], other[f"{plane}_labels"])
        np.testing.assert_allclose(upright[plane].astype(int), other[plane], atol=6)  # windows differ a little
    np.testing.assert_array_equal(upright["at"], other["at"])
    rows, columns = np.nonzero(upright["axial_labels"])
    assert columns.mean() < upright["axial_labels"].shape[1] / 2  # the phantom's tumour is on the right, at the back
    assert rows.mean() > upright["axial_labels"].shape[0] / 2
    up = ready().case.images[..., 0].any((0, 1))
    assert upright["coronal"].shape[1] == up.sum()


def test_slices_without_a_tumour_go_through_the_middle():
    found = measure_slices(ready(tumour=False))
    assert not found["axial_labels"].any()
    np.testing.assert_array_equal(found["axial"], found["middle"])


def test_pictures_show_the_scan_and_its_labels(sets):
    record = sets.synthetic[0]
    frame = (60, 60)
    plain, outlined = (pictures.tile(record, "axial", "flair", frame, drawn) for drawn in (False, True))
    assert plain.shape == (120, 120, 3)
    assert (plain[..., 0] == plain[..., 1]).all()
    grey = record("slices", "axial")[3]
    assert {int(v) for v in np.unique(plain)} == {int(v) for v in np.unique(grey)} | {0}  # no value is made up
    coloured = {tuple(int(v) for v in colour) for colour in outlined[(outlined != plain).any(-1)]}
    assert coloured == {COLOURS[name] for name in ("NCR", "ED", "ET")}


def test_gallery_and_extremes_take_what_there_is(sets):
    (side_by_side,) = pictures.gallery(sets)
    assert Image.open(BytesIO(side_by_side.data)).height > 4 * 60  # two pairs
    assert pictures.gallery(sets)[0].data == side_by_side.data
    assert "drawn by chance (seed 0) from 2 real and 3 synthetic" in side_by_side.caption
    assert pictures.gallery(Sets((), sets.real)) == ()
    assert pictures.gallery(Sets([Record("x", sets.real[0].folder, {})], sets.real)) == ()
    (ends,) = pictures.extremes(sets, {record.id: k for k, record in enumerate(sets.synthetic[:2])})
    assert "of 2 synthetic cases" in ends.caption
    assert pictures.extremes(sets, {record.id: np.nan for record in sets.synthetic}) == ()


def test_strip_places_value_and_yardstick():
    def check(value, interval=None):
        return Check("a", "b", "c", value, "", Verdict.PASS, "", Yardstick(1.0, 0.5, 2.0), interval)

    def dot(value):
        return float(re.search(r'class="dot" cx="([\d.]+)"', strip(check(value))).group(1))

    band = re.search(r'class="band" x="([\d.]+)" width="([\d.]+)"', strip(check(1.0)))
    assert float(band[1]) < dot(1.0) < float(band[1]) + float(band[2])
    assert dot(0.1) < float(band[1])
    assert dot(0.1) < dot(0.9) < dot(1.9)
    assert 'class="beyond"' in strip(check(99.0))
    assert 'class="dot"' not in strip(check(99.0))
    assert 'class="span"' in strip(check(1.0, (0.8, 1.2)))
    assert "two random halves of the real cases: 0.5 to 2" in strip(check(1.0))
    assert strip(check(None)) == strip(check(float("nan"))) == ""


def test_page_is_whole_and_says_what_was_compared(page, sections):
    text = page.read_text()
    assert "3 synthetic cases compared with 2 real cases." in text
    assert "1 more cannot be used" in text
    assert "Nothing says which cases" in text
    assert "1 fail, 1 pass" in text  # of validity
    assert "50 % <span" in text  # a share as a percentage
    for section in sections:
        assert f'<section id="{section.id}"' in text
        assert f'href="#{section.id}"' in text
        for check in section.checks:
            assert f'id="{check.id}" data-verdict' in text
    assert "grand score" not in text
    assert 'href="report.json"' in text


def test_page_keeps_the_network_out_and_ids_harmless(page):
    text = page.read_text()
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    assert "document.title=" in text
    assert "<script>document" not in text
    assert "<img src=x" not in text
    assert not re.search(r'(src|href)="(?!data:|#|report\.json)', text)
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_a_long_group_folds_what_passes_and_loses_nothing():
    def check(k):
        verdict = Verdict.FAIL if k == 7 else Verdict.PASS
        return Check(f"fidelity.c{k}", "Group", f"check {k}", float(k), "", verdict, "why.")

    section = Section("fidelity", "Fidelity", "?", tuple(check(k) for k in range(12)))
    text = render({}, [section])
    before, _, folded = text.partition('<details class="passing"><summary>11 checks pass')
    assert 'id="fidelity.c7"' in before
    assert all(f'id="fidelity.c{k}"' in folded for k in range(12) if k != 7)
    assert '<details class="passing"' not in render({}, [Section("a", "A", "?", section.checks[:8])])


def test_page_of_nothing_renders():
    text = render({}, [])
    assert "Nothing was compared." in text
    assert "$" not in re.sub(r"\$\{", "", text.partition("<main")[2].partition("<script>")[0])


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_page_in_a_browser(page, width, dark):
    with browser(width, 900, dark=dark) as driver:
        driver.get(page.as_uri())
        assert overflow(driver) == 0
        assert "owned" not in driver.title.split()
        for link in driver.find_elements("css selector", ".bar a"):
            target = link.get_attribute("href").rpartition("#")[2]
            driver.execute_script("arguments[0].click()", link)
            assert _settled(driver, target), target
            assert driver.execute_script("return document.querySelectorAll('.bar [aria-current]').length") == 1
        _enlarge(driver)
        _filter(driver)
        sizes = "return [...document.images].every(image => image.complete && image.naturalWidth > 0)"
        assert driver.execute_script(sizes)
        assert overflow(driver) == 0
        assert console_errors(driver) == []
        assert outside_requests(driver) == []


def _settled(driver, target) -> bool:
    """Whether a section's head comes to stand in the window, below the navigation."""
    where = (
        "const part = document.getElementById(arguments[0]), bar = document.querySelector('.bar');"
        "const top = part.getBoundingClientRect().top;"
        "const end = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;"
        "return top < innerHeight && (arguments[0] === 'top' || end || top >= bar.offsetHeight - 2 && top < 160);"
    )
    for _ in range(40):
        if driver.execute_script(where, target):
            return True
        time.sleep(0.1)
    return False


def _enlarge(driver) -> None:
    """A figure opens in full size and closes with Escape."""
    from selenium.webdriver.common.keys import Keys

    button = driver.find_element("css selector", "figure.picture button")
    driver.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    assert driver.execute_script("return document.getElementById('large').open")
    assert driver.find_element("css selector", "#large-title").text == "Real and synthetic cases side by side"
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not driver.execute_script("return document.getElementById('large').open")


def _filter(driver) -> None:
    """Only what is to be looked at stays; a link to a hidden check shows it again."""
    shown = "return [...document.querySelectorAll('.checks tbody tr')].filter(r => r.offsetParent).map(r => r.id)"
    everything = driver.execute_script(shown)
    assert len(everything) == 6
    driver.execute_script("document.getElementById('only').click()")
    assert driver.execute_script(shown) == ["validity.labels", "fidelity.intensity.t2", "fidelity.intensity.flair"]
    driver.execute_script("location.hash = '#fidelity.intensity.t1'")
    for _ in range(100):
        if driver.execute_script(shown) == everything:
            return
        time.sleep(0.1)
    raise AssertionError("the link did not show the check")
