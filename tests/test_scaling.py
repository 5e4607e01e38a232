"""The model of docs/scaling.py against the library, published figures and its document."""

import pathlib
import struct
import sys

import keras
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib import choices

DOCS = pathlib.Path(__file__).parent.parent / "docs"
sys.path.append(str(DOCS))

import scaling  # noqa: E402


def test_every_model_is_there():
    """All but those whose batch normalisation reduces on its own."""
    normalised = {"fast_cnn", "strided_cnn", "shallow_cnn", "tiny_cnn", "m3", "m5", "m7"}
    assert set(scaling.LAYERS) == set(choices.MODEL_OPTIONS) - normalised


@pytest.mark.parametrize("model", scaling.LAYERS)
def test_layers_are_those_of_the_model(model):
    found = []
    for layer in mnist_lib.build_model(model).layers:
        if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D):
            *window, outputs = layer.kernel.shape
            positions = layer.output.shape[1:-1]
            found.append((tf.TensorShape(window).num_elements(), outputs, positions))
    assert (
        tuple(
            (inputs, outputs, tf.TensorShape(positions).num_elements())
            for inputs, outputs, positions in found
        )
        == (scaling.LAYERS[model])
    )


@pytest.mark.parametrize("model", scaling.LAYERS)
def test_reduced_bytes_are_those_the_trainer_reduces(model, small_dataset, monkeypatch):
    built = mnist_lib.build_model(model)
    trainer = mnist_lib.Trainer(built, mnist_lib.build_optimizer("sgd", 0.01))
    calls = []
    context = tf.distribute.ReplicaContext
    all_reduce = context.all_reduce

    def counted(self, reduce_op, value, options=None):
        calls.append(sum(part.shape.num_elements() * part.dtype.size for part in value))
        return all_reduce(self, reduce_op, value, options)

    monkeypatch.setattr(context, "all_reduce", counted)
    trainer.train(iter(trainer.distribute(mnist_lib.train_batches(small_dataset.train, 12))), 1)
    assert calls
    assert set(calls) == {scaling.reduced_bytes(model)}


def test_all_reduce_by_hand():
    link = scaling.Link(bandwidth=1e9, hop={"Simple": 1e-3})
    assert scaling.all_reduce_seconds(1e9, 1, link) == 0
    assert scaling.all_reduce_seconds(1e9, 2, link) == pytest.approx(1 + 2e-3 + 8.4e-6)
    assert scaling.all_reduce_seconds(1e9, 4, link) == pytest.approx(1.5 + 6e-3 + 8.4e-6)


def test_step_by_hand_with_a_batch_that_does_not_divide():
    link = scaling.Link(bandwidth=1e9, hop={"Simple": 0.0})
    arithmetic = 43 * 3 * 2 * 7840 / 9.75e12 - 43 * 2 * 7840 / 9.75e12
    reduction = 4 / 3 * 31_412 / 1e9 + 8.4e-6
    expected = scaling.STEP_OVERHEAD + arithmetic + reduction
    assert scaling.step_seconds("linear", 128, 3, link) == pytest.approx(expected, rel=1e-9)


def test_gpus_that_pay():
    free = scaling.Link(bandwidth=1e30, hop={"LL": 0.0}, max_gpus=8)
    slow = scaling.Link(bandwidth=1e6, hop={"LL": 0.0}, max_gpus=8)
    assert scaling.paying_gpus("cnn", 8192, free) == 8
    assert scaling.paying_gpus("cnn", 8192, slow) == 1
    # The batch that suits one GPU best: sqrt(200 * overhead / time of an image) = 153.
    assert scaling.fastest_training("cnn", slow) == (1, 128, 1.0)


def test_published_training_over_a_network_lies_between_no_overlap_and_full_overlap():
    for name, (compute, size, members, link, published) in scaling.TRAINING_CHECKS.items():
        none, full = scaling.efficiency_bounds(
            compute, scaling.all_reduce_seconds(size, members, link)
        )
        if "NVLink" in name:  # too hopeful inside a server, as docs/scaling.md says
            assert 0 < none - published < 0.25, name
        else:
            assert none < published < full, name
            assert published - none < 0.26, name


def test_published_all_reduces():
    for size, bus_bandwidth in scaling.ALL_REDUCE_CHECKS.items():
        published = 2 * 7 / 8 * size / bus_bandwidth
        ours = scaling.all_reduce_seconds(size, 8, scaling.H200)
        assert ours == pytest.approx(published, rel=0.45 if size < 2**20 else 0.2)


def test_latency_between_servers_grows_with_the_hops():
    predicted = scaling.EFA_SECONDS[4] + (2 * 7 - 2 * 3) * scaling.EFA_HOP
    assert predicted == pytest.approx(scaling.EFA_SECONDS[8], rel=0.01)


def test_the_document_has_the_tables():
    text = (DOCS / "scaling.md").read_text()
    for table in scaling.tables():
        assert table in text


def test_the_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    scaling.draw(tmp_path / "scaling.png")
    width, height = struct.unpack(">II", (tmp_path / "scaling.png").read_bytes()[16:24])
    assert (width, height) == (900, 400)
