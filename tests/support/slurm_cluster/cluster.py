"""Starts and stops the test cluster: munge, MariaDB, slurmdbd, slurmctld and two slurmd.

Everything of it lies in one directory, uses free ports, and leaves the system's own services alone.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from slurm_cluster.configuration import NODES, slurm_conf, slurmdbd_conf
from slurm_cluster.daemons import Daemon, end, free_ports, launch, processes_of_jobs, wait_until

PACKAGES = {
    "munged": "munge",
    "mariadb-install-db": "mariadb-server",
    "mariadbd": "mariadb-server",
    "slurmdbd": "slurmdbd",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
}
"""The programs that the cluster consists of, and Debian's packages with them."""

_MARK = "issbench-test-cluster.json"
"""The file that tells a test cluster from a real one."""
_PATIENCE = 60.0
_LONGEST = 80
"""A socket's path has at most 107 bytes."""


class ClusterError(RuntimeError):
    """The test cluster cannot be started, or is none."""

    exit_code = 1


def start(directory: Path | None = None) -> Path:
    """Start a cluster and return its slurm.conf, to be set as SLURM_CONF, as soon as both nodes are idle.

    `directory` is empty or not there yet. ClusterError tells what is missing, or shows the log of the daemon that
    did not come up; nothing is left running then.
    """
    _check_machine()
    directory = _make_directory(directory)
    conf = directory / "slurm.conf"
    try:
        _Starter(directory).run()
    except BaseException:
        stop(conf)
        raise
    return conf


def stop(conf: Path) -> None:
    """End a cluster's jobs and daemons, and remove its directory."""
    if not is_test_cluster(conf):
        raise ClusterError(
            f"{conf.parent} has no test cluster; `python tests/support/slurm_cluster start` starts one"
        )
    daemons = [Daemon(**entry) for entry in json.loads((conf.parent / _MARK).read_text())]
    if any(daemon.alive for daemon in daemons if daemon.name == "slurmctld"):
        _ask(conf, "scancel", "--user=root")
        wait_until(lambda: not _ask(conf, "squeue", "--noheader").stdout, 15)
    for process in processes_of_jobs(conf):
        end(process)
    for daemon in reversed(daemons):
        end(daemon)
    for process in processes_of_jobs(conf):  # one that a node was just about to start
        end(process)
    shutil.rmtree(conf.parent)


def is_test_cluster(conf: Path) -> bool:
    """Whether this slurm.conf is that of a cluster made here, which tests may use as they like."""
    return (conf.parent / _MARK).is_file()


@contextmanager
def temporary_cluster(directory: Path | None = None) -> Iterator[Path]:
    """A cluster for the time of a block, for this process and its children; gives its slurm.conf."""
    conf = start(directory)
    old = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    try:
        yield conf
    finally:
        if old is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = old
        stop(conf)


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise ClusterError("the test cluster must be started by root, whose jobs its nodes run")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = {package: name for name, package in PACKAGES.items() if not shutil.which(name, path=path)}
    if missing:
        programs, packages = ", ".join(missing.values()), " ".join(missing)
        raise ClusterError(f"{programs} not found; `apt-get install --no-install-recommends {packages}` has it")


def _make_directory(directory: Path | None) -> Path:
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="slurm-"))
    directory = directory.resolve()
    if len(str(directory)) > _LONGEST:
        raise ClusterError(f"--dir {directory} is too long for the path of a socket; choose a shorter one")
    if directory.is_dir() and any(directory.iterdir()):
        raise ClusterError(f"--dir {directory} is not empty; choose another one, or stop the cluster in it")
    for name in ("log", "state", "spool"):
        (directory / name).mkdir(parents=True)
    directory.chmod(0o755)
    (directory / _MARK).write_text("[]\n")
    return directory


