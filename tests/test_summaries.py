"""What TensorBoard is given; row 30 of the faults."""

import collections
import resource
import struct

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.histogram import summary_v2 as histogram_plugin
from tensorboard.plugins.hparams import plugin_data_pb2

import mnist_lib
from mnist_lib import errors
from mnist_lib.datasets import record_framing
from mnist_lib.inspection import event_files, event_records, opening_summaries, summaries, weights
from mnist_lib.inspection.opening_summaries import Beginning

TRAIN_TAGS = {
    "metrics/loss",
    "metrics/accuracy",
    "optimizer/objective",
    "optimizer/learning_rate",
    "optimizer/gradient_norm",
    "speed/images_per_second",
    "speed/peak_memory_megabytes",
}


def read_events(folder) -> dict[str, list[int]]:
    """The steps of each tag in the event files of a folder, in the order written."""
    steps = collections.defaultdict(list)
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in event_records.read_events(path):
            for value in event.summary.value:
                steps[value.tag].append(event.step)
            if event.graph_def:
                steps["graph"].append(event.step)
    return dict(steps)


def _metrics(step):
    return mnist_lib.TrainMetrics(10, 100, 50, 100.0 / step, 200.0 / step, 1.0, 0)


def _model():
    return mnist_lib.build_model("fast_cnn")


def _beginning(model, graph=None):
    samples = np.arange(15, dtype=np.uint8).reshape(15, 1, 1, 1).repeat(28, 1).repeat(28, 2)
    return Beginning(
        configuration={"model": "fast_cnn", "learning_rate": 0.5, "seed": 0, "dropout": None},
        differences={"model": "fast_cnn", "learning_rate": 0.5},
        facts={"command": "train | tee"},
        model=model,
        graph=graph,
        samples=samples,
        augmented=samples.astype(np.float32) + 0.6,
    )


def _write(folder, steps, level="default"):
    """What one process logs, up to its end."""
    run, model = summaries.RunSummaries(folder, level), _model()
    opening_summaries.begin(run, _beginning(model, tf.Graph()))
    for step in steps:
        run.training(step, _metrics(step), 0.1, 1000.0)
    matrix = np.array([[3, 1, 0], [0, 0, 0], [0, 2, 2]])
    run.evaluation("validation", steps[-1], mnist_lib.EvalMetrics(8.0, matrix))
    run.weights(steps[-1], model.trainable_variables, {"a": 0.5})
    run.gradients(steps[-1], {"a": np.ones(3)})
    run.end_session(steps[-1])
    run.close()


def _loss_steps(folder):
    return read_events(folder / "train")["metrics/loss"]


def test_no_step_appears_twice_after_a_resume(tmp_path):
    """Nor to a reader that has the files open, nor to one that starts; files stay as they are."""
    readers = []

    def seen():
        readers.append(event_accumulator.EventAccumulator(str(tmp_path / "train")))
        lists = []
        for reader in readers:
            reader.Reload()
            lists.append([event.step for event in reader.Tensors("metrics/loss")])
        assert all(steps == lists[-1] for steps in lists)
        return lists[-1]

    _write(tmp_path, [10, 20, 30, 40])
    (first,) = (tmp_path / "train").iterdir()
    content = first.read_bytes()
    assert seen() == [10, 20, 30, 40]
    _write(tmp_path, [30, 40, 50])  # resumed at 20
    assert seen() == [10, 20, 30, 40, 50]
    _write(tmp_path, [10, 20, 30, 40, 50, 60])  # begun anew: no checkpoint was left
    assert seen() == [10, 20, 30, 40, 50, 60]
    assert first.read_bytes() == content
    assert _loss_steps(tmp_path) == [10, 20, 30, 40, 50, 60]
    for tag, steps in read_events(tmp_path / "train").items():
        assert sorted(set(steps)) == steps, tag


