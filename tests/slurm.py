"""A Slurm of one node on this machine, real but for accounting: `sacct`, which submitit asks for
the states of jobs, is answered from squeue. Nothing of it listens outside this machine.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "munged")

CONF = """\
ClusterName=local
SlurmctldHost=localhost
SlurmctldPort={port}
SlurmdPort={port2}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
EnforcePartLimits=ALL
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
KillWait=2
MinJobAge=86400
ReturnToService=2
NodeName=localhost CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
SlurmdParameters=config_overrides
"""

SACCT = """\
#!/bin/sh
ids=; while [ $# -gt 0 ]; do case $1 in -j) ids="$ids${ids:+,}$2"; shift;; esac; shift; done
echo "JobID|State|NodeList"
exec squeue -h -r -t all -j "$ids" -o '%i|%T|%N'
"""


def missing() -> str:
    """Why there can be no Slurm here; "" where there can."""
    absent = [name for name in PROGRAMS if not shutil.which(name)]
    if absent:
        return f"no Slurm here ({', '.join(absent)}: packages slurmctld slurmd slurm-client munge)"
    if os.getuid() != 0:
        return "a Slurm of one node is started by root only"
    with suppress(OSError):
        socket.gethostbyname(socket.gethostname())
        return ""
    return f"the name of this machine, {socket.gethostname()}, has no address"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Slurm:
    """Started in a folder; `environment` is what its clients need."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir()
        ports = dict(port=free_port(), port2=free_port())
        (folder / "slurm.conf").write_text(CONF.format(folder=folder, **ports))
        (folder / "bin" / "sacct").write_text(SACCT)
        (folder / "bin" / "sacct").chmod(0o755)
        key = folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
        places = ("socket=munge.sock", "pid-file=munged.pid", "log-file=munged.log")
        places = [f"--{what}={folder / name}" for what, name in (p.split("=") for p in places)]
        seed = f"--seed-file={folder / 'munge.seed'}"
        subprocess.run(["munged", f"--key-file={key}", *places, seed, "--force"], check=True)
        self.controller()
        subprocess.run(["slurmd", "-f", folder / "slurm.conf"], check=True)
        self.wait_for(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"))

    def controller(self):
        """Starts slurmctld, which goes on with the jobs that it had."""
        subprocess.run(["slurmctld", "-f", self.folder / "slurm.conf"], check=True)

    def ask(self, *words) -> str:
        environment = os.environ | self.environment
        with suppress(subprocess.TimeoutExpired):
            return subprocess.run(
                words, env=environment, capture_output=True, text=True, timeout=10
            ).stdout
        return ""

    def wait_for(self, condition, seconds=60.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.ask("squeue", "-a", "-t", "all")
            time.sleep(0.2)

    def jobs(self, *states) -> list[str]:
        return self.ask("squeue", "-h", "-r", "-t", ",".join(states), "-o", "%i").split()

    def kill(self, name):
        """Ends one of its daemons."""
        with suppress(OSError, ValueError):
            pid = int((self.folder / f"{name}.pid").read_text())
            os.kill(pid, signal.SIGTERM)
            self.wait_for(lambda: not Path(f"/proc/{pid}").exists(), 20)

    def stop(self):
        for job in self.jobs("RUNNING", "PENDING"):
            self.ask("scancel", "--signal=KILL", "--full", job)
        for name in ("slurmd", "slurmctld", "munged"):
            self.kill(name)
