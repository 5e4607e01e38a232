"""Times training loops against each other: interleaved, as ratios within a round.

    report = compare(["mirrored", "fit"], model="mlp", batch_size=128)
    report = measure(["train", "startup"], Request(models=["mlp", "cnn"]))

Each contender lives in a process of its own, set up as its users would set it up,
and waits between its turns. The peers' code is in files of its own: `keras_fit`,
`orbit_loop`, `pytorch_loop`; nothing but these needs what is not installed with
mnist_lib.
"""

from mnist_lib.benchmark.comparison import compare as compare
from mnist_lib.benchmark.contenders import CONTENDERS as CONTENDERS
from mnist_lib.benchmark.contenders import NETWORKS as NETWORKS
from mnist_lib.benchmark.input_cost import measure_input as measure_input
from mnist_lib.benchmark.overhead import measure_overhead as measure_overhead
from mnist_lib.benchmark.settings import measure_settings as measure_settings
from mnist_lib.benchmark.startup import measure_startup as measure_startup
from mnist_lib.benchmark.suite import MEASURES as MEASURES
from mnist_lib.benchmark.suite import Request as Request
from mnist_lib.benchmark.suite import measure as measure
from mnist_lib.benchmark.time_to_accuracy import (
    measure_time_to_accuracy as measure_time_to_accuracy,
)
