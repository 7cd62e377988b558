"""Asks Slurm's commands, which may be absent, slow, or for a while without a controller. Needs no torch."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from issbench.bench.launching.launcher import NoAnswer

PATIENCE = 30.0
"""Seconds in which a command that only asks must answer."""
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between the attempts to reach a controller that does not answer."""

_AWAY = re.compile(
    r"unable to contact|connect|timed? ?out|temporarily|communicat|zero bytes|not responding|in standby", re.I
)
"""What Slurm's commands say when the controller, or the accounting, is away or overloaded."""


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    code: int | None
    """Its exit code; None where it was ended because it took too long."""
    out: str
    err: str

    @property
    def words(self) -> str:
        """Slurm's own words, without the names of its programs."""
        lines = [re.sub(r"^(s\w+: )?(error: )?", "", line) for line in self.err.strip().splitlines()]
        if self.code is None:
            return "it did not answer in time"
        return lines[-1] if lines else f"exit code {self.code}"

    @property
    def is_away(self) -> bool:
        """Whether it may be otherwise in a moment."""
        return self.code is not None and self.code != 0 and _AWAY.search(self.err) is not None


def call(command: list[str], patience: float, environment: dict[str, str] | None = None) -> Answer:
    """Run a command, in a group of processes that is ended whole if it takes longer than `patience` seconds.

    NoAnswer where there is no such command.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", env=environment, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        why = "has no" if isinstance(error, FileNotFoundError) else f"cannot start ({error.strerror})"
        raise NoAnswer(
            f"this machine {why} {command[0]}; run this on a login node of the cluster, or use --local"
        ) from None
    try:
        return Answer(*_result(process, patience))
    except BaseException:
        _end(process)
        raise


def _result(process: subprocess.Popen[str], patience: float) -> tuple[int | None, str, str]:
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        _end(process)
        out = err = ""
        with suppress(subprocess.TimeoutExpired):  # what left the group may hold its pipes open
            out, err = process.communicate(timeout=1)
        return None, out, err
    return process.returncode, out, err


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ask_slurm(command: list[str], unknown: str = "", insist: bool = True) -> list[str]:
    """The lines that one of Slurm's commands prints, without empty ones. Where it fails with the words `unknown`,
    nothing. What is away is asked again, with growing pauses, unless the answer is not worth the wait (`insist`).

    NoAnswer where the command is missing, fails, or does not answer.
    """
    environment = os.environ | {"SLURM_BITSTR_LEN": "0"}  # names of many tasks of an array are not cut off
    for attempt, pause in enumerate((*(PAUSES if insist else ()), None)):
        answer = call(command, PATIENCE, environment)
        if answer.code == 0:
            return [line for line in answer.out.splitlines() if line.strip()]
        if unknown and unknown in answer.err:
            return []
        if not answer.is_away or pause is None:
            break
        if attempt == 0:
            print(f"{command[0]}: {answer.words}; asking again for {sum(PAUSES):.0f} s", file=sys.stderr)
        time.sleep(pause)
    within = f" within {PATIENCE:.0f} s" if answer.code is None else ""
    why = f"gave no answer{within}" if answer.code is None else f"failed: {answer.words}"
    raise NoAnswer(f"{command[0]} {why}")
