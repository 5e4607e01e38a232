"""Times training loops against each other: interleaved, as ratios within a round.

    report = compare(["mirrored", "fit"], model="mlp", batch_size=128)
    report = measure(["train", "startup"], Request(models=["mlp", "cnn"]))

Each contender lives in a process of its own, set up as its users would set it up,
and waits between its turns. The peers' code is in files of its own: `keras_fit`,
`orbit_loop`, `pytorch_loop`; nothing but these needs what is not installed with
mnist_lib.
"""

from benchmarks.comparison import compare as compare
from benchmarks.contenders import CONTENDERS as CONTENDERS
from benchmarks.contenders import NETWORKS as NETWORKS
from benchmarks.input_cost import measure_input as measure_input
from benchmarks.overhead import measure_overhead as measure_overhead
from benchmarks.settings import measure_settings as measure_settings
from benchmarks.startup import measure_startup as measure_startup
from benchmarks.suite import MEASURES as MEASURES
from benchmarks.suite import Request as Request
from benchmarks.suite import measure as measure
from benchmarks.time_to_accuracy import (
    measure_time_to_accuracy as measure_time_to_accuracy,
)
