"""Canaries: each private name of Keras and TensorFlow that we touch is there and does what we use.

When an upgrade changes one, the test of that name fails before numbers do.
"""

import inspect

import keras
import pytest
import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context
from tensorflow.python.framework import config as framework_config

import mnist_lib
from mnist_lib.distribution import tensorflow_internals
from mnist_lib.training import keras_internals


def _model() -> keras.Model:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5, seed=1)])
    image = keras.Input((4,))
    return keras.Model(image, keras.layers.Dense(2)(inner(image)))


def _built(optimizer):
    model = _model()
    optimizer.build(model.trainable_variables)
    return model, optimizer


def test_flatten_layers():
    model = _model()
    layers = list(model._flatten_layers())
    assert model in layers
    assert any(isinstance(layer, keras.layers.Dropout) for layer in layers)
    assert keras_internals.flat_layers(model) == layers


def test_seed_generators():
    model = _model()
    (dropout,) = [x for x in model._flatten_layers() if isinstance(x, keras.layers.Dropout)]
    assert dropout._seed_generators == [dropout.seed_generator]
    assert keras_internals.seed_generators(model) == [dropout.seed_generator]
    assert "next" not in vars(dropout.seed_generator)
    before = dropout.seed_generator.state.numpy()
    dropout.seed_generator.next()
    assert (before != dropout.seed_generator.state.numpy()).any()


def test_all_reduce_sum_gradients():
    """`apply` calls it by name, on itself, with the gradients, after clipping."""
    model, optimizer = _built(keras.optimizers.SGD(1.0, global_clipnorm=1.0))
    seen = []

    def reduce(gradients_and_variables):
        seen.append(gradients_and_variables)
        return gradients_and_variables

    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        model, optimizer = _built(keras.optimizers.SGD(1.0, global_clipnorm=1.0))
        optimizer._all_reduce_sum_gradients = reduce
        gradients = [tf.ones_like(v) * 100 for v in model.trainable_variables]
        strategy = tf.distribute.get_strategy()
        strategy.run(lambda: optimizer.apply(gradients, model.trainable_variables))
    (pairs,) = seen
    assert float(tf.linalg.global_norm([gradient for gradient, _ in pairs])) < 1.001
    assert inspect.isfunction(keras.optimizers.SGD._all_reduce_sum_gradients)


def test_iterations():
    for optimizer in (
        keras.optimizers.SGD(0.1),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
    ):
        _built(optimizer)
        assert optimizer._iterations.numpy() == 0
    inner = optimizer.inner_optimizer
    assert keras_internals.step_counter(optimizer) is not inner._iterations
    assert keras_internals.updating_optimizers(optimizer) == [inner]
    several = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(inner))
    assert keras_internals.updating_optimizers(several) == [inner]


def test_learning_rate():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    assert keras.optimizers.SGD(schedule)._learning_rate is schedule
    assert keras.optimizers.SGD(0.25)._learning_rate.numpy() == 0.25


def test_model_variables_moving_average():
    model, optimizer = _built(keras.optimizers.SGD(0.1, use_ema=True))
    averages = optimizer._model_variables_moving_average
    variables = model.trainable_variables
    assert [a.shape for a in averages] == [v.shape for v in variables]
    assert list(map(id, optimizer._trainable_variables)) == list(map(id, variables))
    assert keras_internals.moving_averages(optimizer, variables) == list(averages)
    backwards = keras_internals.moving_averages(optimizer, variables[::-1])
    assert backwards == list(averages)[::-1]
    assert keras_internals.moving_averages(_built(keras.optimizers.SGD(0.1))[1], variables) == []


def test_ema_momentum():
    """Read at each update from the attribute, for which a tensor may stand."""
    model, optimizer = _built(keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.9))
    kernel = model.trainable_variables[0]
    average = keras_internals.moving_averages(optimizer, [kernel])[0]
    ones = [tf.ones_like(v) for v in model.trainable_variables]
    optimizer.apply(ones)
    first = average.numpy()
    optimizer.ema_momentum = tf.constant(0.25)
    optimizer.apply(ones)
    assert average.numpy() == pytest.approx(0.25 * first + 0.75 * kernel.numpy())


