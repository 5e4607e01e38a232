"""Exports: each format gives the run's answers where this library is not, or leaves nothing."""

import dataclasses
import errno
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib import choices, errors, locks
from mnist_lib.runs import ensembles
from mnist_lib.serving.exports import (
    checking,
    formats,
    litert,
    litert_converter,
    litert_int8,
    onnx_file,
    plain_layers,
    saved_model,
    served,
    targets,
)

for package in ("ai_edge_litert", "tf2onnx", "onnxruntime"):
    pytest.importorskip(package)

FORMATS = [name for name in choices.NAMES["export_format"] if name != "html"]
NAMES = tuple("0123456789")


@pytest.fixture(scope="module")
def workdir(small_dataset, tmp_path_factory) -> pathlib.Path:
    """A run of the model with batch normalisation, evaluated with averages of its weights."""
    folder = tmp_path_factory.mktemp("run") / "one"
    config = mnist_lib.recipe(
        "fast", train_steps=30, batch_size=64, ema_momentum=0.9, summaries="none", eval_every=15
    )
    mnist_lib.train_and_evaluate(config, folder, data=small_dataset)
    return folder


def served_model(model: keras.Model, **changes) -> served.ServedModel:
    height, width, channels = model.input_shape[1:]
    names = tuple(map(str, range(model.output_shape[-1])))
    made = served.ServedModel(
        model, names, (height, width, channels), "small", "last", 1, mnist_lib.TrainConfig()
    )
    return dataclasses.replace(made, **changes)


def probabilities_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    images = tf.constant(images.reshape(-1, *model.input_shape[1:]))
    return tf.nn.softmax(model(images, training=False)).numpy()