@pytest.mark.parametrize("num_bytes", [1, 5, 200])
def test_what_was_cut_off_or_damaged_is_logged_again(tmp_path, num_bytes):
    run = summaries.RunSummaries(tmp_path, "scalars")
    for step in (10, 20, 30):
        run.training(step, _metrics(step), 0.1, 1000.0)
    run.close()
    (path,) = (tmp_path / "train").iterdir()
    path.write_bytes(path.read_bytes()[:-num_bytes])
    _write(tmp_path, [30, 40])
    assert _loss_steps(tmp_path) == [10, 20, 30, 40]
    reader = event_accumulator.EventAccumulator(str(tmp_path / "train"))
    reader.Reload()
    assert [event.step for event in reader.Tensors("metrics/loss")] == [10, 20, 30, 40]


@pytest.mark.parametrize("lost", ["a part of a record", "a record"])
def test_a_write_that_failed_without_a_word_is_found_by_the_next_flush(tmp_path, lost):
    writer = event_files.EventWriter(tmp_path)
    long = [histogram_plugin.histogram_pb(f"weights/{n}", np.arange(9.0)) for n in range(100)]
    for step in range(12):  # more than TensorFlow buffers
        writer.raw(step, long)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    assert len(content) > 5000
    if lost == "a record":
        (*_, (last, _)) = record_framing.whole_records(path, 0)
        del content[last.offset :]
    else:
        content[5000] ^= 1
    path.write_bytes(content)
    for call in (writer.flush, writer.close):
        with pytest.raises(errors.StorageError, match="a part of what was written is not there"):
            call()
    writer = event_files.EventWriter(tmp_path)  # the next process goes on behind it
    writer.raw(12, long)
    writer.flush()
    writer.close()


@pytest.mark.parametrize("part", ["data", "length"])
def test_one_flipped_bit_takes_one_record(tmp_path, part, caplog):
    """TensorBoard reads no further: what is whole behind it is written again, and said."""
    run = summaries.RunSummaries(tmp_path, "scalars")
    for step in range(10, 110, 10):
        run.training(step, _metrics(step), 0.1, 1000.0)
    run.close()
    (path,) = (tmp_path / "train").iterdir()
    content = bytearray(path.read_bytes())
    with path.open("rb") as stream:
        third = list(record_framing.records(stream, 0, 2**20))[3]  # the first tells the version
    content[third.offset + (20 if part == "data" else 1)] ^= 4
    path.write_bytes(content)
    with caplog.at_level("WARNING"):
        resumed = summaries.RunSummaries(tmp_path, "scalars")
    lost = third.end - third.offset
    assert f"{path}: of what is at byte {third.offset} and after 1 records ({lost} bytes) are" in (
        caplog.text
    )
    assert "and 7 are whole" in caplog.text
    for step in (90, 100, 110):  # from a checkpoint at 80
        resumed.training(step, _metrics(step), 0.1, 1000.0)
    resumed.close()
    every = {event_accumulator.TENSORS: 0}
    reader = event_accumulator.EventAccumulator(str(tmp_path / "train"), every)
    reader.Reload()
    whole = [10, 20, *range(40, 120, 10)]
    for tag in ("metrics/loss", "metrics/accuracy"):
        assert [event.step for event in reader.Tensors(tag)] == whole
    assert path.read_bytes() == content
    caplog.clear()
    again = summaries.RunSummaries(tmp_path, "scalars")
    for step in (110, 120):
        again.training(step, _metrics(step), 0.1, 1000.0)
    again.close()
    reader.Reload()
    assert [event.step for event in reader.Tensors("metrics/loss")] == [*whole, 120]


def test_a_length_that_no_memory_holds_is_not_believed(tmp_path):
    """TensorFlow would end the process: the checksum of the length is right."""
    header = struct.pack("<Q", 2**40)
    header += struct.pack("<I", record_framing.checksum(header))
    folder = tmp_path / "train"
    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.scalar("metrics/loss", 1.0, step=10)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for content in (header, whole + header, whole + header + whole):
        path.write_bytes(content)
        damage = event_records.Damage()
        steps = [event.step for event in event_records.read_events(path, damage)]
        assert steps == [0, 10] * content.count(whole)
        assert damage.num_records == content.endswith(header + whole)
    tensor = tf.compat.v1.Summary.Value(tag="loss").tensor
    tensor.dtype = 1
    tensor.float_val.append(1.0)
    tensor.tensor_shape.dim.add(size=2**40)
    assert event_records.scalar(tf.compat.v1.Summary.Value(tensor=tensor)) is None


