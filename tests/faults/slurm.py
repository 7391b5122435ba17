"""A real SLURM on this machine: munged, slurmctld and slurmd, in a folder of their own and on ports of their own. As
root: slurmd can start the jobs of nobody else."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.processes import until
from tests.faults.servers import end_with_parent, held_port, port_of

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
GPUS = ("/dev/null", "/dev/zero")  # what SLURM hands out as GPUs: it asks no more of a GPU than a device file
# A job that is put back into the queue waits until the permission of its last start has run out: cred_expire, two
# minutes where nobody says otherwise.
SETTINGS = """\
ClusterName=hpo
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=1000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """What the tests of SLURM lack here, in words; nothing if they can run."""
    if os.geteuid() != 0:
        return "root"
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"{', '.join(lacking)} (Debian: apt-get install slurmctld slurmd slurm-client munge)" if lacking else ""


@dataclass(frozen=True)
class Slurm:
    """A cluster of this machine alone, with sixteen processors and as many GPUs as GPUS names."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def command(self, *words: str, folder: Path | None = None, **variables: str) -> str:
        """What a command of SLURM prints."""
        environment = {**self.environment, **variables}
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, script: Path, *words: str, **variables: str) -> str:
        """The number of the job that runs the script with these words, in the script's folder."""
        return self.command("sbatch", "--parsable", str(script), *words, folder=script.parent, **variables).strip()

    def job(self, number: str) -> dict[str, str]:
        """What SLURM knows of a job, by its own names: JobState, Restarts, ExitCode ..."""
        words = self.command("scontrol", "show", "--oneliner", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """`folder` must lie where only root may write: munge refuses any other place for its key and its socket."""
    folder.mkdir(mode=0o755)
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    holders = [held_port(), held_port()]
    host = socket.gethostname().partition(".")[0]
    controller, node = map(port_of, holders)
    settings = SETTINGS.format(host=host, controller=controller, node=node, folder=folder, gpus=len(GPUS))
    (folder / "slurm.conf").write_text(settings)
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={file}\n" for file in GPUS))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    cluster = Slurm(folder)
    with ExitStack() as stack:
        for words in _daemons(folder):
            stack.enter_context(_running(cluster, *words))
        until(lambda: "idle" in _answer(cluster), 60)
        yield cluster
    for holder in holders:
        holder.close()


def _daemons(folder: Path) -> Iterator[tuple[str, ...]]:
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    yield ("munged", "--foreground", "--force", *(f"--{name}={folder}/munge.{end}" for name, end in files.items()))
    yield ("slurmctld", "-D", "-c", "-f", str(folder / "slurm.conf"))
    yield ("slurmd", "-D", "-c", "-f", str(folder / "slurm.conf"))


@contextmanager
def _running(cluster: Slurm, *words: str) -> Iterator[None]:
    with open(cluster.folder / f"{words[0]}.out", "wb") as log:
        process = subprocess.Popen(
            words, env=cluster.environment, stdout=log, stderr=log, preexec_fn=end_with_parent, start_new_session=True
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _answer(cluster: Slurm) -> str:
    """The states of the nodes; nothing where the controller does not answer yet."""
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], env=cluster.environment, capture_output=True, text=True
    )
    return done.stdout