def files_in(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_gives_the_run_s_answers(name, workdir, small_dataset, tmp_path):
    output = tmp_path / "new folder" / f"[mine]{formats.FORMATS[name].ending}"
    report = mnist_lib.export(workdir, name, output, data=small_dataset)
    assert report["num_images"] == 203
    assert report["num_labels_that_differ"] <= (1 if name == "litert_int8" else 0)
    assert report["greatest_probability_difference"] < (0.1 if name == "litert_int8" else 1e-5)
    results = json.loads((workdir / "results.json").read_text())
    assert report["run_num_correct"] == results["test"]["num_correct"] > 150
    assert report["images_per_second"] > 0
    assert (report["step"], report["checkpoint"], report["model"]) == (30, "last", "fast_cnn")
    at = output / "export.json" if name == "saved_model" else f"{output}.export.json"
    assert json.loads(pathlib.Path(at).read_text()) == report
    written = [path for path in output.rglob("*") if path.is_file()] or [output]
    sizes = {path.name: path.stat().st_size for path in written}
    sizes.pop("export.json", None)
    assert report["bytes"] == sum(sizes.values())
    assert not [path for path in output.parent.iterdir() if path.name.startswith(".")]


def test_a_saved_model_takes_any_number_of_images(workdir, small_dataset, tmp_path):
    saved_model.write(served.load_served(workdir), tmp_path / "1", None)
    signature = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    images = small_dataset.test.images[..., 0]
    expected = mnist_lib.predict(workdir, images)
    for count in (0, 1, 7):
        answers = signature(images=tf.constant(images[:count]))
        assert set(answers) == {"logits", "probabilities", "label"}
        np.testing.assert_allclose(answers["probabilities"], expected[:count], atol=1e-6)
        np.testing.assert_array_equal(answers["label"], expected[:count].argmax(-1))
        np.testing.assert_allclose(
            tf.nn.softmax(answers["logits"]), answers["probabilities"], atol=1e-6
        )
    (argument,) = signature.structured_input_signature[1].values()
    assert (argument.dtype, argument.shape.as_list()) == (tf.uint8, [None, 28, 28])


def test_int8_is_whole_numbers_from_end_to_end(small_dataset, tmp_path):
    images = small_dataset.train.images[:50, ..., 0] // 2  # darker than pixels can be
    model = served_model(mnist_lib.build_model("fast_cnn"))
    litert_int8.write(model, tmp_path / "int8.tflite", images)
    from ai_edge_litert import interpreter as interpreters

    interpreter = interpreters.Interpreter(str(tmp_path / "int8.tflite"))
    kinds = {np.dtype(tensor["dtype"]) for tensor in interpreter.get_tensor_details()}
    assert not [kind for kind in kinds if kind.kind == "f"], kinds
    (image,) = interpreter.get_input_details()
    assert image["dtype"] is np.uint8
    assert image["quantization"] == (1.0, 0)  # a pixel is its own code


_ANSWER_ALL = """
import importlib.util, json, pathlib, sys
import numpy as np
sys.modules["mnist_lib"] = None
reader, *artefacts = sys.argv[1:]
spec = importlib.util.spec_from_file_location("reader", reader)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for artefact in artefacts:
    images = np.load(artefact + ".images.npy")
    probabilities, labels = module.load(artefact)(images)
    # In int8 the largest probabilities can be equal where the logits are not.
    assert (probabilities[np.arange(len(labels)), labels] == probabilities.max(-1)).all()
    np.save(artefact + ".npy", probabilities)
"""


def _check_all(cases, folder):
    """Writes models in every format, and has one fresh process per format answer for all."""
    expected = {}
    rng = np.random.default_rng(0)
    for name in FORMATS:
        (folder / name).mkdir()
    for number, (model, changes) in enumerate(cases):
        shape = changes.get("image_shape", (28, 28, 1))
        images = rng.integers(0, 256, (40, *shape)).astype(np.uint8)
        images = images.reshape(-1, *(shape[:2] if shape[2] == 1 else shape))
        built = mnist_lib.build_model(model, seed=number, **changes)
        for variable in built.non_trainable_variables:
            if variable.path.endswith(("moving_mean", "moving_variance")):
                # Of a smaller variance ten layers answer all images alike: 1 for one class.
                low = -0.2 if variable.path.endswith("mean") else 0.5
                variable.assign(rng.uniform(low, low + 0.5, variable.shape))
        expected[number] = probabilities_of(built, images)
        for name in FORMATS:
            path = folder / name / f"{number}{formats.FORMATS[name].ending}"
            formats.FORMATS[name].writer_module().write(served_model(built), path, images)
            np.save(f"{path}.images.npy", images)
    for name in FORMATS:
        ending = formats.FORMATS[name].ending
        reader = pathlib.Path(formats.__file__).with_name(f"{formats.FORMATS[name].reader}.py")
        names = [f"{number}{ending}" for number in expected]
        command = [sys.executable, "-P", "-c", _ANSWER_ALL, str(reader), *names]
        done = subprocess.run(
            command, cwd=folder / name, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        tolerance = 0.05 if name == "litert_int8" else 1e-5
        for number, probabilities in expected.items():
            found = np.load(folder / name / f"{number}{ending}.npy")
            label = f"{name} {cases[number]}"
            np.testing.assert_allclose(found, probabilities, atol=tolerance, err_msg=label)
            assert np.ptp(found, axis=0).max() > 1e-3, label  # not the same for all images


@pytest.mark.slow
def test_all_models_activations_and_other_shapes_in_every_format(tmp_path):
    cases = [(name, {}) for name in choices.NAMES["model"]]
    cases += [("fast_cnn", {"activation": name}) for name in choices.NAMES["activation"]]
    cases += [("mlp", {"activation": "maxout", "dropout": 0.5}), ("lenet5", {"pooling": "average"})]
    cases += [
        (name, {"image_shape": (32, 36, 3), "num_classes": 3}) for name in ("cnn", "fast_cnn")
    ]
    _check_all(cases, tmp_path)


@pytest.mark.slow
def test_precisions_that_runtimes_lack_become_float32(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28)).astype(np.uint8)
    for precision, num_members in itertools.product(("bfloat16", "float16"), (0, 2)):
        built = [
            mnist_lib.build_model(
                "lenet5", activation="maxout", mixed_precision=precision, seed=seed
            )
            for seed in range(max(num_members, 1))
        ]
        model = served_model(ensembles.build(built) if num_members else built[0])
        assert model.precision == precision
        expected = probabilities_of(model.model, images)
        for module, name in ((litert, "a.tflite"), (onnx_file, "a.onnx")):
            module.write(model, tmp_path / name, None)
            found, _ = module.load(str(tmp_path / name))(images)
            np.testing.assert_allclose(found, expected, atol=5e-3)
    assert served_model(mnist_lib.build_model("linear")).precision == "float32"


def test_an_ensemble_of_images_that_are_moved_is_exported(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 28, 28)).astype(np.uint8)
    members = [mnist_lib.build_model("fast_cnn", seed=seed) for seed in range(2)]
    model = served_model(ensembles.build(members, test_time_shift=1))
    expected = probabilities_of(model.model, images)
    for module, name in ((litert, "a.tflite"), (onnx_file, "a.onnx")):
        module.write(model, tmp_path / name, None)
        found, _ = module.load(str(tmp_path / name))(images)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["litert", "litert_int8", "onnx"])
