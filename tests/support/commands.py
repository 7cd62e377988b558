"""Runs `bench` as a user types it, but in this process: to start another and import torch takes longer than most
commands do."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from issbench.bench.commands.app import BUG, main


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The exit code and the output of `bench ARGUMENTS`, which must not meet a bug."""
    words = [*map(str, arguments)]
    said, told = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(told):
        patch.setattr(sys, "argv", ["bench", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    if BUG in told.getvalue():
        raise AssertionError(Path(told.getvalue().strip().rpartition(" ")[2]).read_text(encoding="utf-8"))
    return subprocess.CompletedProcess(words, int(ended.value.code or 0), said.getvalue(), told.getvalue())


def bench(*arguments: object, code: int = 0) -> str:
    """What a command prints, or its message where it must fail with this exit code."""
    done = command(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout
