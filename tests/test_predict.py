"""A run's model predicts arrays and files: many at once, bad ones named, nothing carried out."""

import gzip
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import mnist_lib
from mnist_lib import errors
from mnist_lib.datasets import idx, synthetic_digits
from mnist_lib.serving import file_predictions, seen
from mnist_lib.serving import predictor as predictors

IMAGES, LABELS = synthetic_digits.draw_digits(600, seed=1)
TEST_IMAGES, TEST_LABELS = synthetic_digits.draw_digits(40, seed=2)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A short run on drawn digits."""
    data = mnist_lib.ImageDataset(
        "drawn",
        mnist_lib.Split("train", IMAGES, LABELS),
        mnist_lib.Split("validation", *synthetic_digits.draw_digits(50, seed=3)),
        mnist_lib.Split("test", TEST_IMAGES, TEST_LABELS),
    )
    config = mnist_lib.recipe("mlp", train_steps=120, batch_size=50, steps_per_loop=20)
    folder = tmp_path_factory.mktemp("runs") / "drawn"
    mnist_lib.train_and_evaluate(config, folder, data=data)
    return folder


@pytest.fixture(scope="module")
def predictor(workdir):
    return mnist_lib.load_predictor(workdir)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The test images as PNG files."""
    folder = tmp_path_factory.mktemp("digits")
    for number, image in enumerate(TEST_IMAGES[..., 0]):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
    return folder


def probabilities_of(found) -> np.ndarray:
    return np.array([one.probabilities for one in found])


def test_images_are_predicted_as_predict_does(workdir, predictor):
    direct = mnist_lib.predict(workdir, TEST_IMAGES)
    np.testing.assert_array_equal(predictor.predict(TEST_IMAGES[..., 0]), direct)
    np.testing.assert_allclose(direct.sum(1), 1, rtol=1e-5)
    assert predictor.class_names == tuple("0123456789")
    assert predictor.dataset == "drawn"
    evaluated = json.loads((workdir / "results.json").read_text())["test"]["num_correct"]
    assert (direct.argmax(1) == TEST_LABELS).sum() == evaluated > 30


def test_pngs_of_images_are_predicted_to_the_bit(predictor, folder, monkeypatch):
    monkeypatch.setattr(predictors, "_BATCH_SIZE", 7)
    found = list(predictor.predict_files([folder]))
    assert [one.file for one in found] == [str(path) for path in sorted(folder.iterdir())]
    np.testing.assert_allclose(
        probabilities_of(found), predictor.predict(TEST_IMAGES), rtol=1e-5, atol=1e-7
    )
    for one, image in zip(found, TEST_IMAGES, strict=True):
        np.testing.assert_array_equal(one.image, image)
        assert one.probability == one.probabilities.max()
        assert one.label == str(one.probabilities.argmax())
        assert 0 <= one.digit_score <= 1


def test_arrays_in_files(predictor, tmp_path):
    images = TEST_IMAGES[..., 0]
    np.save(tmp_path / "a.npy", images)
    np.save(tmp_path / "one.npy", TEST_IMAGES[0])
    (tmp_path / "b-idx3-ubyte").write_bytes(idx.to_idx(images))
    (tmp_path / "c.gz").write_bytes(gzip.compress(idx.to_idx(images)))
    for name in ("a.npy", "b-idx3-ubyte", "c.gz"):
        found = list(predictor.predict_files([tmp_path / name]))
        assert [one.index for one in found] == list(range(40))
        np.testing.assert_array_equal(probabilities_of(found), predictor.predict(images))
    assert len(list(predictor.predict_files([tmp_path / "one.npy"]))) == 1


