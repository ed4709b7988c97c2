"""The viewer draws what it is given, the right way round, from the local file alone; `synth view` finds cases."""

import io
import json
import os
import re
import webbrowser

import nibabel as nib
import numpy as np
import pytest
from chromium import browser, console_errors, needs_chromium, outside_requests, overflow
from commands import invoke
from phantoms import embed, phantom_case, phantom_layout, write_case
from PIL import Image

from synth.brats import MODALITIES
from synth.case import Case
from synth.datasets.layout_files import save_layout
from synth.errors import OutputError, SynthError
from synth.exporters import open_exporter
from synth.report.page import render
from synth.show import viewer
from synth.show.view import view
from synth.show.viewer import ViewerCase, compact, compact_layout, policy, viewer_fragment, viewer_html

EVIL = '</script><script>document.title="owned"</script><b>&amp;'
WAIT = 60
SOME, NONE = 0.002, 0.0002  # of the pixels: where letters and cross meet, their edges mix to green


@pytest.fixture(scope="module")
def shown() -> list[ViewerCase]:
    """A phantom with a tumour on the right behind, one without labels, and a layout."""
    bare = phantom_case(seed=1, labels=False)
    return [
        ViewerCase("0", EVIL, compact(phantom_case())),
        ViewerCase("1", "no labels", compact(bare)),
        ViewerCase("2", "layout", compact_layout(phantom_layout())),
    ]