def test_own_data_of_other_classes_and_shape(name, tmp_path):
    rng = np.random.default_rng(0)

    def split(kind, size):
        labels = rng.integers(0, 3, size)
        images = rng.integers(0, 100, (size, 32, 32, 3)).astype(np.uint8)
        images[np.arange(size), :, :, labels] += 120
        return mnist_lib.Split(kind, images, labels)

    splits = [split(kind, size) for kind, size in (("train", 300), ("validation", 0), ("test", 90))]
    data = mnist_lib.ImageDataset("colours", *splits, class_names=("red", "green", "blue"))
    config = mnist_lib.recipe(
        "linear", train_steps=40, batch_size=50, summaries="none", validation_size=0
    )
    mnist_lib.train_and_evaluate(config, tmp_path / "run", data=data)
    report = mnist_lib.export(tmp_path / "run", name, data=data)
    assert report["class_names"] == ["red", "green", "blue"]
    assert report["image_shape"] == [32, 32, 3]
    assert report["num_images"] == 90
    assert pathlib.Path(report["output"]).parent == tmp_path / "run" / "exports"
    if name == "litert_int8":
        assert report["num_calibration_images"] == 300  # of training images: no others are there
    with pytest.raises(errors.ConfigError, match="trained on colours, which the catalogue lacks"):
        mnist_lib.export(tmp_path / "run", name, overwrite=True)


@pytest.mark.slow
def test_the_page_s_python_loads_each_format(workdir, small_dataset, tmp_path):
    page = pathlib.Path(__file__).parents[1] / "docs" / "exports.md"
    if not page.exists():
        pytest.skip("the pages are in the checkout")
    images = small_dataset.test.images[:9, ..., 0]
    np.save(tmp_path / "digits.npy", images)
    folder = tmp_path / "runs" / "mine" / "exports"
    for name in FORMATS:
        mnist_lib.export(
            workdir, name, folder / formats.FORMATS[name].file_name, data=small_dataset
        )
    expected = mnist_lib.predict(workdir, images)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(blocks) == len(FORMATS)
    for block in blocks:
        code = f"import sys; sys.modules['mnist_lib'] = None\n{block}"
        code += "np.savez('found.npz', labels=labels, probabilities=probabilities)"
        subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, check=True)
        with np.load(tmp_path / "found.npz") as found:
            np.testing.assert_array_equal(found["labels"], expected.argmax(-1), err_msg=block)
            np.testing.assert_allclose(found["probabilities"], expected, atol=0.1, err_msg=block)
        (tmp_path / "found.npz").unlink()


