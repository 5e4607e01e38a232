"""The library in processes of other shapes: orders of import, forks, threads, settings."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import venv

import keras
import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib import choices, runtime
from mnist_lib.distribution import tensorflow_internals
from mnist_lib.runs import interruption, provenance

PACKAGE = pathlib.Path(mnist_lib.__file__).parent


def run_python(code: str, *arguments: object, **environment: str):
    """Runs a program in a process of its own; returns what became of it."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"} | environment,
        timeout=600,
        check=False,
    )


_LOAD = """
import pathlib, sys
import numpy as np
{imports}
folder = pathlib.Path(sys.argv[1])
images = np.load(folder / "images.npy")
files = sorted(folder.glob("*.keras"))[::-{every}]
assert files[0].name == "z_compiled.keras"
for file in reversed(files):
    model = {load}(file)
    expected = np.load(file.with_suffix(".npy"))
    # Another process may get other kernels: what this machine rounds is not what is tested.
    np.testing.assert_allclose(model(images).numpy(), expected, 1e-3, 1e-5, err_msg=file.name)
assert type(model.optimizer).__module__ == "mnist_lib.training.optimizers"
{more}
print("loaded", len(files))
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
        pytest.param(
            *("import tensorflow as tf\nimport mnist_lib", "tf.keras.models.load_model", ""),
            marks=pytest.mark.slow,
        ),
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
    """All of them, in one order of imports; in the others some, of which one is compiled."""
    every = 1 if more else 9
    code = _LOAD.format(imports=imports, load=load, more=more, every=every)
    done = run_python(code, saved_models)
    assert done.returncode == 0, done.stderr
    num_models = len(list(saved_models.glob("*.keras")))
    assert num_models > len(choices.MODEL_OPTIONS)
    assert done.stdout == f"loaded {-(-num_models // every)}\n"


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


def test_a_run_in_another_thread_leaves_signals_alone():
    """Only the main thread can say what is done about them."""

    def handler_in_run(number: int):
        with interruption.stop_on_signal() as stop:
            assert not stop.is_requested
            return signal.getsignal(number)

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert _in_threads(handler_in_run, [signal.SIGINT, signal.SIGTERM]) == before
    assert handler_in_run(signal.SIGTERM) != before[1]


_FORKS = """
import multiprocessing, os
import numpy as np
import mnist_lib
from mnist_lib import runtime

def in_fork(function):
    number = os.fork()
    if number:
        return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    try:
        function()
        code = 0
    except mnist_lib.errors.ConfigError as error:
        print(error, flush=True)
        code = error.exit_code
    os._exit(code)

def mean(number):
    split = mnist_lib.Split("train", np.full((2, 3, 3, 1), number, np.uint8), np.zeros(2, int))
    return float(split.images.mean())

def build():
    assert mnist_lib.build_model("linear").count_params() == 7850

print(in_fork(runtime.check_not_forked), "nothing imported")
import keras
import tensorflow as tf
print(in_fork(build), "imported and not used")
print(tf.config.threading.get_inter_op_parallelism_threads(), "threads")
tf.constant(1.0)
print(in_fork(build), "used")
print(in_fork(lambda: in_fork(build)), "a fork of a fork")
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(mean, [1, 2]), "without TensorFlow")
build()
"""


def test_a_fork_of_a_process_that_used_tensorflow_is_refused_it():
    done = run_python(_FORKS, PYTHONUNBUFFERED="1")  # else a fork prints what its parent held
    lines = done.stdout.splitlines()
    refused = "start_method: this process was forked from one that had used TensorFlow, which"
    assert [line.startswith(refused) for line in (lines[3], lines[5])] == [True, True], done.stderr
    assert lines[3].endswith("get_context('spawn') or 'forkserver'")
    assert [line for line in lines if not line.startswith(refused)] == [
        "0 nothing imported",
        "0 imported and not used",
        "0 threads",
        f"{os.EX_USAGE} used",
        "0 a fork of a fork",
        "[1.0, 2.0] without TensorFlow",
    ], done.stderr


_ENTRIES = """
import os, signal, sys
import numpy as np
import mnist_lib

