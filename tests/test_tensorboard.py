"""TensorBoard in a browser: what a person finds on its pages of two runs.

Needs Chromium with its driver. With `MNIST_LIB_SCREENSHOTS` set, a picture of each page is kept
in that folder.
"""

import os
import re
import shutil
import time

import pytest
import tensorboard_server

import mnist_lib

webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
exceptions = pytest.importorskip("selenium.common.exceptions")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium is not installed"),
]
# Text and elements of a page, those in shadow roots too.
DEEP = """
const skipped = ['STYLE', 'SCRIPT', 'NOSCRIPT'];
const found = [], wanted = arguments[0];
(function walk(node) {
  for (const child of node.childNodes) {
    if (child.nodeType === Node.TEXT_NODE && wanted === 'text') found.push(child.textContent);
    if (child.nodeType !== Node.ELEMENT_NODE || skipped.includes(child.tagName)) continue;
    if (wanted !== 'text' && child.matches(wanted)) found.push(child);
    if (child.shadowRoot) walk(child.shadowRoot);
    walk(child);
  }
})(document.body);
return wanted === 'text' ? found.map(text => text.trim()).filter(Boolean).join('\\n') : found;
"""


@pytest.fixture(scope="module")
def runs(small_dataset, tmp_path_factory):
    """Two runs that differ in a learning rate, of all that can be shown."""
    root = tmp_path_factory.mktemp("runs")
    for name, learning_rate in (("first", 1e-3), ("second", 3e-3)):
        config = mnist_lib.recipe(
            "mlp",
            batch_size=48,
            train_steps=40,
            steps_per_loop=5,
            eval_every=10,
            learning_rate=learning_rate,
            augmentation="affine",
            summaries="full",
        )
        mnist_lib.train_and_evaluate(config, root / name, data=small_dataset)
    return root


@pytest.fixture(scope="module")
def address(runs):
    """A TensorBoard that has read the runs."""
    with tensorboard_server.tensorboard_of(runs) as url:
        tensorboard_server.wait_until(
            lambda: b"second/test" in tensorboard_server.answer_of(f"{url}data/runs")
        )
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1500,1300",
        "--use-angle=swiftshader",  # the projector draws with WebGL
        "--enable-unsafe-swiftshader",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    service = webdriver.chrome.service.Service(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def _wait_until(condition):
    """As `tensorboard_server.wait_until`, of a page that may draw itself anew as it is read."""
    not_yet = exceptions.StaleElementReferenceException, exceptions.NoSuchFrameException
    return tensorboard_server.wait_until(condition, not_yet)


def _text(browser) -> str:
    """The text of the page, and of the frames in it, and in those."""
    text = browser.execute_script(DEEP, "text")
    for frame in browser.execute_script(DEEP, "iframe"):
        browser.switch_to.frame(frame)
        text += "\n" + _text(browser)
        browser.switch_to.parent_frame()
    return text


def _assert_shown(browser, address: str, page: str, *wanted: str, query: str = ""):
    """Opens a page and asserts that all texts come to be on it; returns its text."""
    browser.get("about:blank")
    browser.get(f"{address}?darkMode=false{query}#{page}")
    text = ""

    def has_all() -> bool:
        nonlocal text
        browser.switch_to.default_content()
        text = _text(browser)
        return all(re.search(one, text) for one in wanted)

    try:
        _wait_until(has_all)
        return text
    except AssertionError as error:
        missing = [one for one in wanted if not re.search(one, text)]
        raise AssertionError(f"{page}: no {missing} in {text[:3000]}") from error
    finally:
        folder = os.environ.get("MNIST_LIB_SCREENSHOTS")
        if folder:
            time.sleep(3)  # until what moves has come to rest
            browser.save_screenshot(f"{folder}/{page}.png")


def test_train_and_validation_are_in_one_chart(browser, address):
    query = "&tagFilter=metrics%2Floss"
    _assert_shown(browser, address, "timeseries", r"metrics\s*/loss", "first/train", query=query)

    def cards() -> list[str]:
        return [card.text for card in browser.execute_script(DEEP, "scalar-card")]

    # The table below the chart has a row for each line in it.
    _wait_until(
        lambda: any(
            all(f"first/{split}" in card for split in ("train", "validation")) for card in cards()
        )
    )
    assert len(_wait_until(cards)) == 1
    assert _wait_until(lambda: browser.execute_script(DEEP, "line-chart svg path"))


def test_the_custom_layout_has_its_charts(browser, address):
    _assert_shown(
        browser, address, "custom_scalars", "Training", "Loss", "Accuracy", "Learning rate"
    )


def test_pictures_are_shown(browser, address):
    _assert_shown(
        browser, address, "images", "errors/confusion_matrix", "errors/most_confident", "input"
    )
    images = _wait_until(
        lambda: [
            image.get_attribute("src")
            for image in browser.execute_script(DEEP, "img")
            if int(image.get_property("naturalWidth")) > 100
        ]
    )
    assert len(images) >= 4


def test_histograms_of_weights_and_gradients_are_shown(browser, address):
    _assert_shown(
        browser, address, "histograms", "weights/dense1/kernel|dense1/kernel", "gradients"
    )
    assert _wait_until(lambda: browser.execute_script(DEEP, "path"))


def test_a_precision_recall_curve_per_class_is_shown(browser, address):
    _assert_shown(browser, address, "pr_curves", "precision_recall/0", "first/test", "second/test")


def test_hparams_compares_the_runs(browser, address):
    text = _assert_shown(
        browser, address, "hparams", "first", "second", "validation accuracy", "0.003"
    )
    assert "learning_rate" in text


def test_the_projector_has_its_points(browser, address, small_dataset):
    count = len(small_dataset.test)
    _assert_shown(browser, address, "projector", rf"Points:\s*{count}\b", r"Dimension:\s*512")


def test_the_graph_of_layers_has_names(browser, address):
    _assert_shown(browser, address, "graphs", "Main Graph|Graph")
    served = tensorboard_server.answer_of(f"{address}data/plugin/graphs/info")
    assert b"keras" in served
    graph = tensorboard_server.answer_of(
        f"{address}data/plugin/graphs/graph?run=first%2Ftrain&conceptual=true&tag=keras"
    ).decode()
    for name in ("dense1", "relu1", "dropout1", "dense2", "logits"):
        assert name in graph
    step = tensorboard_server.answer_of(
        f"{address}data/plugin/graphs/graph?run=first%2Ftrain&conceptual=false"
    )
    assert len(step) > 10_000


def test_the_text_says_what_the_run_is(browser, address):
    _assert_shown(
        browser, address, "text", "SHA-256 of train", "parameters", "669,706", "learning_rate"
    )
