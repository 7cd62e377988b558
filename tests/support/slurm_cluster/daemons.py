"""Daemons of the test cluster: started in the foreground with a log each, and found again by their process ids."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Daemon:
    """A process. `started` is when, in ticks since the machine did: a process id alone may be another's by now."""

    name: str
    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether it still runs; one that is dead and not yet waited for does not."""
        state, started = _state(self.pid)
        return started == self.started and state != "Z"


def launch(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Daemon:
    """Start a process that outlives this one; what it says goes to `log`."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    return Daemon(name, process.pid, _state(process.pid)[1])


def end(daemon: Daemon, seconds: float = 10.0) -> None:
    """Ask a process to end, and kill it if it has not after `seconds`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not daemon.alive:
            break
        os.kill(daemon.pid, number)
        wait_until(lambda: not daemon.alive, seconds)
    with suppress(ChildProcessError):  # unless another process has started it
        os.waitpid(daemon.pid, os.WNOHANG)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` becomes true in time."""
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return true


def processes_of_jobs(conf: Path) -> Iterator[Daemon]:
    """What the jobs of a cluster still run on this machine: their own processes and Slurm's `slurmstepd`."""
    ours = f"SLURM_CONF={conf}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "comm").read_text().strip()
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended
        in_job = any(entry.startswith(b"SLURM_JOB_ID=") for entry in environment)
        if ours in environment and (in_job or name == "slurmstepd"):
            yield Daemon(name, int(folder.name), _state(int(folder.name))[1])


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the system gives to outgoing connections."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            candidate = socket.socket()
            try:
                candidate.bind(("", random.randrange(20000, 32000)))
            except OSError:
                candidate.close()
                continue
            sockets.append(candidate)
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _state(pid: int) -> tuple[str, str]:
    """The state of a process, such as R or Z, and when it started; empty if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]
