"""The library in processes of other shapes: orders of import, forks, threads, settings."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap
import venv

import keras
import numpy as np
import pytest

import mnist_lib
from mnist_lib import choices

PACKAGE = pathlib.Path(mnist_lib.__file__).parent


def run_python(code: str, *arguments: object, **environment: str):
    """Runs a program in a process of its own; returns what became of it."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"} | environment,
        timeout=240,
        check=False,
    )


_LOAD = """
import pathlib, sys
import numpy as np
{imports}
folder = pathlib.Path(sys.argv[1])
images = np.load(folder / "images.npy")
for file in sorted(folder.glob("*.keras")):
    model = {load}(file)
    expected = np.load(file.with_suffix(".npy"))
    np.testing.assert_array_equal(model(images).numpy(), expected, file.name)
assert type(model.optimizer).__module__ == "mnist_lib.training.optimizers"
{more}
print("loaded", len(list(folder.glob("*.keras"))))
"""


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory) -> pathlib.Path:
    """Each named model with each activation, one compiled with our optimizer and schedule."""
    folder = tmp_path_factory.mktemp("saved")
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1)).astype(np.uint8)
    np.save(folder / "images.npy", images)
    for name, options in choices.MODEL_OPTIONS.items():
        activations = choices.NAMES["activation"] if "activation" in options else (None,)
        for activation in activations:
            model = mnist_lib.build_model(name, activation=activation)
            file = folder / f"{name}_{activation}.keras"
            np.save(file.with_suffix(".npy"), model(images).numpy())
            model.save(file)
    from mnist_lib.training import optimizers

    optimizer = mnist_lib.build_optimizer("adam", optimizers.LearningRate("cosine", 0.1, 10))
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
    optimizer.build(model.trainable_variables)
    model.save(folder / "z_compiled.keras")
    np.save(folder / "z_compiled.npy", model(images).numpy())
    (folder / "model.json").write_text(model.to_json())
    (folder / "rate.json").write_text(
        json.dumps(keras.saving.serialize_keras_object(optimizers.LearningRate("cosine", 0.1, 10)))
    )
    return folder


_OTHER_WAYS = """
import json
keras.models.model_from_json((folder / "model.json").read_text())
keras.models.clone_model(model)
keras.saving.deserialize_keras_object(json.loads((folder / "rate.json").read_text()))
"""


@pytest.mark.parametrize(
    ("imports", "load", "more"),
    [
        ("import mnist_lib\nimport keras", "keras.models.load_model", _OTHER_WAYS),
        ("import keras\nimport mnist_lib", "keras.saving.load_model", ""),
        ("import tensorflow as tf\nimport mnist_lib", "tf.keras.models.load_model", ""),
        (
            "import mnist_lib, importlib.util, importlib.resources\n"
            "assert importlib.util.find_spec('keras').name == 'keras'\n"
            "import keras\n"
            "assert importlib.resources.files('keras').joinpath('__init__.py').is_file()\n"
            "assert importlib.reload(keras) is keras",
            "keras.models.load_model",
            "",
        ),
    ],
    ids=["ours-first", "keras-first", "tensorflow-first", "looked-for-first"],
)
def test_keras_files_load_after_import_alone(saved_models, imports, load, more):
    done = run_python(_LOAD.format(imports=imports, load=load, more=more), saved_models)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "loaded 26\n"


def test_all_that_registers_itself_is_imported_after_keras():
    registering = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if "@keras.saving.register_keras_serializable" in path.read_text()
    }
    done = run_python("import sys, mnist_lib, keras; print(*sys.modules)")
    assert registering <= set(done.stdout.split())
    assert len(registering) >= 3


def test_another_backend_brings_no_tensorflow():
    """As a stand-in, whose backend is known before anything of it is imported."""
    code = """
    import sys, types
    sys.modules["keras"] = types.SimpleNamespace(
        config=types.SimpleNamespace(backend=lambda: "jax")
    )
    import mnist_lib
    print("tensorflow" in sys.modules, "mnist_lib.models.layers" in sys.modules)
    """
    assert run_python(code).stdout == "False False\n"