def test_assign():
    """Layers' `assign` and `assign_add` go through the attribute of the variable."""
    variable = keras.Variable(1.0)
    seen = []
    right = variable.assign
    vars(variable)["assign"] = lambda value: seen.append(value) or right(value)
    variable.assign_add(1.0)
    variable.assign(5.0)
    assert len(seen) == 2
    assert variable.numpy() == 5.0


def test_momentums_velocities_and_variable_index():
    model, optimizer = _built(keras.optimizers.Adam(0.1))
    kernel = model.trainable_variables[0]
    momentum, velocity = keras_internals.adam_slots(optimizer, kernel)
    index = optimizer._get_variable_index(kernel)
    assert momentum is optimizer._momentums[index]
    assert velocity is optimizer._velocities[index]
    optimizer.apply([tf.ones_like(v) for v in model.trainable_variables])
    assert momentum.numpy().ravel()[0] == pytest.approx(0.1)
    assert velocity.numpy().ravel()[0] == pytest.approx(0.001)


def test_add_loss():
    """Layers call it on themselves; replaced on the layer, it is called there."""
    layer = keras.layers.ActivityRegularization(l2=1.0)
    seen = []
    vars(layer)["add_loss"] = seen.append
    layer(tf.ones([2, 3]))
    assert len(seen) == 1
    del vars(layer)["add_loss"]
    layer(tf.ones([2, 3]))
    assert len(layer.losses) == 1


def test_all_is_put_back_after_tracing():
    model, optimizer = _built(keras.optimizers.SGD(0.1))
    things = [*keras_internals.flat_layers(model), *keras_internals.seed_generators(model)]
    before = [set(vars(thing)) for thing in [optimizer, *things]]
    with keras_internals.tracing_a_step(model, optimizer):
        assert "_all_reduce_sum_gradients" in vars(optimizer)
        with keras_internals.tracing_a_step(model, optimizer):  # a trainer within another's trace
            pass
        assert "_all_reduce_sum_gradients" in vars(optimizer)
    assert [set(vars(thing)) for thing in [optimizer, *things]] == before


def test_op_determinism():
    assert framework_config.is_op_determinism_enabled()  # as conftest has set it
    for wanted in (False, True):
        with tensorflow_internals.op_determinism(wanted):
            assert framework_config.is_op_determinism_enabled() is wanted
        assert framework_config.is_op_determinism_enabled()


def test_input_workers_devices():
    strategy = mnist_lib.create_strategy("mirrored", 2)
    before = strategy.extended._input_workers_devices
    assert len(before) == 1  # one worker that feeds both replicas
    options = tf.distribute.InputOptions(
        experimental_fetch_to_device=False,
        experimental_replication_mode=tf.distribute.InputReplicationMode.PER_REPLICA,
    )
    with tensorflow_internals.input_devices_kept(strategy):
        strategy.distribute_datasets_from_function(
            lambda _: tf.data.Dataset.range(4).batch(2), options
        )
        assert len(strategy.extended._input_workers_devices) == 2
    assert strategy.extended._input_workers_devices == before


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        (
            "configure_coordination_service",
            "service_type service_leader heartbeat_timeout_in_ms shutdown_barrier_timeout_in_ms "
            "coordinated_jobs",
        ),
        ("report_error_to_cluster", "error_code error_message"),
        ("wait_at_barrier", "barrier_id timeout_in_ms"),
    ],
)
def test_coordination_service(method, arguments):
    """What they do is tried by the tests of workers."""
    found = inspect.signature(getattr(context.context(), method)).parameters
    assert set(arguments.split()) <= set(found)


def test_coordinated_job():
    job = coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=2)
    assert (job.name, job.num_tasks) == ("worker", 2)


def test_with_graph_control_flow():
    """A user's `if` on a tensor works in a step that is traced without AutoGraph."""

    def own(x):
        if x > 0:
            return x
        return -x

    converted = tensorflow_internals.with_graph_control_flow(own)

    @tf.function(autograph=False)
    def step(x):
        return converted(x)

    assert step(tf.constant(-2.0)) == step(tf.constant(2.0)) == 2.0
    assert converted.__name__ == "own"
