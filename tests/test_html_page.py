"""A network as one HTML file: its JavaScript against Keras, and drawn on in Chromium."""

import contextlib
import json
import math
import os
import pathlib
import re
import time
import types

import drawn_pages
import keras
import numpy as np
import pytest

import mnist_lib
from mnist_lib import errors
from mnist_lib.models import activations, layers
from mnist_lib.serving.exports import browsers, html_page, page_layers


def _served(model: keras.Model, /, **facts: str) -> types.SimpleNamespace:
    names = [str(number) for number in range(model.output_shape[-1])]
    return types.SimpleNamespace(
        model=model, class_names=names, image_shape=model.input_shape[1:], facts=facts
    )


def _with_random_weights(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight a value, of averages and biases, too, that would be missed."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if "float" in variable.dtype:
            scale = 1 / math.sqrt(max(1, math.prod(variable.shape[:-1])))
            values = rng.normal(0, scale, variable.shape)
            is_variance = "variance" in variable.path
            variable.assign(np.abs(values) + 0.5 if is_variance else values)
    return model


def _small_model(*middle, shape=(9, 8, 2)) -> keras.Model:
    """A model of an image's layers and three logits."""
    image = keras.Input(shape, dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    for layer in middle:
        x = layer(x)
    return keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


def _branched_model() -> keras.Model:
    image = keras.Input((6, 7, 1))
    x = keras.layers.Conv2D(3, 3, padding="same", activation="relu")(image)
    y = keras.layers.Conv2D(3, 1, activation="tanh")(image)
    x = keras.layers.Concatenate()([keras.layers.Add()([x, y, y]), y])
    return keras.Model(image, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x)))


def _models() -> dict[str, keras.Model]:
    k = keras.layers
    names = ("relu", "sigmoid", "tanh", "leaky_relu", "elu", "maxout")
    built = {
        **{f"mlp {name}": mnist_lib.build_model("mlp", activation=name) for name in names},
        **{
            f"fast_cnn {name}": mnist_lib.build_model("fast_cnn", activation=name)
            for name in ("leaky_relu", "maxout")
        },
        "linear": mnist_lib.build_model("linear", num_classes=7),
        "lenet5": mnist_lib.build_model("lenet5"),
        "lenet5 average": mnist_lib.build_model("lenet5", pooling="average", activation="elu"),
        "cnn": mnist_lib.build_model("cnn", image_shape=(14, 15, 3)),
        "same, strides": _small_model(
            k.Conv2D(5, (3, 2), strides=2, padding="same"),
            k.Conv2D(6, (2, 4), strides=(1, 2), padding="same", use_bias=False),
        ),
        "valid, strides": _small_model(k.Conv2D(5, (2, 3), strides=(3, 2))),
        "normalised": _small_model(k.Conv2D(4, 2), k.BatchNormalization(scale=False)),
        "pooled, same": _small_model(
            k.MaxPooling2D(3, strides=2, padding="same"), k.AveragePooling2D(2, padding="same")
        ),
        "pooled, valid": _small_model(k.AveragePooling2D((3, 2), strides=1), k.MaxPooling2D(2)),
        "padded, cropped": _small_model(
            k.ZeroPadding2D(((1, 2), (0, 3))), k.Cropping2D(((2, 0), (1, 1)))
        ),
        "activations": _small_model(
            k.Conv2D(4, 1, activation="elu"),
            k.ReLU(negative_slope=0.3),
            k.Dense(6, activation="leaky_relu"),
            k.ELU(alpha=0.5),
            k.LeakyReLU(negative_slope=0.05),
            activations.Maxout(pieces=3),
            k.Activation("sigmoid"),
        ),
        "reshaped": _small_model(k.Reshape((4, 6, 6)), k.Conv2D(2, 3), k.Dropout(0.5)),
        "branches": _branched_model(),
        "sequence": _functional(keras.Sequential([k.Input((5, 5, 1)), k.Flatten(), k.Dense(2)])),
    }
    return {name: _with_random_weights(model) for name, model in built.items()}


