"""The page to draw on: what the server answers and refuses, and a reader's way through it."""

import base64
import contextlib
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import drawn_pages
import numpy as np
import pytest
from PIL import Image
from werkzeug import test as werkzeug_test

import mnist_lib
from mnist_lib import errors
from mnist_lib.serving import pictures
from mnist_lib.serving.demo import addresses, application, run_list


def _png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def _drawing() -> np.ndarray:
    """Black on white: an upright stroke with a short bar far from it."""
    page = np.full((336, 336), 255, np.uint8)
    page[40:300, 150:180] = 0
    page[60:80, 230:300] = 0
    return page


@pytest.fixture(scope="module")
def runs(small_dataset, tmp_path_factory) -> pathlib.Path:
    """A folder with runs of two models, one that was begun, and one that is damaged."""
    root = tmp_path_factory.mktemp("runs")
    for name, model in (("deeper/lenet", "lenet5"), ("linear", "linear")):
        config = mnist_lib.recipe(
            model, batch_size=48, train_steps=4, steps_per_loop=2, summaries="none"
        )
        mnist_lib.train_and_evaluate(config, root / name, data=small_dataset)
    (root / "begun").mkdir()
    (root / "begun" / "config.json").write_text((root / "linear" / "config.json").read_text())
    (root / "damaged").mkdir()
    (root / "damaged" / "config.json").write_text("{")
    return root


@pytest.fixture
def listed(runs) -> run_list.RunList:
    return run_list.RunList(runs)


@pytest.fixture
def client(listed) -> werkzeug_test.Client:
    return werkzeug_test.Client(application.DemoApplication(listed))


def _error(response) -> tuple[int, str]:
    assert response.mimetype == "application/json"
    return response.status_code, response.json["error"]


def test_the_page_and_its_files_are_served_with_what_protects_them(client):
    page = client.get("/")
    files = re.findall(r'(?:src|href)="([\w.]+)"', page.text)
    assert files == ["page.css", "drawing.js", "outcome.js", "demo.js"]
    for path in ("/", *(f"/{name}" for name in files), "/runs", "/nothing"):
        response = client.get(path)
        assert response.status_code == (404 if path == "/nothing" else 200)
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "http" not in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert not re.search(r"https?://", response.text)


def test_the_runs_of_the_folder_can_be_chosen(client):
    answer = client.get("/runs").json
    assert answer["training"] is None
    damaged, lenet, linear = answer["runs"]
    assert (damaged["name"], lenet["name"], linear["name"]) == ("damaged", "deeper/lenet", "linear")
    assert "config.json: cannot be used" in damaged["error"]
    assert re.fullmatch(r"small, lenet5, [\d.]+ % of the test images right", lenet["text"])
    assert linear["is_finished"]


@pytest.mark.parametrize("name", ["linear", "deeper/lenet"])
def test_a_drawing_is_looked_at(client, runs, name):
    """All of its ink, centred; the probabilities of `predict`; the layers' own outputs."""
    response = client.post(f"/look?run={name}&source=drawing", data=_png(_drawing()))
    answer = response.json
    image = np.frombuffer(base64.b64decode(answer["image"]), np.uint8).reshape(28, 28)
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    assert np.ptp(rows) + 1 == 20
    assert np.ptp(columns) + 1 == round(20 * 150 / 260)  # the bar is kept
    expected = mnist_lib.predict(runs / name, image[np.newaxis])[0]
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
    assert answer["class_names"] == list("0123456789")
    model = mnist_lib.load_model(runs / name)
    shown = {layer["name"]: layer for layer in answer["layers"]}
    assert set(shown) == {
        layer.name
        for layer in model.layers
        if layer.name not in ("image", "scale", "flatten") and "dropout" not in layer.name
    }
    logits = np.asarray(model(image[np.newaxis, ..., np.newaxis]))[0]
    greys = np.frombuffer(base64.b64decode(shown["logits"]["values"]), np.uint8)
    assert shown["logits"]["is_signed"]
    np.testing.assert_array_equal(greys, np.rint(128 + 127 * logits / np.abs(logits).max()))
    if name == "deeper/lenet":
        relu = shown["relu1"]
        maps = np.frombuffer(base64.b64decode(relu["values"]), np.uint8).reshape(6, 28, 28)
        assert relu["shape"] == [28, 28, 6]
        assert not relu["is_signed"]
        assert maps.max() == 255


