"""Two workers of one run, as processes: on loopback, or wherever a test puts them."""

import json
import os
import subprocess
import time

from script_runs import SHORT_RUN, data_flags, free_port, newest_step, script_command

# A hang is what takes longer: --worker_timeout_seconds=20, what a process needs to start and to
# end, and all of it several times where the machine does a lot else.
DEADLINE_AND_END_SECONDS = 240
WORKER_FLAGS = [*SHORT_RUN, "--strategy=multi_worker_mirrored"]


class Pair:
    """Two workers of one run."""

    def __init__(
        self,
        workdir,
        data,
        *flags,
        of_worker=((), ()),
        hosts=("127.0.0.1", "127.0.0.1"),
        run_by=((), ()),
        environments=({}, {}),
    ):
        """Starts both.

        Args:
          workdir, data: of both.
          *flags: of both.
          of_worker: further flags of each.
          hosts: the address of each.
          run_by: the command that starts the command of each.
          environments: further variables of each.
        """
        self.addresses = [f"{host}:{free_port()}" for host in hosts]
        self.processes = [
            subprocess.Popen(
                [
                    *run_by[index],
                    *script_command("scripts/train.py", f"--workdir={workdir}"),
                    *(*data_flags(data), *WORKER_FLAGS, *flags, *of_worker[index]),
                ],
                env=os.environ | {"TF_CONFIG": self._tf_config(index)} | environments[index],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(2)
        ]

    def _tf_config(self, index: int) -> str:
        task = {"type": "worker", "index": index}
        return json.dumps({"cluster": {"worker": self.addresses}, "task": task})

    def wait(self, index: int, timeout_seconds: float = 600) -> tuple[int, str, str]:
        """Returns exit code, standard output and the last line of standard error."""
        try:
            out, err = self.processes[index].communicate(timeout=timeout_seconds)
        finally:
            self.processes[index].kill()
        return self.processes[index].returncode, out, (err.strip().splitlines() or [""])[-1]

    def wait_for_step(self, workdir, step: int) -> None:
        while newest_step(workdir) < step and not self.has_ended():
            time.sleep(0.01)

    def has_ended(self) -> bool:
        """Whether one of them has."""
        return any(process.poll() is not None for process in self.processes)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
