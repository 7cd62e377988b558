"""The script of an array of jobs. Every value in it stands in one word of the shell, whatever is in it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from issbench.bench.launching.profile import CONTROL, Profile
from issbench.errors import UsageError

Option = str | int | bool | None
"""A value of an option of sbatch: True is the option alone, False and None leave it out."""


def script(options: Mapping[str, Option], profile: Profile, logs: Path, command: list[str]) -> str:
    """A script that runs a command of Python in each process of a job. UsageError for a value in two lines."""
    each = ["srun", "--unbuffered", f"--output={_pattern(logs, '%A_%a' if options.get('array') else '%j', '%t')}"]
    each.append("--kill-on-bad-exit=1")  # where one process fails, the others would wait for it
    if profile.cpus:
        each.append(f"--cpus-per-task={profile.cpus}")  # srun no longer takes it from sbatch
    lines = [_line(name, value) for name, value in sorted(options.items()) if value not in (None, False)]
    run = shlex.join([*each, sys.executable, "-u", "-m", *command])
    return "\n".join(["#!/bin/bash", *lines, "", *profile.setup, "export SUBMITIT_EXECUTOR=slurm", run, ""])


def options(
    profile: Profile, name: str, directory: str, logs: Path, jobs: int, at_once: int | None
) -> dict[str, Option]:
    """What an array of so many jobs asks of Slurm; what a profile has under `extra` comes last."""
    return {
        "job-name": name,
        "array": f"0-{jobs - 1}" + (f"%{at_once}" if at_once else "") if jobs > 1 else None,
        "output": _pattern(logs, "%A_%a" if jobs > 1 else "%j", "0"),
        "open-mode": "append",
        "parsable": True,  # sbatch prints the number of the job alone
        "chdir": directory,
        "requeue": True,
        "signal": f"USR2@{profile.grace}",
        "time": profile.minutes,
        "nodes": profile.nodes,
        "ntasks-per-node": profile.tasks_per_node,
        "gpus-per-node": profile.gpus or None,
        "cpus-per-task": profile.cpus,
        "partition": profile.partition,
        "mem": profile.mem,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        **profile.extra,
    }  # fmt: skip


def _pattern(logs: Path, job: str, process: str) -> str:
    """The name of a log, as Slurm fills it in."""
    if "\\" in str(logs):
        raise UsageError(f"{logs}: Slurm cannot write logs to a folder with \\ in its name; choose another --out")
    return f"{str(logs).replace('%', '%%')}/{job}_{process}_log.out"


def _line(name: str, value: Option) -> str:
    if value is True:
        return f"#SBATCH --{name}"
    text = str(value)
    if CONTROL.search(text):
        raise UsageError(
            f"the option {name} of sbatch would be {text!r}; a job's script takes no line breaks there"
        )
    # sbatch reads these words as the shell does, but for \, which it drops even between single quotes.
    word = shlex.quote(text.replace("\\", "\\\\"))
    return f"#SBATCH --{name}={word}"