def test_several_digits_of_a_line(predictor, tmp_path):
    page = np.full((120, 300), 255, np.uint8)
    chosen = [3, 1, 4, 5]
    for number, digit in enumerate(chosen):
        large = np.asarray(Image.fromarray(TEST_IMAGES[digit, ..., 0]).resize((60, 60)))
        page[30:90, 20 + 65 * number : 80 + 65 * number] -= large
    Image.fromarray(page).save(tmp_path / "line.png")
    found = list(predictor.predict_files([tmp_path / "line.png"], several=True))
    assert [one.index for one in found] == [0, 1, 2, 3]
    assert [one.box[0] // 65 for one in found] == [0, 1, 2, 3]
    assert seen.draw_seen(found).axes[1].get_title().startswith(found[0].label)
    (single,) = predictor.predict_files([tmp_path / "line.png"])
    assert single.index is None


class Marker:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def bad_files(folder) -> dict[str, str]:
    """Makes files that cannot be used; returns what is to be said of each."""
    np.save(folder / "pickled.npy", np.array([Marker(folder / "made")], object), allow_pickle=True)
    np.save(folder / "float.npy", np.zeros((3, 28, 28)))
    whole = idx.to_idx(TEST_IMAGES[..., 0])
    (folder / "short.idx").write_bytes(whole[:-10])
    (folder / "large.idx").write_bytes(whole[:4] + b"\xff" * 12)
    (folder / "short.gz").write_bytes(gzip.compress(whole)[:-100])
    np.save(folder / "whole.npy", TEST_IMAGES)
    (folder / "short.npy").write_bytes((folder / "whole.npy").read_bytes()[:-10])
    (folder / "text.png").write_text("no picture")
    Image.new("L", (60, 60), 255).save(folder / "blank.png")
    (folder / "empty").mkdir()
    return {
        "pickled.npy": "pickled objects are never loaded",
        "float.npy": "holds float64 [3, 28, 28], and the run was trained on uint8 images",
        "short.idx": "is no whole IDX file of images",
        "large.idx": "by its header it holds 79,228,162,458,924,105,385,300,197,375 bytes",
        "short.gz": "is no whole IDX file of images",
        "short.npy": "is no whole .npy file of numbers",
        "text.png": "is no PNG, JPEG",
        "blank.png": "is blank",
        "missing.png": "cannot be read (No such file",
        "empty": "is a folder without pictures",
    }


def test_bad_files_are_named_and_the_others_go_on(predictor, folder, tmp_path):
    messages = bad_files(tmp_path)
    good = folder / "00.png"
    files = [path for name in messages for path in (tmp_path / name, good)]
    found = list(predictor.predict_files(files))
    assert [one.file for one in found] == [str(path) for path in files]
    assert [one.error is None for one in found] == [False, True] * len(messages)
    for one, (name, message) in zip(found[::2], messages.items(), strict=True):
        assert str(one.error).startswith(f"{tmp_path}/{name}: ")
        assert message in str(one.error)
        assert one.to_dict() == {"file": str(tmp_path / name), "error": str(one.error)}
    assert not (tmp_path / "made").exists()


def test_wrong_arguments_are_refused_at_once(predictor):
    with pytest.raises(errors.ConfigError, match="background: 'grey' is not one of"):
        predictor.predict_files([], background="grey")
    with pytest.raises(errors.ConfigError, match=r"images: float64 \[2, 28, 28\]; expected uint8"):
        predictor.predict(np.zeros((2, 28, 28)))


@pytest.mark.parametrize("shape", [(28, 28, 1), (20, 30, 1), (32, 32, 3)])
def test_other_data_has_no_digits_that_could_be_looked_for(shape, tmp_path):
    model = keras.Sequential([keras.Input(shape, dtype="uint8"), keras.layers.Flatten()])
    model.add(keras.layers.Dense(3))
    other = predictors.Predictor(model, ("coat", "bag", "shirt"), "clothes")
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    np.save(tmp_path / "x.npy", image[None])
    Image.fromarray(image.squeeze()).save(tmp_path / "x.png")
    Image.fromarray(image[:-2].squeeze()).save(tmp_path / "other.png")
    array, picture, resized = other.predict_files(
        [tmp_path / name for name in ("x.npy", "x.png", "other.png")]
    )
    assert array.label in other.class_names
    assert array.digit_score is None
    if shape[-1] == 1:
        np.testing.assert_array_equal(picture.image, image)
        assert "which are not looked for in pictures" in str(resized.error)
    else:
        assert "Pass a .npy file of such images" in str(picture.error)
    with pytest.raises(errors.ConfigError, match="several: clothes has no digits"):
        other.predict_files([], several=True)


def test_scores_go_from_even_to_certain():
    probabilities = np.array([[0.25] * 4, [0.5, 0.5, 0, 0], [1, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(file_predictions.digit_scores(probabilities), [0, 0.5, 1], atol=1e-6)


def test_whole_models_and_unfinished_runs_are_refused(workdir, tmp_path):
    for name in ("model.keras", "model.h5"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"x")
    kinds = {"model.keras": "a .keras file", "model.h5": "a .h5 file", "saved": "a SavedModel"}
    for name, kind in kinds.items():
        with pytest.raises(errors.ConfigError, match=f"{name} is {kind}, which may hold code"):
            mnist_lib.load_model(tmp_path / name)
    shutil.copy(workdir / "config.json", tmp_path)
    with pytest.raises(errors.CheckpointError, match="has no checkpoint, the run has not come so"):
        mnist_lib.load_predictor(tmp_path)


def run_predict(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mnist_lib", "predict", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command(workdir, predictor, folder, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    show = tmp_path / "seen.png"
    done = run_predict(
        f"--workdir={workdir}", folder, tmp_path / "text.png", f"--show={show}", "--noprogress"
    )
    assert done.returncode == os.EX_DATAERR, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "error: 1 of 41 files could not be used, see above. Pass others."
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [sorted(line) for line in lines[-1:]] == [["error", "file"]]
    expected = predictor.predict(TEST_IMAGES)
    found = np.array([line["probabilities"] for line in lines[:-1]], np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    keys = ["box", "digit_score", "file", "label", "probabilities", "probability"]
    assert sorted(lines[0]) == keys
    assert Image.open(show).width > 500


def test_the_command_ends_with_66_if_files_are_only_missing(workdir, tmp_path):
    done = run_predict(f"--workdir={workdir}", tmp_path / "x.png")
    assert done.returncode == os.EX_NOINPUT
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/x.png: cannot be read (No")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.png"], "--workdir: name the directory of a run"),
        (["--workdir=x"], "file: none is given; name pictures"),
        (["--workdir=x", "--background=grey", "x.png"], "--background: 'grey' is not one of"),
        (["--workdir=x", "--show=x.jpg", "x.png"], "--show: x.jpg does not end in .png"),
    ],
)
def test_bad_flags_end_with_64(arguments, message):
    done = run_predict(*arguments)
    assert done.returncode == os.EX_USAGE
    assert message in done.stderr.splitlines()[-1]