def test_the_best_checkpoint_too(workdir, small_dataset, tmp_path):
    report = mnist_lib.export(
        workdir, "onnx", tmp_path / "a.onnx", checkpoint="best", data=small_dataset
    )
    assert report["checkpoint"] == "best"
    assert report["step"] in (15, 30)


def test_a_file_that_is_there_is_kept_unless_asked(workdir, small_dataset, tmp_path):
    output = tmp_path / "a.onnx"
    output.write_text("mine")
    with pytest.raises(errors.OutputError, match=r"is there already.*--overwrite"):
        mnist_lib.export(workdir, "onnx", output, data=small_dataset)
    assert output.read_text() == "mine"
    mnist_lib.export(workdir, "onnx", output, data=small_dataset, overwrite=True)
    assert files_in(tmp_path) == ["a.onnx", "a.onnx.export.json"]
    assert output.stat().st_size > 100_000
    output.unlink()
    with pytest.raises(errors.OutputError, match=r"export.json: is there already"):
        mnist_lib.export(workdir, "onnx", output, data=small_dataset)
    output.mkdir()
    with pytest.raises(errors.OutputError, match="is not a file"):
        mnist_lib.export(workdir, "onnx", output, overwrite=True)


def test_a_folder_is_replaced_whole_or_kept(tmp_path):
    chosen, output = formats.FORMATS["saved_model"], tmp_path / "one"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    with pytest.raises(errors.OutputError, match=r"is there already.*--overwrite"):
        targets.checked_target(chosen, tmp_path, output, overwrite=False)
    with pytest.raises(errors.OutputError, match="is not a SavedModel, and is left"):
        targets.checked_target(chosen, tmp_path, output, overwrite=True)
    (output / "saved_model.pb").touch()
    target = targets.checked_target(chosen, tmp_path, output, overwrite=True)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(errors.StorageError), target.being_made():
        raise full
    assert files_in(tmp_path) == ["mine.txt", "one", "saved_model.pb"]
    with target.being_made() as made:
        made.mkdir()
        (made / "theirs.txt").write_text("theirs")
        target.write_report(made, {"format": "saved_model"})
        assert files_in(output) == ["mine.txt", "saved_model.pb"]
    assert files_in(tmp_path) == ["export.json", "one", "theirs.txt"]


def test_a_wrong_weight_is_noticed_and_leaves_what_was_there(
    workdir, small_dataset, tmp_path, monkeypatch
):
    """As a converter with a fault would write it."""
    convert = litert_converter.convert

    def convert_wrongly(model, *arguments):
        wrong = keras.models.clone_model(model)
        weights = model.get_weights()
        weights[-1] = weights[-1] + np.eye(10)[3].astype(np.float32) * 0.5
        wrong.set_weights(weights)
        return convert(wrong, *arguments)

    monkeypatch.setattr(litert_converter, "convert", convert_wrongly)
    message = "differ on the labels of .* Nothing is left of it"
    with pytest.raises(errors.ExportError, match=message) as caught:
        mnist_lib.export(workdir, "litert", tmp_path / "new" / "a.tflite", data=small_dataset)
    assert caught.value.exit_code == os.EX_SOFTWARE
    assert files_in(tmp_path) == []
    (tmp_path / "a.tflite").write_text("former")
    with pytest.raises(errors.ExportError, match=message):
        mnist_lib.export(
            workdir, "litert", tmp_path / "a.tflite", data=small_dataset, overwrite=True
        )
    assert files_in(tmp_path) == ["a.tflite"]
    assert (tmp_path / "a.tflite").read_text() == "former"