def test_a_photo_is_searched_for_its_digit(client):
    """Light on dark as well; what `find_digit` finds."""
    page = 255 - np.pad(_drawing()[:, :200], ((50, 50), (10, 300)), constant_values=255)
    answer = client.post("/look?run=linear", data=_png(page)).json
    expected = pictures.find_digit(pictures.read_picture(_png(page))).image
    assert base64.b64decode(answer["image"]) == expected.tobytes()


def test_a_model_is_loaded_once(listed, runs):
    assert listed.load("linear") is listed.load("linear")
    assert listed.load("linear") is not listed.load("deeper/lenet")
    before = listed.load("linear")
    os.utime(runs / "linear" / "checkpoints", ns=(1, 1))  # another checkpoint has come
    assert listed.load("linear") is not before


@pytest.mark.parametrize(
    "name", ["nothing", "", "../linear", "deeper/../linear", "begun/../../etc", "linear\0"]
)
def test_a_run_that_is_not_listed_is_not_opened(client, name):
    url = f"/look?source=drawing&run={name}".replace("\0", "%00")
    status, line = _error(client.post(url, data=_png(_drawing())))
    assert status == 404
    assert "no such run is listed. Choose another one." in line


def test_what_cannot_be_used_is_said_in_a_line(client):
    send = client.post
    assert _error(send("/look?run=linear", data=b"hello")) == (
        422,
        "picture: is no PNG, JPEG, WebP, BMP, TIFF or GIF file, whatever its name. Save it again "
        "as a PNG or JPEG.",
    )
    blank = _png(np.full((336, 336), 255, np.uint8))
    assert _error(send("/look?run=linear&source=drawing", data=blank))[0] == 422
    assert "blank" in _error(send("/look?run=linear", data=blank))[1]
    assert _error(send("/look?run=linear&source=else", data=blank))[0] == 400
    status, line = _error(send("/look?run=damaged", data=_png(_drawing())))
    assert (status, "\n" in line) == (422, False)
    assert "config.json: cannot be used" in line
    assert _error(client.get("/look?run=linear"))[0] == 405
    assert _error(send("/runs"))[0] == 405
    assert _error(client.get("/../setup.py"))[0] == 404


def test_what_nobody_expects_is_told_in_a_line_too(client, listed, monkeypatch):
    def fail() -> None:
        raise ZeroDivisionError("one\nmore")

    monkeypatch.setattr(listed, "usable", fail)
    assert _error(client.get("/runs")) == (500, "internal: ZeroDivisionError: one")


def test_a_body_that_is_too_large_is_not_read(client):
    """By its length, or, where none is given, once the limit is reached."""
    length = str(application.MOST_BYTES + 1)
    answer = client.post("/look?run=linear", environ_overrides={"CONTENT_LENGTH": length})
    assert _error(answer) == (413, "a picture has at most 32 MiB; send a smaller one")
    endless = io.BufferedReader(_Endless())
    answer = client.post(
        "/look?run=linear",
        environ_overrides={
            "wsgi.input": endless,
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
        },
    )
    assert _error(answer)[0] == 413
    assert endless.raw.num_read < 2 * application.MOST_BYTES


class _Endless(io.RawIOBase):
    num_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self.num_read += len(buffer)
        return len(buffer)


@pytest.mark.parametrize(
    ("host", "served_at", "is_for_us"),
    [
        ("127.0.0.1:8028", "127.0.0.1", True),
        ("localhost:8028", "127.0.0.1", True),
        ("LOCALHOST", "127.0.0.1", True),
        ("[::1]:8028", "127.0.0.1", True),
        ("evil.example", "127.0.0.1", False),
        ("evil.example:8028", "0.0.0.0", False),
        ("127.0.0.1.evil.example:8028", "127.0.0.1", False),
        ("localhost@evil.example", "127.0.0.1", False),
        ("192.168.1.5:8028", "127.0.0.1", False),
        ("192.168.1.5:8028", "0.0.0.0", True),
        ("192.168.1.5:8028", "192.168.1.5", True),
        ("my-machine:8028", "My-Machine", True),
        ("[::1", "127.0.0.1", False),
        ("", "127.0.0.1", False),
    ],
)
def test_only_names_of_this_server_are_answered(listed, host, served_at, is_for_us):
    assert addresses.is_for_us(host, served_at) == is_for_us
    client = werkzeug_test.Client(application.DemoApplication(listed, served_at))
    assert client.get("/", headers={"Host": host}).status_code == (200 if is_for_us else 403)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://localhost:8028", 200),
        ("http://evil.example", 403),
        ("https://localhost:8028", 403),
        ("http://localhost:8029", 403),
        ("http://localhost:8028.evil.example", 403),
        ("null", 403),
    ],
)
def test_pages_of_other_origins_are_refused(client, origin, status):
    headers = {"Host": "localhost:8028"} | ({"Origin": origin} if origin else {})
    url = "/look?run=linear&source=drawing"
    assert client.post(url, data=_png(_drawing()), headers=headers).status_code == status


