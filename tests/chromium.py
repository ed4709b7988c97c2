"""A real browser for the pages that synth writes: the system's Chromium, headless, with the network cut.

Tests say `from chromium import browser, console_errors, needs_chromium, outside_requests`. Nothing is downloaded:
Chromium, its driver and selenium are there, or the test is skipped and says what is missing.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_INSIDE = ("file:", "blob:", "data:", "about:", "chrome:")
CLOSED = "127.0.0.1:9"  # the discard port: nothing listens there


def _missing() -> str:
    lacks = [] if any(map(shutil.which, _BROWSERS)) else ["Chromium (apt-get install chromium)"]
    lacks += [] if shutil.which("chromedriver") else ["chromedriver (apt-get install chromium-driver)"]
    lacks += [] if find_spec("selenium") else ["selenium (pip install selenium)"]
    return "needs " + ", ".join(lacks) if lacks else ""


needs_chromium = pytest.mark.skipif(bool(_missing()), reason=_missing() or "Chromium is there")


@contextmanager
def browser(width: int = 1280, height: int = 900, *, dark: bool = False, gl: bool = True) -> Iterator:
    """A headless Chromium whose page is `width` x `height` CSS pixels, drawing WebGL in software.

    Args:
        width: of the page, in CSS pixels; narrow as a telephone too.
        height: of the page.
        dark: whether the reader prefers dark pages.
        gl: False for a machine without WebGL.

    Yields:
        The selenium driver. Every host is unresolvable and every connection goes to a closed port.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = webdriver.Chrome(_options(width, height, profile, gl), Service(shutil.which("chromedriver")))
        try:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)  # windows cannot be narrower than 500 px
            if dark:
                media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            driver.set_page_load_timeout(60)
            driver.set_script_timeout(60)
            yield driver
        finally:
            driver.quit()


def _options(width: int, height: int, profile: str, gl: bool):
    from selenium.webdriver import ChromeOptions

    options = ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, _BROWSERS)))
    drawing = ("use-gl=angle", "use-angle=swiftshader", "enable-unsafe-swiftshader")
    for flag in (
        "headless=new",
        "no-sandbox",  # the tests may run as root, in a container
        "disable-dev-shm-usage",
        *(drawing if gl else ("disable-gpu", "disable-3d-apis")),
        "host-resolver-rules=MAP * ~NOTFOUND",
        f"proxy-server={CLOSED}",
        "disable-background-networking",
        "disable-component-update",
        "no-first-run",
        "no-default-browser-check",
        f"window-size={width},{height}",
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return options


def console_errors(driver) -> list[str]:
    """What the page has complained of (severe only) since the last call."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def outside_requests(driver) -> list[str]:
    """Addresses that are no file, blob or data, of all that was asked for since the last call."""
    events = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    asked = (e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent")
    return [url for url in asked if not url.startswith(_INSIDE)]


def screenshot(driver, path: str | Path, *, whole: bool = False) -> Path:
    """Save what is seen, or the whole page, as PNG."""
    from base64 import b64decode

    settings = {"format": "png", "captureBeyondViewport": whole}
    if whole:
        size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        settings["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    Path(path).write_bytes(b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", settings)["data"]))
    return Path(path)


def overflow(driver) -> int:
    """By how many CSS pixels the page is wider than its window; 0 where nothing scrolls sideways."""
    return driver.execute_script("const e = document.documentElement; return e.scrollWidth - e.clientWidth")