def test_a_label_too_many_and_what_is_no_number_fail():
    found = {
        "num_images": 10_000,
        "num_labels_that_differ": 0,
        "greatest_probability_difference": 1e-4,
    }
    int8, floats = formats.FORMATS["litert_int8"], formats.FORMATS["onnx"]
    checking._check_same(floats, "float32", found)
    checking._check_same(int8, "float32", found | {"num_labels_that_differ": 20})
    for chosen, wrong in (
        (floats, {"num_labels_that_differ": 1}),
        (int8, {"num_labels_that_differ": 21}),
        (floats, {"greatest_probability_difference": 2e-3}),
        (floats, {"greatest_probability_difference": float("nan")}),
        (int8, {"greatest_probability_difference": float("nan")}),
    ):
        with pytest.raises(errors.ExportError):
            checking._check_same(chosen, "float32", found | wrong)
    with pytest.raises(errors.ExportError, match="computes in bfloat16"):
        checking._check_same(floats, "bfloat16", found | {"num_labels_that_differ": 1})
    assert [checking.most_differing(int8, count) for count in (1, 203, 500, 501)] == [1, 1, 1, 2]


def test_a_file_that_cannot_be_loaded_fails_the_export(
    workdir, small_dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        onnx_file, "write", lambda served, path, _: path.write_bytes(b"no model at all")
    )
    with pytest.raises(errors.ExportError, match=r"in a fresh process \(onnxruntime.*InvalidProto"):
        mnist_lib.export(workdir, "onnx", tmp_path / "a.onnx", data=small_dataset)
    assert files_in(tmp_path) == []


def test_a_page_is_asked_in_chromium_and_without_one_says_that_it_was_not(
    workdir, small_dataset, tmp_path, monkeypatch
):
    pytest.importorskip("mnist_lib.serving.exports.html_page")
    from mnist_lib.serving.exports import browsers

    has_chromium = browsers.find_chromium() is not None
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "nothing"))
        report = mnist_lib.export(workdir, "html", tmp_path / "a.html", data=small_dataset)
    assert (report["checked"], report["not_checked_because"]) == (False, "no Chromium")
    assert json.loads((tmp_path / "a.html.export.json").read_text()) == report
    if has_chromium:
        report = mnist_lib.export(workdir, "html", tmp_path / "b.html", data=small_dataset)
        assert (report["checked"], report["num_labels_that_differ"]) == (True, 0)
        assert report["greatest_probability_difference"] < 1e-5


def test_a_full_disk_leaves_nothing(workdir, small_dataset, tmp_path, monkeypatch):
    def write(served, path, images):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(onnx_file, "write", write)
    with pytest.raises(errors.StorageError, match="No space left on device"):
        mnist_lib.export(workdir, "onnx", tmp_path / "a.onnx", data=small_dataset)
    assert files_in(tmp_path) == []


def test_what_cannot_be_exported_is_refused_before_anything_is_made(
    workdir, small_dataset, tmp_path, monkeypatch
):
    def refused(kind, message, *arguments, **options):
        with pytest.raises(kind, match=message):
            mnist_lib.export(*arguments, **{"data": small_dataset, **options})

    refused(errors.ConfigError, "format: 'h5' is not one of saved_model, keras", workdir, "h5")
    refused(
        errors.ConfigError, "output: .*a.onnx does not end in .keras", workdir, "keras", "a.onnx"
    )
    refused(errors.ConfigError, "checkpoint: 'first'", workdir, "onnx", checkpoint="first")
    refused(errors.DataNotFoundError, "no config.json there", tmp_path / "none", "onnx")
    refused(errors.OutputError, "not a writable directory", workdir, "onnx", "/proc/version/a.onnx")
    refused(
        errors.ConfigError,
        "has 4 classes, and the run .* 10",
        workdir,
        "onnx",
        data=mnist_lib.ImageDataset(
            "small", *_three_splits(np.zeros((4, 28, 28, 1))), class_names="abcd"
        ),
    )
    refused(
        errors.ConfigError,
        r"test images of \[14, 14, 1\]; the run in .* takes \[28, 28, 1\]",
        workdir,
        "onnx",
        data=mnist_lib.ImageDataset("small", *_three_splits(np.zeros((4, 14, 14, 1)))),
    )
    lacking = dataclasses.replace(formats.FORMATS["onnx"], packages=("no_such_package",))
    monkeypatch.setitem(formats.FORMATS, "onnx", lacking)
    message = r"needs no_such_package; pip install 'mnist_lib\[export\]'"
    refused(errors.ConfigError, message, workdir, "onnx")
    assert not (workdir / "exports").exists()
    assert files_in(tmp_path) == []


