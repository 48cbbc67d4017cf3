"""A Slurm of two nodes on this machine, from Debian's packages: real daemons on loopback.

Without systemd, cgroups, accounting or a database; root is needed. Everything that it writes lies
in one folder, and every daemon ends with the process that started it.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

from tailproof.runtime.process import die_with_parent

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "unshare")
NODES = ("node1", "node2")  # each has a feature of its name, so that a job can ask for it
NODE = (
    "NodeName={name} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=60000 Feature={name} "
    "Gres=gpu:stand_in:{gpus} State=UNKNOWN"
)
CPUS, GPUS = 8, 4  # that each node claims, whatever this machine has
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")  # where the daemons are, and not on every user's path
Found = TypeVar("Found")

CONFIGURATION = """\
ClusterName=test
SlurmctldHost=controller(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# cred_expire is also how long a requeued job waits before it starts again; by default 120 s.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
PriorityType=priority/basic
SlurmdParameters=config_overrides
SlurmdTimeout=10
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs.txt
MinJobAge=86400
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
{nodes}
PartitionName=normal Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """Two nodes, up while the block runs.

    Args:
        folder: of all its files; an existing one.

    Attributes:
        environment: in which Slurm's commands, and Snakemake, talk to this cluster.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "etc" / "slurm.conf")}
        self._path = os.pathsep.join((os.environ["PATH"], *SYSTEM_FOLDERS))
        self._daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Cluster":
        missing = [name for name in PROGRAMS if shutil.which(name, path=self._path) is None]
        assert not missing, f"not installed: {', '.join(missing)}; run make test-slurm"
        assert os.geteuid() == 0, "slurmd, and hosts of its own for each, need root"
        try:
            self._configure()
            self._start_munge()
            self._start("controller", "slurmctld", "-D")
            for node in NODES:
                self.start_node(node)
            self.wait(lambda: self._idle() == len(NODES))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if "controller" in self._daemons and self._daemons["controller"].poll() is None:
            self.run("scancel", "--user=root")  # a job's processes outlive their slurmd
            end = time.monotonic() + 30
            while self.run("squeue", "--noheader").strip() and time.monotonic() < end:
                time.sleep(0.2)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands; return what it says, errors too."""
        done = subprocess.run(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout

    def jobs(self) -> dict[str, dict[str, str]]:
        """Return what Slurm knows of each job, by its comment, such as rule_train_…_expert_0."""
        shown = self.run("scontrol", "--oneliner", "show", "job").splitlines()
        found = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in shown]
        return {job["Comment"]: job for job in found if "Comment" in job}

    def wait(self, found: Callable[[], Found]) -> Found:
        """Wait until `found` returns something, and return it; pytest's limit is the only one."""
        while not (result := found()):
            ended = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            assert not ended, f"these ended: {ended}"
            time.sleep(0.25)
        return result

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self._start(node, "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """Kill at once what runs on a node, as if its power failed."""
        slurmd = self._daemons.pop(node)
        namespace = Path(f"/proc/{slurmd.pid}/ns/uts").readlink()
        for process in psutil.pids():
            with suppress(OSError):  # it ended meanwhile
                if Path(f"/proc/{process}/ns/uts").readlink() == namespace:
                    os.kill(process, signal.SIGKILL)
        slurmd.wait()

    def _configure(self) -> None:
        folder = self.folder
        for name in ("etc", "log", "munge", "controller", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1] % 20000 + 10000
        nodes = [
            NODE.format(name=name, port=number, cpus=CPUS, gpus=GPUS)
            for number, name in enumerate(NODES, port + 1)
        ]
        (folder / "etc" / "slurm.conf").write_text(
            CONFIGURATION.format(folder=folder, port=port, nodes="\n".join(nodes))
        )
        gpus = [folder / f"gpu{number}" for number in range(GPUS)]
        for gpu in gpus:
            os.mknod(gpu, 0o20666, os.makedev(1, 3))  # a device like /dev/null
        (folder / "etc" / "gres.conf").write_text(
            "".join(f"Name=gpu Type=stand_in File={gpu}\n" for gpu in gpus)
        )
        names = " ".join(("localhost", "controller", socket.gethostname(), *NODES))
        (folder / "etc" / "hosts").write_text(f"127.0.0.1 {names}\n")
        Path("/etc/slurm").mkdir(exist_ok=True)

    def _start_munge(self) -> None:
        folder = self.folder
        folder.chmod(0o755)
        (folder / "munge").chmod(0o700)
        (folder / "munge" / "key").write_bytes(os.urandom(128))
        (folder / "munge" / "key").chmod(0o400)
        self._spawn(
            "munge",
            "munged",
            "--foreground",
            "--force",
            f"--key-file={folder}/munge/key",
            f"--seed-file={folder}/munge/seed",
            f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/log/munged.log",
        )
        self.wait((folder / "munge.socket").exists)

    def _start(self, host: str, *command: str) -> None:
        """Start a daemon on a host of its own, for which the folder etc is /etc/slurm.

        A job finds slurm.conf there only: Snakemake's plugin takes SLURM_CONF from its `srun`.
        """
        etc = self.folder / "etc"
        within = (
            'hostname "$1" && mount --bind "$2/hosts" /etc/hosts && mount --bind "$2" /etc/slurm'
            ' && shift 2 && exec "$@"'
        )
        self._spawn(
            host, "unshare", "--uts", "--mount", "sh", "-c", within, "-", host, str(etc), *command
        )

    def _spawn(self, name: str, *command: str) -> None:
        with open(self.folder / "log" / f"{name}.txt", "ab") as output:
            self._daemons[name] = subprocess.Popen(
                command,
                env=self.environment | {"PATH": self._path},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - no other thread works
            )

    def _idle(self) -> int:
        return self.run("sinfo", "--noheader", "--Node", "--format=%T").split().count("idle")
