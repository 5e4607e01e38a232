"""A Slurm cluster of this machine alone: its own daemons, ports, keys and folder."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence

import script_runs

# munged, slurmctld and slurmd may be where only root looks.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scancel", "scontrol", "sinfo")
_SECONDS_TO_START = 90

_SLURM_CONF = """
ClusterName=mnist
SlurmctldHost=localhost
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# A job that is requeued waits for as long as a credential lives, two minutes by default; within
# it a step must have begun, on a machine that may do a lot else.
AuthInfo=socket={folder}/munge.socket,cred_expire=15
MessageTimeout=100
# Tests ask for jobs long after their end, which are forgotten after five minutes by default.
MinJobAge=3600
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
ReturnToService=2
MailProg=/bin/true
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE OverSubscribe=FORCE:4
"""


def why_not() -> str:
    """Returns why no cluster can be started here, or ''."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "slurmd needs root"


class SlurmCluster:
    """Daemons that are there between `start` and `stop`."""

    def __init__(self, folder: pathlib.Path, nodes: Sequence[str] = ("localhost",)):
        """Keeps its arguments.

        Args:
          folder: for all files of the cluster.
          nodes: their names; each is a daemon of this machine.
        """
        self.folder = folder
        self.nodes = nodes
        self.environment = {
            **{name: value for name, value in os.environ.items() if "SLURM" not in name},
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": _PATH,
        }
        self._daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        """Starts the daemons and waits until the node is idle."""
        self.folder.chmod(0o755)
        for name in ("state", *(f"spool-{node}" for node in self.nodes)):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        controller_port, *ports = self._ports()
        nodes = "\n".join(
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=4"
            for node, port in zip(self.nodes, ports, strict=True)
        )
        (self.folder / "slurm.conf").write_text(
            _SLURM_CONF.format(folder=self.folder, controller_port=controller_port, nodes=nodes)
        )
        files = {
            "key-file": "munge.key",
            "socket": "munge.socket",
            "pid-file": "munge.pid",
            "log-file": "munge.log",
            "seed-file": "munge.seed",
        }
        options = [f"--{name}={self.folder / file}" for name, file in files.items()]
        self._start("munged", "--foreground", "--force", *options)
        self._wait_for((self.folder / "munge.socket").exists)
        self._start("slurmctld", "-D", "-c")
        for node in self.nodes:
            self._start("slurmd", "-D", "-N", node)
        self._wait_for(self._all_are_idle)

    def run(self, *command: str, check: bool = True, **options) -> subprocess.CompletedProcess:
        """Runs a command of Slurm, and returns what it says."""
        return subprocess.run(
            command,
            env=self.environment | options.pop("env", {}),
            capture_output=True,
            text=True,
            check=check,
            **options,
        )

    def job(self, number: str) -> dict[str, str]:
        """Returns what Slurm says of a job."""
        told = self.run("scontrol", "show", "job", number).stdout
        return dict(re.findall(r"(\S+?)=(\S*)", told))

    def stop(self) -> None:
        """Ends the jobs, then the daemons, the one last on which the others call."""
        self.run("scancel", "--user=root", check=False, timeout=30)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(timeout=30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _ports(self) -> list[int]:
        """Returns a free port of the controller, then one of each node."""
        ports: set[int] = set()
        while len(ports) < 1 + len(self.nodes):
            ports.add(script_runs.free_port())
        return list(ports)

    def _all_are_idle(self) -> bool:
        states = self.run("sinfo", "-h", "-N", "-o", "%t", check=False).stdout.split()
        return states == ["idle"] * len(self.nodes)

    def _start(self, *command: str) -> None:
        program = shutil.which(command[0], path=_PATH)
        with (self.folder / f"{command[0]}.out").open("a") as out:
            self._daemons.append(
                subprocess.Popen(
                    [program, *command[1:]], env=self.environment, stdout=out, stderr=out
                )
            )

    def _wait_for(self, condition) -> None:
        deadline = time.monotonic() + _SECONDS_TO_START
        while not condition():
            ended = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = [*self.folder.glob("*.log"), *self.folder.glob("*.out")]
                said = "\n".join(f"{log}:\n{log.read_text()[-2000:]}" for log in sorted(logs))
                raise RuntimeError(f"no Slurm cluster here; ended: {ended}\n{said}")
            time.sleep(0.1)
