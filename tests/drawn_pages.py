"""Chromium for the tests of pages to draw on: strokes of the ten digits, bars, requests."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
from scipy import interpolate

from mnist_lib.datasets import digit_strokes

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
# Sends what a finger or a mouse would: places are fractions of the canvas's width and height.
_DRAW = """
const canvas = document.getElementById('drawing'), box = canvas.getBoundingClientRect();
function send(type, [x, y]) {
  canvas.dispatchEvent(new PointerEvent(type, {
    bubbles: true, cancelable: true, pointerId: 1, isPrimary: true, button: 0, buttons: 1,
    clientX: box.left + x * box.width, clientY: box.top + y * box.height,
  }));
}
for (const stroke of arguments[0]) {
  send('pointerdown', stroke[0]);
  for (const place of stroke.slice(1)) send('pointermove', place);
  send('pointerup', stroke[stroke.length - 1]);
}
"""
_BARS = """
return [...document.querySelectorAll('#bars li')].map(item => [
  item.querySelector('.name').textContent, parseFloat(item.querySelector('.percent').textContent),
]);
"""


def open_browser(profile: pathlib.Path, *, width: int = 1200, height: int = 1250):
    """Starts Chromium without a window; skips where it is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    if not (CHROMIUM and DRIVER):
        pytest.skip("Chromium or its driver is not installed")
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        f"--window-size={width},{height}",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.chrome.service.Service(DRIVER))


def strokes_of(digit: int, way: int = 0, shape: int = 0) -> list[list[tuple[float, float]]]:
    """Returns strokes of a digit, as fractions of a canvas: one of `digit_strokes.ALLOGRAPHS`."""
    _, shapes = digit_strokes.ALLOGRAPHS[digit][way]
    strokes = []
    for stroke in shapes.strip().splitlines()[shape].split("|"):
        places: list[tuple[float, float]] = []
        for piece in re.sub(r"(\S+)\*", r"\1 * \1", stroke).split("*"):
            points = [tuple(map(float, point.split(","))) for point in piece.split()]
            places += [(0.27 + 0.0045 * x, 0.15 + 0.007 * y) for x, y in _curve(points)]
        strokes.append(places)
    return strokes


def _curve(points: list[tuple[float, float]]) -> np.ndarray:
    """Returns points of a smooth curve through some points."""
    lengths = np.hypot(*np.diff(points, axis=0).T)
    at = np.concatenate([[0], np.cumsum(lengths)])
    curve = interpolate.make_interp_spline(at, points, k=min(3, len(points) - 1))
    return curve(np.linspace(0, at[-1], 8 * len(points)))


def draw(browser, strokes) -> None:
    """Draws on the page's canvas."""
    browser.execute_script(_DRAW, strokes)


def bars(browser) -> dict[str, float]:
    """Returns the percentage beside each bar by its name; NaN is left out."""
    return {name: value for name, value in browser.execute_script(_BARS) if value is not None}


def result(browser) -> str:
    """Returns the sentence that screen readers are told."""
    return browser.execute_script("return document.getElementById('result').textContent")


def requested(browser) -> list[str]:
    """Returns the addresses that the browser has asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    # What a page has in itself, and those of the browser's own first page, are no requests.
    return [url for url in urls if not url.startswith(("chrome", "data:"))]


def complaints(browser) -> list[str]:
    """Returns errors of the page's scripts and refusals of its policy."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def refuses_another_host(browser) -> bool:
    """Whether the page's own policy stops a request to another host before it is made."""
    return browser.execute_async_script("""
        const done = arguments[arguments.length - 1];
        document.addEventListener('securitypolicyviolation', event =>
          done(event.effectiveDirective === 'connect-src'));
        fetch('http://192.0.2.1/').catch(() => setTimeout(() => done(false), 1000));
    """)