def _functional(model: keras.Model) -> keras.Model:
    return keras.Model(model.inputs, model.outputs)


def _random_images(model: keras.Model, count: int) -> np.ndarray:
    images = np.random.default_rng(1).integers(0, 256, (count, *model.input_shape[1:]))
    return images.astype(model.inputs[0].dtype)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = drawn_pages.open_browser(tmp_path_factory.mktemp("chromium"), height=700)
    yield driver
    driver.quit()


needs_chromium = pytest.mark.skipif(
    browsers.find_chromium() is None, reason="Chromium is not installed"
)


@pytest.mark.slow
def test_every_layer_computes_what_keras_computes(browser, tmp_path):
    """Logits, of several images at once, in one Chromium; a page for each model."""
    for name, model in _models().items():
        html_page.write(_served(model), tmp_path / "page.html")
        browser.get((tmp_path / "page.html").as_uri())
        images = _random_images(model, 3)
        logits = browser.execute_script(
            "return Array.from(network.logits(arguments[0], 3))", images.ravel().tolist()
        )
        expected = keras.ops.convert_to_numpy(model(images, training=False)).ravel()
        assert np.ptp(expected) > 0.01, name
        np.testing.assert_allclose(
            logits, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max(), err_msg=name
        )
        assert drawn_pages.complaints(browser) == [], name


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_run_gives_the_probabilities_of_keras(tmp_path, dtype):
    """In the order of the images, for a number of them that no batch divides, and for none."""
    image = keras.Input((6, 5, 2), dtype=dtype)
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image)))
    model = _with_random_weights(keras.Model(image, logits))
    html_page.write(_served(model), tmp_path / "page.html")
    images = _random_images(model, 67)
    probabilities, seconds = html_page.run(tmp_path / "page.html", images)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model(images)))
    assert probabilities.dtype == np.float32
    assert seconds > 0
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert np.ptp(expected[:, 0]) > 0.01
    none, _ = html_page.run(tmp_path / "page.html", images[:0])
    assert none.shape == (0, 3)


@pytest.mark.slow
@needs_chromium
def test_the_page_agrees_with_the_run_on_all_test_images(prepared_data, fast_run, tmp_path):
    """On every label."""
    _, (images, _) = mnist_lib.load_arrays(
        prepared_data.name, data_dir=prepared_data.data_dir, download=False
    )
    html_page.write(_served(mnist_lib.load_model(fast_run)), tmp_path / "page.html")
    probabilities, _ = html_page.run(tmp_path / "page.html", images)
    expected = mnist_lib.predict(fast_run, images)
    assert len(images) == 10_000
    assert (probabilities.argmax(1) == expected.argmax(1)).all()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@pytest.mark.slow
def test_digits_are_drawn_on_the_page(browser, fast_run, tmp_path):
    """From disk; the right bars, at two sizes; nothing is asked of another host."""
    path = tmp_path / "page.html"
    facts = {"dataset": "mnist", "model": "fast_cnn"}
    html_page.write(_served(mnist_lib.load_model(fast_run), **facts), path)
    drawn_pages.requested(browser)
    browser.get(path.as_uri())
    assert drawn_pages.result(browser) == "Draw something."
    assert drawn_pages.bars(browser) == {}
    for digit in range(10):
        for scale in (1.0, 0.5):
            strokes = [
                [(scale * x, scale * y) for x, y in stroke]
                for stroke in drawn_pages.strokes_of(digit)
            ]
            browser.execute_script("document.getElementById('clear').click()")
            drawn_pages.draw(browser, strokes)
            shown = drawn_pages.bars(browser)
            assert list(shown) == list("0123456789")
            assert sum(shown.values()) == pytest.approx(100, abs=1)
            assert max(shown, key=shown.get) == str(digit), (digit, scale, shown)
            assert drawn_pages.result(browser).startswith(f"This is {digit}, ")
    assert browser.title == "mnist, fast_cnn, a network to draw on"
    assert drawn_pages.requested(browser) == [path.as_uri()]
    assert drawn_pages.complaints(browser) == []
    assert drawn_pages.refuses_another_host(browser)
    folder = os.environ.get("MNIST_LIB_SCREENSHOTS")
    if folder:
        browser.save_screenshot(f"{folder}/export.png")