def _three_splits(images):
    labels = np.arange(len(images))
    return [
        mnist_lib.Split(name, images.astype(np.uint8), labels) for name in choices.NAMES["split"]
    ]


def test_an_unfinished_run_is_refused(workdir, small_dataset, tmp_path):
    for name in ("config.json", "run.json"):
        (tmp_path / name).write_bytes((workdir / name).read_bytes())
    with pytest.raises(errors.DataNotFoundError, match=r"results.json: .* is not finished"):
        mnist_lib.export(tmp_path, "onnx", data=small_dataset)
    assert files_in(tmp_path) == ["config.json", "run.json"]


@keras.saving.register_keras_serializable(package="tests")
class Doubling(keras.layers.Layer):
    def call(self, x):
        return 2 * x


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return self.dense(keras.layers.Flatten()(x))


def test_layers_for_which_keras_has_nothing_are_named():
    def model_with(layer):
        image = keras.Input((8, 8, 1), dtype="uint8")
        x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
        return keras.Model(image, keras.layers.Dense(3)(layer(x)), name="own")

    for layer, name in (
        (Doubling(), "Doubling"),
        (keras.layers.Lambda(lambda x: 2 * x), "Lambda"),
        (keras.layers.Activation(tf.math.erf), "erf"),
    ):
        with pytest.raises(
            errors.ConfigError, match=f"own has .*{name}.*choose format saved_model"
        ):
            plain_layers.with_plain_layers(model_with(layer))
    subclassed = Subclassed()
    subclassed(np.zeros((1, 8, 8, 1)))
    with pytest.raises(errors.ConfigError, match="code of its own"):
        plain_layers.with_plain_layers(subclassed)


def test_plain_layers_within_layers_keep_names_and_training_behaviour():
    inner = mnist_lib.build_model("mlp", activation="maxout", dropout=0.4, num_classes=6)
    model = keras.Sequential([keras.Input((28, 28, 1), dtype="uint8"), inner, keras.layers.ReLU()])
    plain = plain_layers.with_plain_layers(model)
    assert {type(layer).__module__.split(".")[0] for layer in plain.layers[0].layers} == {"keras"}
    names = [layer.name for layer in inner.layers if "dropout" in layer.name]
    for dropout in (plain.layers[0].get_layer(name) for name in names):
        assert (type(dropout), dropout.rate) == (keras.layers.Dropout, 0.4)
    images = np.random.default_rng(0).integers(0, 256, (9, 28, 28, 1)).astype(np.uint8)
    np.testing.assert_allclose(plain(images), model(images), atol=1e-6)


def test_an_operation_that_litert_lacks_is_named():
    image = keras.Input((4, 4, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Lambda(lambda x: tf.math.igamma(x + 1, x), output_shape=(16,))(x)
    model = keras.Model(image, keras.layers.Dense(2)(x))
    with pytest.raises(errors.ConfigError, match="no built-in operation for Igamma"):
        litert_converter.convert(model, (4, 4))


def test_what_a_killed_export_has_left_is_removed_by_the_next_one(tmp_path):
    killed, at_work, new = (tmp_path / f".export-{name}" for name in ("killed", "at_work", "new"))
    for folder in (killed, at_work, new):
        folder.mkdir()
        (folder / "made").write_text("half")
        if folder is not new:
            os.utime(folder, (0, 0))
    with locks.acquire(at_work / ".lock", "output"):
        os.utime(at_work, (0, 0))
        target = targets.ExportTarget(tmp_path / "page.html", is_folder=False, overwrite=False)
        with target.being_made() as made:
            made.write_text("whole")
            target.write_report(made, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".export-at_work",
        ".export-new",
        "page.html",
        "page.html.export.json",
    ]