def test_the_run_that_is_trained_is_shown_with_its_progress(listed, client, runs):
    listed.training = runs / "new"
    answer = client.get("/runs").json["training"]
    assert answer == {"step": 0, "total_steps": None, "validation_accuracy": None}
    listed.training = runs / "linear"
    answer = client.get("/runs").json
    assert (answer["training"]["step"], answer["training"]["total_steps"]) == (4, 4)
    assert "linear" not in [run["name"] for run in answer["runs"]]


def test_the_run_that_is_named_comes_first(runs, tmp_path):
    linear = runs / "linear"
    for folder in (runs, tmp_path / "missing"):
        listed = run_list.RunList(folder, linear)
        names = [run["name"] for run in listed.usable()]
        assert names[0] == str(linear)
        assert "linear" not in names
        assert listed.load(str(linear)).class_names == list("0123456789")


def test_images_of_another_shape_are_refused(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (60, 8, 9, 1)).astype(np.uint8)
    labels = np.arange(60, dtype=np.int32) % 3
    splits = [mnist_lib.Split(name, images, labels) for name in ("train", "validation", "test")]
    data = mnist_lib.ImageDataset("odd", *splits, class_names=("a", "b", "c"))
    config = mnist_lib.recipe("linear", batch_size=20, train_steps=2, summaries="none")
    mnist_lib.train_and_evaluate(config, tmp_path / "odd", data=data)
    with pytest.raises(errors.ConfigError, match=r"images of 8 x 9 x 1.* choose another run"):
        run_list.RunList(tmp_path).load("odd")


def test_a_port_is_had_or_named():
    with addresses.listen("127.0.0.1", 0) as listening:
        url = addresses.url_of(listening)
        port = listening.getsockname()[1]
        assert url == f"http://127.0.0.1:{port}/"
        with pytest.raises(errors.OutputError, match=rf"port {port} .* Pass another --port"):
            addresses.listen("127.0.0.1", port)
    with pytest.raises(errors.ConfigError, match="port: 70000 is not in 0 to 65535"):
        addresses.listen("127.0.0.1", 70000)
    with pytest.raises(errors.ConfigError, match=r"host: 192\.0\.2\.1 is not of this machine"):
        addresses.listen("192.0.2.1", 0)
    with pytest.raises(errors.ConfigError, match=r"host: 'no\.such\.host\.invalid' is not known"):
        addresses.listen("no.such.host.invalid", 0)