class _Starter:
    """Starts the daemons one after the other, each as soon as the one that it needs answers."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.conf = directory / "slurm.conf"
        self.daemons: list[Daemon] = []
        self.complaint = ""

    def run(self) -> None:
        """Everything; returns when both nodes are idle."""
        directory, conf = self.directory, self.conf
        self._configure()
        munge, database = directory / "munge.socket", directory / "mariadb.socket"
        self._launch(
            "munged", "--foreground", "--force", f"--key-file={directory}/munge.key", f"--socket={munge}",
            f"--pid-file={directory}/munged.pid", f"--seed-file={directory}/munge.seed",
            f"--log-file={directory}/munged.log",
        )  # fmt: skip
        self._launch_database(database)
        self._wait("munged", munge.exists)
        self._wait("mariadbd", database.exists)
        self._launch("slurmdbd", "-D")
        self._wait("slurmdbd", self._answers("sacctmgr", "list", "cluster"))
        self._launch("slurmctld", "-D", "-f", str(conf))
        self._wait("slurmctld", self._answers("squeue"))
        for node in NODES:
            self._launch("slurmd", "-D", "-f", str(conf), "-N", node, name=node)
        for node in NODES:
            state = ("sinfo", "--noheader", "--partition=normal", f"--nodes={node}", "--format=%t")
            self._wait(node, self._answers(*state, wanted="idle"))

    def _configure(self) -> None:
        """Write the configuration, and a key of munge's that only this cluster has."""
        host = socket.gethostname().partition(".")[0]
        ports = dict(zip(("slurmctld", "slurmdbd", *NODES), free_ports(2 + len(NODES)), strict=True))
        self.conf.write_text(slurm_conf(self.directory, host, ports))
        secret = {
            "slurmdbd.conf": slurmdbd_conf(self.directory, ports["slurmdbd"]).encode(),
            "munge.key": secrets.token_bytes(128),
        }
        for name, content in secret.items():
            path = self.directory / name
            path.touch(mode=0o600)
            path.write_bytes(content)

    def _launch_database(self, socket: Path) -> None:
        """A database without users and without a port; only root gets at its socket's directory."""
        data = self.directory / "mariadb"
        made = subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db",
             "--auth-root-authentication-method=normal"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if made.returncode:
            raise ClusterError(f"mariadb-install-db failed: {(made.stdout + made.stderr)[-2000:]}")
        self._launch(
            "mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={socket}",
            "--skip-networking", f"--pid-file={self.directory}/mariadbd.pid", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip

    def _launch(self, program: str, *arguments: str, name: str = "") -> None:
        """Start a daemon and note it, so that `stop` finds it."""
        name = name or program
        environment = {
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
            "SLURM_CONF": str(self.conf),
            "MYSQL_UNIX_PORT": str(self.directory / "mariadb.socket"),
        }
        log = self.directory / "log" / f"{name}.log"
        self.daemons.append(launch(name, [program, *arguments], log, environment))
        (self.directory / _MARK).write_text(json.dumps([asdict(daemon) for daemon in self.daemons], indent=1))

    def _answers(self, *command: str, wanted: str = "") -> Callable[[], bool]:
        """A condition: the command succeeds, and prints what is `wanted`. Else its complaint is kept."""

        def answers() -> bool:
            done = _ask(self.conf, *command)
            self.complaint = done.stderr
            return done.returncode == 0 and wanted in done.stdout

        return answers

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Wait for a daemon; ClusterError with the end of its log if it does not come up."""
        daemon = next(each for each in self.daemons if each.name == name)
        if wait_until(lambda: not daemon.alive or ready(), _PATIENCE) and daemon.alive:
            return
        log = (self.directory / "log" / f"{name}.log").read_text(errors="replace")
        how = f"did not answer within {_PATIENCE:.0f} s" if daemon.alive else "ended at once"
        tail = (log + self.complaint).splitlines()[-15:]
        raise ClusterError("\n".join([f"{name} {how}; the end of its log:", *tail]))


def _ask(conf: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm on a cluster."""
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=5, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} had no answer within 5 s")