def test_a_full_disk_is_named(tmp_path):
    run = summaries.RunSummaries(tmp_path, "scalars")

    def write_much():
        for step in range(1, 1000):
            run.training(step, _metrics(step), 0.1, 1.0)
            run.flush()

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(mnist_lib.errors.StorageError, match="could not be written") as caught:
            write_much()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == 74


def test_levels(tmp_path):
    tags = {}
    for level in ("none", "scalars", "default", "full"):
        _write(tmp_path / level, [1], level=level)
        tags[level] = {
            split: set(read_events(tmp_path / level / split)) for split in (*summaries.SPLITS, "")
        }
    assert not (tmp_path / "none").exists()
    assert tags["scalars"]["train"] == TRAIN_TAGS
    assert tags["scalars"]["validation"] == {"metrics/loss", "metrics/accuracy"}
    assert all(tag.startswith("_hparams_/") for tag in tags["scalars"][""])
    default = tags["default"]["train"] - TRAIN_TAGS
    paths = {f"weights/{variable.path}" for variable in _model().trainable_variables}
    assert default == paths | {
        "run",
        "graph",
        "keras",
        "input/samples",
        "input/augmented",
        "optimizer/update_ratio/a",
    }
    assert {"weights/conv1/kernel", "weights/bn1/gamma", "weights/logits/bias"} <= paths
    assert tags["default"]["validation"] == {
        "metrics/loss",
        "metrics/accuracy",
        "class/accuracy/0",  # of class 1 there are no images
        "class/accuracy/2",
    }
    assert tags["full"]["train"] == tags["default"]["train"] | {"gradients/a"}


def _tensors(folder, tag):
    return {
        event.step: value.tensor if value.HasField("tensor") else value
        for path in sorted(folder.glob("events.out.tfevents.*"))
        for event in event_records.read_events(path)
        for value in event.summary.value
        if value.tag == tag
    }


def test_values_are_those_that_were_given(tmp_path):
    _write(tmp_path, [10, 20])
    scalar = {
        tag: {step: tf.make_ndarray(one).item() for step, one in _tensors(folder, tag).items()}
        for folder, tag in (
            (tmp_path / "train", "metrics/loss"),
            (tmp_path / "train", "optimizer/objective"),
            (tmp_path / "validation", "class/accuracy/0"),
        )
    }
    assert scalar["metrics/loss"] == pytest.approx({10: 0.1, 20: 0.05})
    assert scalar["optimizer/objective"] == pytest.approx({10: 0.2, 20: 0.1})
    assert scalar["class/accuracy/0"] == {20: 0.75}
    (text,) = _tensors(tmp_path / "train", "run").values()
    assert b"| command | `train / tee` |" in text.string_val[0]
    assert b"| learning_rate | `0.5` |" in text.string_val[0]
    (image,) = _tensors(tmp_path / "train", "input/augmented").values()
    pixels = tf.io.decode_png(image.string_val[2]).numpy()
    assert pixels.shape == (3 * 28, 5 * 28, 1)
    np.testing.assert_array_equal(pixels[::28, ::28, 0].ravel(), np.arange(15) + 1)  # rounded
    name = "_hparams_/session_start_info"
    for path in tmp_path.glob("events.out.tfevents.*"):
        for event in event_records.read_events(path):
            for value in event.summary.value:
                if value.tag == name:
                    content = value.metadata.plugin_data.content
    session = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert set(session.hparams) == {"model", "learning_rate", "seed"}


def test_update_ratios_are_norms_of_updates_to_those_of_weights():
    before = {"a": np.array([3.0, 4.0]), "zeros": np.zeros(2)}
    after = {"a": np.array([3.0, 4.5]), "zeros": np.ones(2)}
    assert weights.update_ratios(before, after) == {"a": pytest.approx(0.1)}


def test_gradients_of_the_probe_are_those_of_the_mean_loss():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, name="last")(inputs))
    images, labels = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), np.array([1, 2])
    probe = weights.GradientProbe(
        model, lambda labels, outputs: outputs[:, 0] * tf.cast(labels, tf.float32), images, labels
    )
    (gradient,) = probe.gradients().values()
    np.testing.assert_allclose(gradient[:, 0], (images * labels[:, None]).mean(0))