_NAMES_IN_THREADS = """
import random, sys, threading
import mnist_lib
names = list(mnist_lib.__all__) * 2
random.Random(0).shuffle(names)
barrier = threading.Barrier(len(names) + 1)
found = []

def look_up(name):
    barrier.wait()
    found.append(getattr(mnist_lib, name))

threads = [threading.Thread(target=look_up, args=[name]) for name in names]
for thread in threads:
    thread.start()
barrier.wait()
import keras
for thread in threads:
    thread.join()
print(len(names) - len(found))
"""


def test_names_can_be_looked_up_in_several_threads_at_once():
    """While another imports Keras."""
    done = run_python(_NAMES_IN_THREADS)
    assert done.stdout == "0\n", done.stderr


def test_only_names_that_need_tensorflow_import_it():
    code = """
    import sys, mnist_lib
    for name in mnist_lib.__all__:
        module = mnist_lib._MODULE_OF.get(name)
        if module in (None, *mnist_lib._WITHOUT_TENSORFLOW):
            getattr(mnist_lib, name)
    print({"tensorflow", "keras"} & set(sys.modules))
    """
    assert run_python(code).stdout == "set()\n"


def _in_threads(function, arguments) -> list:
    with concurrent.futures.ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(function, arguments))


def test_models_are_built_in_several_threads_at_once():
    """Keras's data format is one for all threads."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        models = _in_threads(lambda seed: mnist_lib.build_model("cnn", seed=seed), range(6))
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format(before)
    layers = [layer for model in models for layer in model.layers]
    formats = {layer.data_format for layer in layers if isinstance(layer, keras.layers.Conv2D)}
    assert formats == {"channels_last"}


@pytest.mark.parametrize("num_replicas", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_trainers_in_two_threads_train_as_one_after_the_other(small_dataset, num_replicas):
    """Neither of them in the main thread, on one strategy."""
    strategy = mnist_lib.create_strategy("mirrored", num_replicas)

    def trained(seed: int) -> tuple:
        with strategy.scope():
            model = mnist_lib.build_model("lenet5", dropout=0.2, seed=seed)
            optimizer = mnist_lib.build_optimizer("adam", 1e-3, ema_momentum=0.9)
        trainer = mnist_lib.Trainer(model, optimizer, strategy=strategy)
        metrics = [trainer.train(small_dataset.train, 5, 64, seed=seed) for _ in range(2)]
        with trainer.averaged_weights():
            evaluation = mnist_lib.Evaluator(model, strategy=strategy).evaluate(small_dataset.test)
        return [one.loss for one in metrics], evaluation.loss

    assert _in_threads(trained, [1, 2]) == [trained(1), trained(2)]


_STRICTLY_TYPED = """
import mnist_lib

config = mnist_lib.recipe("fast", seed=1)
reveal_type(config)
seed: str = config.seed
reveal_type(mnist_lib.train_and_evaluate)
mnist_lib.fit
"""


@pytest.mark.slow
def test_a_type_checker_sees_an_editable_install(tmp_path):
    """Of a copy, in an environment of its own; the build takes setuptools from the network."""
    root = PACKAGE.parent
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source / "mnist_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps"]
    done = subprocess.run([*pip, "-e", source], capture_output=True, text=True, check=False)
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("setuptools cannot be fetched: no network")
    assert done.returncode == 0, done.stderr
    (tmp_path / "user.py").write_text(_STRICTLY_TYPED)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir=/dev/null"]
    done = subprocess.run(
        [*mypy, f"--python-executable={python}", "user.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'user.py:5: note: Revealed type is "mnist_lib.runs.config.TrainConfig"' in done.stdout
    assert "user.py:6: error: Incompatible types in assignment (expression has" in done.stdout
    assert 'user.py:7: note: Revealed type is "def (config: mnist_lib.runs.conf' in done.stdout
    assert 'user.py:8: error: Module has no attribute "fit"' in done.stdout
    assert "Found 2 errors in 1 file" in done.stdout
