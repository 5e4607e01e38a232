"""Serves a page to draw on: what a run's network makes of it, layer by layer.

mnist-lib demo                       # the runs in runs/; trains one if there is none
mnist-lib demo --workdir=runs/mine --port=8080
"""

import contextlib
from collections.abc import Sequence

from absl import flags as absl_flags

from mnist_lib import paths
from mnist_lib.commands import command_line, flags, startup

FLAGS = absl_flags.FLAGS
_PORT = 8028


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    define = absl_flags.DEFINE_string
    define("workdir", None, "run directory, to be shown first", module_name="Run")
    define("runs", "runs", "folder whose runs can be chosen", module_name="Run")
    flags.define_data_flags()
    define(
        "host",
        "127.0.0.1",
        "address to serve on; by default only this machine reaches it",
        module_name="Server",
    )
    absl_flags.DEFINE_integer("port", _PORT, "0: any that is free", module_name="Server")
    command_line.run(_demo, __doc__, arguments)


def _demo() -> None:
    from mnist_lib.serving.demo import addresses

    runs = paths.local("runs", FLAGS.runs)
    workdir = None if FLAGS.workdir is None else paths.local("workdir", FLAGS.workdir)
    with contextlib.suppress(KeyboardInterrupt):  # a server that is told to stop is done
        listening = addresses.listen(FLAGS.host, FLAGS.port)
        startup.start_tensorflow(report_devices=False)
        from mnist_lib.serving.demo import server

        fields = flags.given_fields()
        server.serve(listening, FLAGS.host, runs=runs, workdir=workdir, data=fields)