@pytest.fixture(scope="module")
def page(shown, tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "a page.html"
    path.write_text(viewer_html(shown, EVIL), encoding="utf-8")
    return path


def wait_for(driver, what: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, WAIT, 0.05).until(lambda one: one.execute_script(f"return {what}"))


def wait_ready(driver, state="ready") -> None:
    wait_for(driver, f"document.getElementById('synth-viewer').dataset.state === '{state}'")


def choose(driver, name: str, value: str) -> None:
    setting = "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
    driver.execute_script(f"{setting} e.dispatchEvent(new Event('change'))", name, value)


def status(driver) -> str:
    return driver.find_element("id", "sv-status").text


def picture(driver) -> np.ndarray:
    """(height, width, 3) int: what the canvas shows."""
    canvas = driver.find_element("id", "sv-canvas")
    driver.execute_script("arguments[0].scrollIntoView({ behavior: 'instant', block: 'end' })", canvas)
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    png = canvas.screenshot_as_png
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def green(pixels: np.ndarray) -> np.ndarray:
    """Where oedema is drawn; the cross is cyan, letters are yellow."""
    return (pixels[..., 1] > pixels[..., 0] + 25) & (pixels[..., 1] > pixels[..., 2] + 25)


def grey(pixels: np.ndarray) -> np.ndarray:
    return (pixels.min(-1) > 30) & (np.ptp(pixels, axis=-1) < 6)


@needs_chromium
def test_page_draws_on_a_telephone(page):
    with browser(400, 800, dark=True) as driver:
        driver.get(page.as_uri())
        wait_ready(driver)
        seen = picture(driver)
        assert grey(seen).mean() > 0.05
        assert green(seen).mean() > SOME
        assert overflow(driver) == 0
        assert driver.title == EVIL
        assert "t1ce" in status(driver)
        assert re.search(r"Cross at x -\d+, y \d+, z \d+ mm: (NCR|ET)", driver.find_element("id", "sv-place").text)
        assert console_errors(driver) == []
        assert outside_requests(driver) == []


@needs_chromium
def test_controls(page):
    with browser(1280, 600) as driver:
        driver.get(page.as_uri())
        wait_ready(driver)
        assert overflow(driver) == 0
        choose(driver, "sv-view", "axial")
        seen = picture(driver)
        y, x = np.nonzero(green(seen))
        middle = np.argwhere(grey(seen)).mean(0)
        assert x.mean() < middle[1] - 10, "the tumour is on the patient's right: on the left of the picture"
        assert y.mean() > middle[0] + 10, "and behind: below"
        canvas = driver.find_element("id", "sv-canvas")
        canvas.send_keys("l")
        assert green(picture(driver)).mean() < NONE
        canvas.send_keys("l")
        assert green(picture(driver)).mean() > SOME
        bright = seen[grey(seen)].mean()
        canvas.send_keys("4")
        wait_for(driver, "document.getElementById('sv-status').textContent.endsWith('flair')")
        assert abs(picture(driver)[grey(seen)].mean() - bright) > 2
        before = driver.find_element("id", "sv-place").text
        canvas.send_keys("\ue012")  # the left arrow: to the patient's right, where x in mm grows
        after = driver.find_element("id", "sv-place").text
        x_before, x_after = (int(re.search(r"x (-?\d+)", text)[1]) for text in (before, after))
        assert x_after == x_before + 1
        for view in ("coronal", "sagittal", "render", "multi"):
            choose(driver, "sv-view", view)
            assert grey(picture(driver)).any(), view
        choose(driver, "sv-case", "1")
        wait_for(driver, "document.getElementById('sv-status').textContent.startsWith('no labels')")
        assert green(picture(driver)).mean() < NONE
        choose(driver, "sv-case", "2")
        wait_for(driver, "document.getElementById('sv-status').textContent === 'layout, tissue'")
        assert green(picture(driver)).mean() > SOME
        assert console_errors(driver) == []
        assert outside_requests(driver) == []


@needs_chromium
def test_in_a_report_nothing_is_decoded_before_it_is_opened(shown, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render({}, [], viewer_fragment(shown[:1])), encoding="utf-8")
    with browser(1280, 600) as driver:
        driver.get(path.as_uri())
        assert driver.execute_script("return typeof niivue") == "undefined"
        assert not driver.find_element("id", "sv-canvas").is_displayed()
        driver.find_element("css selector", "#synth-viewer summary").click()
        wait_ready(driver)
        assert green(picture(driver)).mean() > SOME
        assert console_errors(driver) == []
        driver.execute_script("fetch('https://example.com/').catch(() => {})")
        driver.execute_async_script("setTimeout(arguments[0], 100)")
        assert outside_requests(driver) == []  # the policy, not the cut network, stops it
        assert any("Content Security Policy" in line for line in console_errors(driver))


@needs_chromium
def test_without_webgl_a_sentence_stands_in_its_place(page):
    with browser(400, 700, gl=False) as driver:
        driver.get(page.as_uri())
        wait_ready(driver, "failed")
        assert status(driver).startswith("The viewer cannot be shown: this browser has no WebGL 2")
        assert not driver.find_element("id", "sv-canvas").is_displayed()
        assert overflow(driver) == 0
        assert console_errors(driver) == []


def test_a_page_is_one_file_with_its_data(shown):
    page = viewer_html(shown, EVIL)
    assert EVIL not in page
    assert not re.search(r"<(?:script|img|link)[^>]+(?:src|href)=\"(?!data:,)", page)
    assert "Copyright (c) 2021, Niivue" in page
    index = json.loads(re.search(r'id="synth-viewer-index">(.*?)</script>', page)[1])
    assert [one["title"] for one in index["cases"]] == [EVIL, "no labels", "layout"]
    assert [one["labels"] for one in index["cases"]] == [True, False, True]
    assert "unsafe" not in policy().replace("style-src 'unsafe-inline'", "")


def test_refusals(shown, monkeypatch):
    with pytest.raises(SynthError, match="at least one"):
        viewer_fragment([])
    monkeypatch.setattr(viewer, "_CODE", "_assets/js/gone.js")
    with pytest.raises(SynthError, match=r"gone\.js: expected NiiVue.* nilearn 0\.14"):
        viewer_html(shown)


def opened(packed: bytes) -> nib.Nifti1Image:
    from gzip import decompress

    return nib.Nifti1Image.from_bytes(decompress(packed))


def centre(image: nib.Nifti1Image, mask: np.ndarray) -> np.ndarray:
    return nib.affines.apply_affine(image.affine, np.argwhere(mask)).mean(0)


@pytest.mark.parametrize(("spacing", "apart"), [(1, 1e-6), (1.5, 0.2), (2, 0.2), (3, 0.4)])
def test_compact_keeps_things_where_they_are(spacing, apart):
    case = embed(phantom_case((60, 72, 54)), (100, 110, 90), (20, 25, 12))
    images = np.where(case.labels[..., None] > 0, 1000, np.where(case.images > 0, 100, 0)).astype(np.int16)
    small = compact(Case(case.id, images, case.labels, case.affine), spacing)
    assert list(small) == [*MODALITIES, "labels"]
    whole = nib.Nifti1Image(case.labels, case.affine)
    for name in ("labels", "flair"):
        image = opened(small[name])
        assert image.get_data_dtype() == np.uint8
        assert np.allclose(nib.affines.voxel_sizes(image.affine), spacing)
        mask = np.asarray(image.dataobj) > (0 if name == "labels" else 128)
        assert np.abs(centre(image, mask) - centre(whole, case.labels > 0)).max() < apart, name
    assert image.shape[0] < 64 / spacing  # cut to the brain


def test_compact_shows_the_brain_in_255_greys():
    grey = np.asarray(opened(compact(phantom_case())["t1"]).dataobj)
    inside = grey[grey > 0]
    assert inside.min() == 1
    assert inside.max() == 255
    assert np.corrcoef(inside, phantom_case().images[..., 0][phantom_case().brain])[0, 1] > 0.99


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Cases as folders (one without labels), as HDF5, and layouts."""
    root = tmp_path_factory.mktemp("places")
    with open_exporter("hdf5", root / "packed") as exporter:
        for seed in range(3):
            case = embed(phantom_case(seed=seed, labels=seed < 2, case_id=f"Phantom_{seed:03d}"))
            write_case(root / "cases", case)
            if seed < 2:
                exporter.write(case)
    for seed in range(2):
        save_layout(phantom_layout(seed=seed, case_id=f"L{seed}"), root / "layouts")
    return root


def titles(path) -> list[str]:
    index = re.search(r'id="synth-viewer-index">(.*?)</script>', path.read_text(encoding="utf-8"))[1]
    return [one["title"] for one in json.loads(index)["cases"]]


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("cases", ["Phantom_000", "Phantom_001", "Phantom_002"]),
        ("cases/Phantom_001", ["Phantom_001"]),
        ("packed", ["Phantom_000", "Phantom_001"]),
        ("packed/synth.h5", ["Phantom_000", "Phantom_001"]),
        ("layouts", ["L0", "L1"]),
        ("layouts/L1", ["L1"]),
    ],
)
def test_command_finds(places, tmp_path, what, found):
    result = invoke(tmp_path, f"view {places / what} --quiet --out {tmp_path / 'v.html'}")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "v.html")
    assert titles(tmp_path / "v.html") == found


def test_command_takes_the_first_of_every_place(places, tmp_path):
    out = tmp_path / "v.html"
    result = invoke(tmp_path, f"view {places / 'cases'} {places / 'layouts'} -n 3 --out {out} --quiet")
    assert titles(out) == ["Phantom_000", "Phantom_001", "L0"]
    assert "shows 3 of 5 cases;" in result.stderr


def test_command_opens_the_page_and_does_not_overwrite(places, tmp_path, monkeypatch):
    seen, out = [], tmp_path / "v.html"
    monkeypatch.setattr(webbrowser, "open", lambda address: seen.append(address) or True)
    command = f"view {places / 'layouts/L0'} --out {out} --quiet"
    assert invoke(tmp_path, f"{command} --open").exit_code == 0
    assert seen == [out.as_uri()]
    again = invoke(tmp_path, command)
    assert again.exit_code == 1
    assert "found a page that `synth view` wrote; give --force to replace it, or choose another name." in again.output
    assert invoke(tmp_path, f"{command} --force").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("nowhere", "found nothing"),
        (".", "holds no layouts"),
        ("{places}/layouts --out {places}", "expected the name of a new file, found a folder"),
        ("{places}/layouts --out {places}/no/v.html", "folder does not exist"),
    ],
)
def test_command_refuses(places, tmp_path, arguments, sentence):
    result = invoke(tmp_path, f"view {arguments.format(places=places)}")
    assert result.exit_code == 1
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_real_case_is_small(real_data):
    from synth.datasets.cases import find_cases, read_case

    small = compact(read_case(find_cases(real_data / "brats/val")[0]), spacing=1.5)
    assert sum(map(len, small.values())) * 4 / 3 < 3.5e6


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("scan.nii.gz", "expected a name ending in .html"),
        ("link.html", "found a link"),
        ("device.html", "found something else of this name"),
        ("thesis.html", "found a file that `synth view` did not write"),
    ],
)
def test_force_replaces_pages_and_nothing_else(tmp_path, name, found):
    (tmp_path / "thesis.html").write_text("mine")
    (tmp_path / "scan.nii.gz").write_bytes(b"a patient's")
    (tmp_path / "link.html").symlink_to(tmp_path / "scan.nii.gz")
    os.mkfifo(tmp_path / "device.html")
    with pytest.raises(OutputError, match=found):
        view([tmp_path], tmp_path / name, force=True)
    assert (tmp_path / "scan.nii.gz").read_bytes() == b"a patient's"
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "thesis.html").read_text() == "mine"