@contextlib.contextmanager
def _demo(*flags: str):
    """Starts the command; yields the process and where it serves, and ends it."""
    command = [sys.executable, "-m", "mnist_lib", "demo", "--port=0", *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if found := re.search(r"Open (http://127\.0\.0\.1:\d+/)", line):
                    break
            else:
                raise AssertionError("it has not told where it serves")
            yield process, found[1]
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(runs, number):
    with _demo(f"--runs={runs}") as (process, _):
        process.send_signal(number)
        assert process.wait(timeout=60) == os.EX_OK
        assert "Traceback" not in process.stderr.read()


def test_a_workdir_that_is_no_run_is_named(tmp_path):
    command = [sys.executable, "-m", "mnist_lib", "demo", "--port=0", f"--workdir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == os.EX_NOINPUT
    assert f"{tmp_path}: no config.json there" in done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = drawn_pages.open_browser(tmp_path_factory.mktemp("chromium"))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


def _wait(browser, condition, what: str):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 180, 0.1).until(lambda _: condition(), what)


def _looked_at(browser, strokes) -> dict[str, float]:
    """Draws on an empty page; returns the bars once the server has answered."""
    browser.execute_script("document.getElementById('clear').click()")
    _wait(browser, lambda: not drawn_pages.bars(browser), "cleared")
    drawn_pages.draw(browser, strokes)
    _wait(browser, lambda: browser.execute_script("return numAsked === numShown"), "answered")
    return drawn_pages.bars(browser)


@pytest.mark.slow
def test_digits_are_drawn_on_the_served_page(browser, fast_run):
    """The right bars, feature maps, keys, a photo, another run; no request to another host."""
    from selenium.webdriver.common.by import By

    with _demo(f"--runs={fast_run.parent}") as (_, url):
        drawn_pages.requested(browser)
        browser.get(url)
        _wait(browser, lambda: browser.find_elements(By.TAG_NAME, "option"), "runs are listed")
        for digit in (0, 1, 2, 3, 4, 6, 7, 8, 9, 5):
            shown = _looked_at(browser, drawn_pages.strokes_of(digit))
            assert list(shown) == list("0123456789")
            assert max(shown, key=shown.get) == str(digit), shown
            assert drawn_pages.result(browser).startswith(f"This is {digit}, ")
        captions = [one.text for one in browser.find_elements(By.TAG_NAME, "figcaption")]
        assert "conv1: Conv2D, 11 x 11 x 16" in captions
        assert "logits: Dense, 10" in captions
        ink = "const c = document.querySelector('figure canvas'); return new Set(c.getContext('2d')"
        assert (
            browser.execute_script(f"{ink}.getImageData(0, 0, c.width, c.height).data).size") > 20
        )
        folder = os.environ.get("MNIST_LIB_SCREENSHOTS")
        if folder:
            browser.save_screenshot(f"{folder}/demo.png")
        browser.find_element(By.TAG_NAME, "body").send_keys("c")
        _wait(browser, lambda: drawn_pages.result(browser) == "Draw something.", "cleared")
        assert set(drawn_pages.requested(browser)) == {
            url,
            *(f"{url}{name}" for name in ("page.css", "drawing.js", "outcome.js", "demo.js")),
            f"{url}runs",
            f"{url}look?run=fast&source=drawing",
        }
        assert drawn_pages.complaints(browser) == []
        assert drawn_pages.refuses_another_host(browser)


@pytest.mark.slow
def test_a_photo_and_what_is_no_photo_are_taken(browser, fast_run, tmp_path):
    from selenium.webdriver.common.by import By

    (tmp_path / "one.png").write_bytes(_png(_drawing()[:, :220]))
    (tmp_path / "text.png").write_text("hello")
    with _demo(f"--workdir={fast_run}", f"--runs={tmp_path}") as (_, url):
        browser.get(url)
        _wait(browser, lambda: browser.find_elements(By.TAG_NAME, "option"), "runs are listed")
        photo = browser.find_element(By.ID, "photo")
        photo.send_keys(str(tmp_path / "one.png"))
        _wait(browser, lambda: drawn_pages.result(browser).startswith("This is 1, "), "a one")
        photo.send_keys(str(tmp_path / "text.png"))
        problem = browser.find_element(By.ID, "problem")
        _wait(browser, lambda: "is no PNG, JPEG" in problem.text, "the reason")
        assert drawn_pages.bars(browser) == {}
        drawn_pages.draw(browser, drawn_pages.strokes_of(7))
        _wait(browser, lambda: drawn_pages.result(browser).startswith("This is 7, "), "a seven")
        assert not problem.is_displayed()


@pytest.mark.slow
def test_without_a_run_one_is_trained_and_shown(browser, prepared_data, tmp_path):
    """The page shows its progress, then the run; a run that was stopped goes on."""
    from selenium.webdriver.common.by import By

    data = [f"--dataset={prepared_data.name}", f"--data_dir={prepared_data.data_dir}"]
    flags = [f"--runs={tmp_path}/runs", *data, "--nodownload"]
    training = "return document.getElementById('training').textContent.match(/Step (\\d+) of 270/)"
    with _demo(*flags) as (process, url):
        browser.get(url)
        _wait(browser, lambda: browser.execute_script(training), "progress is shown")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == os.EX_OK
    assert not (tmp_path / "runs" / "fast" / "results.json").exists()
    with _demo(*flags) as (_, url):
        browser.get(url)
        _wait(browser, lambda: browser.execute_script(training), "progress is shown")
        _wait(browser, lambda: browser.find_elements(By.TAG_NAME, "option"), "it can be chosen")
        shown = _looked_at(browser, drawn_pages.strokes_of(3))
        assert max(shown, key=shown.get) == "3"
        assert not browser.find_element(By.ID, "training").is_displayed()
    results = json.loads((tmp_path / "runs" / "fast" / "results.json").read_text())
    assert results["step"] == 270
