"""A SLURM cluster of two nodes on this machine: the real daemons, in a mount namespace where the nodes have names."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .projects import wait_until

PROGRAMS = ("slurmctld", "slurmd", "munged", "srun", "nsenter", "unshare")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=3600
SlurmdTimeout=0
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.2 Port={ports[2]} CPUs=1
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=120
PartitionName=high Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


def lacking() -> str:
    """Why there can be no cluster here; empty where there can."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"not installed: {', '.join(missing)} (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "only root may start SLURM's daemons and mount"


class Cluster:
    def __init__(self, root: Path, namespace: int) -> None:
        self._enter = ["nsenter", "--target", str(namespace), "--mount", f"--wdns={Path.cwd()}"]
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "SLURM_"))}
        self._environment |= {
            "SLURM_CONF": f"{root}/slurm.conf",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
            "ACCELERATE_MIXED_PRECISION": "no",
            "DVC_NO_ANALYTICS": "1",
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self._enter, *command], env=self._environment, text=True)

    def run(self, folder: Path, *command: str, code: int = 0) -> str:
        """What a command prints that runs in a folder and ends with `code`."""
        place = [*self._enter[:-1], f"--wdns={folder}"]
        done = subprocess.run([*place, *command], env=self._environment, capture_output=True, text=True, timeout=1800)
        assert done.returncode == code, (command, done.stdout, done.stderr)
        return done.stdout

    def job(self, number: str) -> dict[str, str]:
        """What SLURM knows of a job."""
        words = self.run(Path("/"), "scontrol", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)


@contextmanager
def cluster(root: Path) -> Iterator[Cluster]:
    """Two idle nodes, called n1 and n2, at two loopback addresses; the daemons end with the block."""
    ports = []
    with ExitStack() as taken:
        for _ in range(3):
            listener = taken.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports.append(listener.getsockname()[1])
    (root / "slurm.conf").write_text(CONFIGURATION.format(host=socket.gethostname(), ports=ports, root=root))
    (root / "hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()} n1\n127.0.0.2 n2\n")
    (root / "munge.key").write_bytes(secrets.token_bytes(1024))
    (root / "munge.key").chmod(0o600)
    for name in ("state", "n1", "n2"):
        (root / name).mkdir()
    munge = [f"--{option}={root}/munge.{option[:-5]}" for option in ("key-file", "pid-file", "seed-file", "log-file")]
    hold = ["unshare", "--mount", "sh", "-c", f"mount --bind {root}/hosts /etc/hosts && echo held && exec sleep inf"]
    with ExitStack() as ends:

        def keep(process: subprocess.Popen[str]) -> None:
            ends.callback(process.wait)
            ends.callback(process.terminate)

        holder = subprocess.Popen(hold, stdout=subprocess.PIPE, text=True)
        keep(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        made = Cluster(root, holder.pid)
        keep(made.start("munged", "--foreground", "--force", f"--socket={root}/munge.socket", *munge))
        wait_until((root / "munge.socket").exists, "munge's socket")
        keep(made.start("slurmctld", "-D"))
        for node in ("n1", "n2"):
            keep(made.start("slurmd", "-D", "-N", node))
        wait_until(lambda: _idle(made) == 2, "two idle nodes")
        yield made


def _idle(cluster: Cluster) -> int:
    try:
        return cluster.run(Path("/"), "sinfo", "--noheader", "--Node", "--partition=low", "--format=%T").count("idle")
    except AssertionError:  # the controller does not answer yet
        return 0