@pytest.mark.slow
def test_a_drawing_is_normalised_as_mnist_was(browser, tmp_path):
    """20 pixels along the longer side, grey at the edges, the centre of mass on pixel 14."""
    html_page.write(_served(mnist_lib.build_model("linear")), tmp_path / "page.html")
    browser.get((tmp_path / "page.html").as_uri())
    for width, height, left, top in ((7, 61, 3, 2), (80, 33, 10, 20), (1, 1, 50, 50)):
        ink = np.zeros((100, 100), np.uint8)
        ink[top : top + height, left : left + width] = 255
        ink[top, left : left + width // 2] = 0
        ink[top, left] = 255  # a corner keeps the box
        image = browser.execute_script(
            "return Array.from(normalized(arguments[0], 100, 100, 28, 28))", ink.ravel().tolist()
        )
        image = np.array(image).reshape(28, 28)
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        size = np.ptp(rows) + 1, np.ptp(columns) + 1
        longer = max(height, width)
        assert size == (max(1, round(20 * height / longer)), max(1, round(20 * width / longer)))
        scale = size[0] / height * size[1] / width
        assert image.sum() == pytest.approx(ink.sum() * scale, rel=0.01)
        middle = (image.sum(1) @ np.arange(28) / image.sum(), image.sum(0) @ np.arange(28))
        assert middle[0] == pytest.approx(14, abs=0.5)
        assert middle[1] / image.sum() == pytest.approx(14, abs=0.5)
    assert (
        browser.execute_script("return normalized(arguments[0], 10, 10, 28, 28)", [0] * 100) is None
    )


@pytest.mark.slow
def test_strokes_are_taken_back_and_cleared_by_keys(browser, tmp_path):
    from selenium.webdriver.common.by import By

    html_page.write(_served(mnist_lib.build_model("linear")), tmp_path / "page.html")
    browser.get((tmp_path / "page.html").as_uri())
    body = browser.find_element(By.TAG_NAME, "body")
    context = "document.getElementById('drawing').getContext('2d')"
    seen = f"return Array.from({context}.getImageData(0, 0, 336, 336).data)"
    drawn_pages.draw(browser, [[(0.2, 0.2), (0.8, 0.2)]])
    one = browser.execute_script(seen)
    drawn_pages.draw(browser, [[(0.2, 0.8), (0.8, 0.8)]])
    assert browser.execute_script(seen) != one
    body.send_keys("u")
    assert browser.execute_script(seen) == one
    assert drawn_pages.result(browser).startswith("This is ")
    body.send_keys("c")
    assert not any(browser.execute_script(seen))
    assert drawn_pages.result(browser) == "Draw something."


def test_the_file_is_complete_and_asks_for_nothing(tmp_path):
    """No address in it, scripts and style named by their hashes, texts that stay texts."""
    model = mnist_lib.build_model("fast_cnn")
    evil = "</script><script>alert(1)</script>"
    html_page.write(_served(model, dataset=evil, model='"><b>'), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert not re.search(r"https?:|//[a-z]+\.|\bsrc=|\bhref=|@import|url\(", text)
    assert evil not in text
    assert "&lt;/script&gt;" in text.partition("</title>")[0]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 6
    assert policy.split("; ")[0] == "default-src 'none'"
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == len(scripts) + 1
    about = json.loads(re.search(r'id="model">(.*?)</script>', text, re.DOTALL)[1])
    assert about["facts"]["dataset"] == evil
    assert sum(
        weight["length"]
        for layer in about["layers"]
        for weight in layer.get("weights", {}).values()
    ) == sum(map(math.prod, (w.shape for w in model.weights))) - 2 * (32 + 128)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def _twice() -> keras.Model:
    image = keras.Input((4, 4, 1))
    layer = keras.layers.Conv2D(1, 3, padding="same", name="twice")
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(layer(layer(image)))))


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda k: _small_model(k.LayerNormalization(name="odd")), "odd is a LayerNormalization"),
        (lambda k: _small_model(k.Activation("gelu", name="odd")), "odd is of activation gelu"),
        (lambda k: _small_model(k.Conv2D(2, 2, dilation_rate=2, name="odd")), "odd is dilated"),
        (lambda k: _small_model(k.Conv2D(2, 2, groups=2, name="odd")), "odd is dilated or in g"),
        (lambda k: _small_model(k.BatchNormalization(axis=1, name="odd")), "odd is a batch norm"),
        (lambda k: _small_model(k.ReLU(max_value=6, name="odd")), "odd is a ReLU with a largest"),
        (lambda k: _small_model(k.Rescaling([1.0, 2.0], name="odd")), "odd is a rescaling of each"),
        (lambda k: _twice(), "fed by a layer that is used more than once"),
    ],
)
def test_what_the_page_cannot_compute_is_refused_by_name(build, what, tmp_path):
    model = build(keras.layers)
    with pytest.raises(errors.ConfigError, match=what):
        html_page.write(_served(model), tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_dropout_and_scaling_are_described(tmp_path):
    model = mnist_lib.build_model("cnn")
    described, weights = page_layers.describe(model)
    assert [layer["name"] for layer in described] == [layer.name for layer in model.layers]
    assert len(weights) == 1_199_882
    assert described[1]["scale"] == pytest.approx(1 / 255)
    kinds = {layer["kind"] for layer in described}
    assert {"convolution", "dense", "dropout", "max_pooling", "reshape"} <= kinds
    assert isinstance(model.get_layer("dropout1"), layers.Dropout)


def test_without_chromium_run_says_so(tmp_path, monkeypatch):
    html_page.write(_served(mnist_lib.build_model("linear")), tmp_path / "page.html")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browsers.find_chromium() is None
    with pytest.raises(errors.DataNotFoundError, match=r"no chromium.* on the PATH"):
        html_page.run(tmp_path / "page.html", np.zeros((1, 28, 28), np.uint8))


def test_run_wants_a_page_of_ours(tmp_path):
    (tmp_path / "page.html").write_text("<p>Hello")
    with pytest.raises(errors.CorruptDataError, match=r"page\.html: is not a page of this"):
        html_page.run(tmp_path / "page.html", np.zeros((1, 28, 28), np.uint8))


def test_run_wants_images_of_the_page_s_shape(tmp_path):
    html_page.write(_served(mnist_lib.build_model("linear")), tmp_path / "page.html")
    with pytest.raises(errors.ConfigError, match=r"images: \[2, 28, 27\]; the page takes"):
        html_page.run(tmp_path / "page.html", np.zeros((2, 28, 27), np.uint8))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'it broke' >&2; exit 3", r"ended with 3 \(it broke\)"),
        ("echo '<html></html>'", "Chromium has computed nothing"),
    ],
)
def test_a_chromium_that_fails_is_told_of(tmp_path, monkeypatch, script, message):
    html_page.write(_served(mnist_lib.build_model("linear")), tmp_path / "page.html")
    (tmp_path / "chromium").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(errors.CorruptDataError, match=message):
        html_page.run(tmp_path / "page.html", np.zeros((1, 28, 28), np.uint8))


def test_a_chromium_that_never_ends_is_ended(tmp_path, monkeypatch):
    (tmp_path / "chromium").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 1000\n")
    (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(errors.CorruptDataError, match="did not end within 5 s"):
        browsers.shown_by_chromium(tmp_path / "page.html", tmp_path / "profile", 5)
    group = (tmp_path / "pid").read_text().strip()
    assert group.isdigit()
    deadline = time.monotonic() + 60  # what is killed ends when it has its turn
    while _alive_in_group(group) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _alive_in_group(group) == []


def _alive_in_group(group: str) -> list[str]:
    """The processes of a group, those left out that have ended and wait to be asked how."""
    stats = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            stats.append(path.read_text().rpartition(")")[2].split())
    return [state for state, _, its_group, *_ in stats if its_group == group and state != "Z"]
