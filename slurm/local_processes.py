"""The jobs of this machine that `--local` started."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path


def living(jobs: Mapping[str, Path]) -> dict[str, int]:
    """Those of the processes that are alive, with their parents' ids. One call of `ps`.

    `jobs` has the folder of each one's logs, by which submitit's own process is told from a stranger that got the
    number of a dead one.
    """
    if not jobs:
        return {}
    command = ["ps", "-ww", "-o", "pid=,ppid=,command=", "-p", ",".join(sorted(jobs))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # it fails where none is alive
    found = (line.split(None, 2) for line in done.stdout.splitlines())
    return {pid: int(parent) for pid, parent, text in found if str(jobs[pid].absolute()) in text}


def command_of(pid: int) -> str:
    """The command line of a process; nothing if there is none."""
    done = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