images = np.zeros((4, 28, 28, 1), np.uint8)
split = mnist_lib.Split("train", images, np.zeros(4, np.int32))
data = mnist_lib.ImageDataset("own", split, split, split)
model = mnist_lib.build_model("linear")
trainer = mnist_lib.Trainer(model, mnist_lib.build_optimizer("sgd", 0.1))
evaluator = mnist_lib.Evaluator(model)
batches = mnist_lib.train_batches(split, 2)
trainer.train(batches, 1)
config = mnist_lib.recipe("mlp", train_steps=1, batch_size=2)
entries = {
    "build_model": lambda: mnist_lib.build_model("linear"),
    "build_optimizer": lambda: mnist_lib.build_optimizer("sgd", 0.1),
    "create_strategy": lambda: mnist_lib.create_strategy("mirrored"),
    "train_batches": lambda: mnist_lib.train_batches(split, 2),
    "eval_batches": lambda: mnist_lib.eval_batches(split),
    "distribute_batches": lambda: mnist_lib.distribute_batches(batches, trainer.strategy),
    "Trainer": lambda: mnist_lib.Trainer(model, trainer.optimizer),
    "Trainer.distribute": lambda: trainer.distribute(batches),
    "Trainer.train": lambda: trainer.train(batches, 1),
    "Evaluator.evaluate": lambda: evaluator.evaluate(split),
    "train_and_evaluate": lambda: mnist_lib.train_and_evaluate(config, sys.argv[1], data=data),
    "load_model": lambda: mnist_lib.load_model(sys.argv[1]),
    "evaluate": lambda: mnist_lib.evaluate(sys.argv[1]),
    "predict": lambda: mnist_lib.predict(sys.argv[1], images),
    "check_replica_parity": lambda: mnist_lib.check_replica_parity(lambda: model),
}
for name, entry in entries.items():
    number = os.fork()
    if not number:
        signal.alarm(10)
        try:
            entry()
        except BaseException as error:
            if "start_method: this process was forked" in str(error):
                os._exit(0)
            print(name, repr(error), flush=True)
        os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    if code:
        print(name, code, flush=True)
print("all", len(entries))
"""


def test_each_entry_to_tensorflow_refuses_such_a_fork(tmp_path):
    done = run_python(_ENTRIES, tmp_path / "run")
    assert done.stdout == "all 15\n", done.stderr


_SETTINGS = """
import json, sys
from mnist_lib import runtime
assert "keras" not in runtime.applied_settings()
import keras
if sys.argv[1:]:
    keras.config.set_floatx(sys.argv[1])
print(json.dumps(runtime.applied_settings()["keras"]))
try:
    runtime.check_floatx()
except runtime.errors.ConfigError as error:
    print(error)
"""


@pytest.mark.parametrize("call", ["", pytest.param("float16", marks=pytest.mark.slow)])
def test_keras_settings_are_recorded_and_another_floatx_refused(tmp_path, call):
    """As its file has them, and as a call does."""
    file = tmp_path / "keras.json"
    file.write_text('{"floatx": "float64", "epsilon": 1e-5, "image_data_format": "channels_first"}')
    done = run_python(_SETTINGS, *call.split(), KERAS_HOME=str(tmp_path))
    recorded, refused = done.stdout.splitlines()
    assert json.loads(recorded) == {
        "backend": "tensorflow",
        "dtype_policy": call or "float64",
        "epsilon": 1e-5,
        "floatx": call or "float64",
        "image_data_format": "channels_first",
    }
    where = "keras.config.set_floatx" if call else file
    assert refused.startswith(f"floatx: is {call or 'float64'}, set by {where}; what a ")


def test_what_is_in_force_by_calls_is_recorded_and_differences_are_said(monkeypatch):
    first = runtime.applied_settings()
    runtime.check_floatx()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    keras.config.set_epsilon(1e-6)
    tf.config.optimizer.set_jit("autoclustering")
    try:
        now = runtime.applied_settings()
    finally:
        keras.config.set_epsilon(first["keras"]["epsilon"])
        tf.config.optimizer.set_jit(False)
    said = list(
        provenance.differences({"runtime": first}, {"runtime": json.loads(json.dumps(now))})
    )
    assert "runtime keras epsilon was 1e-07, is 1e-06" in said
    assert "runtime environment OMP_NUM_THREADS was None, is 1" in said
    assert any(line.startswith("runtime auto_jit was ") for line in said)
    assert len(said) == 3


def test_a_configured_run_refuses_another_floatx(small_dataset, tmp_path):
    config = mnist_lib.recipe("mlp", train_steps=1, batch_size=100)
    keras.config.set_floatx("float64")
    try:
        with pytest.raises(mnist_lib.errors.ConfigError, match="floatx: is float64, set by keras"):
            mnist_lib.train_and_evaluate(config, tmp_path / "run", data=small_dataset)
    finally:
        keras.config.set_floatx("float32")


def test_operations_are_deterministic_while_any_thread_wants_it():
    """Of two that overlap and end in the order in which they began."""
    before = tensorflow_internals.framework_config.is_op_determinism_enabled()
    wanting = tensorflow_internals.op_determinism(True)
    other = tensorflow_internals.op_determinism(False)
    seen = []
    for change in (wanting.__enter__, other.__enter__, wanting.__exit__, other.__exit__):
        change(*(() if "enter" in change.__name__ else (None, None, None)))
        seen.append(tensorflow_internals.framework_config.is_op_determinism_enabled())
    assert seen == [True, True, False, before]


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
