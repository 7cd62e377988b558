"""What the command writes reaches any terminal, pipe or file, or the command says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import bench, command
from submissions import submission, submitted

from issbench.bench.commands import app
from issbench.bench.commands.support import terminal
from issbench.bench.launching.submissions import jobs_dir, outcome_path
from issbench.bench.outcome import write_outcome

PUBLISHED = ("table", "--published", "main")  # a table with –, − and ─


def process(
    *words: str, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """`bench WORDS` in a process of its own; its standard output is read unless `stdout` says where it goes."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "check": False} | options
    return subprocess.run([sys.executable, "-m", "issbench", *words], env={**os.environ, **(env or {})}, **given)


def test_a_terminal_of_few_letters_gets_the_table_in_those() -> None:
    done = process(*PUBLISHED, env={"PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0 and done.stderr == b""
    _, rule, *lines = done.stdout.decode("latin-1").splitlines()
    assert rule == "-" * len(rule) and all(len(line) <= len(rule) for line in lines if line.startswith("GSC"))
    assert "a printed" in done.stdout.decode("latin-1") and "\\u" not in done.stdout.decode("latin-1")


def test_the_locale_c_gets_the_table() -> None:
    done = process(*PUBLISHED, env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert done.returncode == 0 and done.stderr == b"" and b"GSC" in done.stdout


def test_a_reader_that_has_seen_enough_ends_the_command_in_silence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = process(*PUBLISHED, stdout=writing)
    os.close(writing)
    assert done.returncode == 1 and done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_one_message() -> None:
    with Path("/dev/full").open("w") as full:
        done = process(*PUBLISHED, stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "error: standard output cannot be written: No space left on device; send it elsewhere"
    ]


def test_a_message_steers_no_terminal(tmp_path: Path) -> None:
    done = command("report", "--out", tmp_path / "\x1b[31mred\u202e")
    assert done.returncode == 2 and "�[31mred�" in done.stderr
    assert "\x1b" not in done.stderr and "\u202e" not in done.stderr


@pytest.mark.parametrize("count", [1, 25])
def test_names_and_logs_of_others_steer_no_terminal(count: int, tmp_path: Path) -> None:
    evil = "\x1b]0;x\x07\u202e\x9b31m[red]a\nb[b]\\"
    shown = "�]0;x���31m[red]a b[b]\\"
    runs = [submitted(f"{evil}{place:02}", f"sweep-1.{place}", method=evil) for place in range(count)]
    submission(tmp_path, *runs, launcher="local")
    jobs = jobs_dir(tmp_path, "sweep-1")
    for place, run in enumerate(runs):
        write_outcome(outcome_path(jobs, f"sweep-1.{place}"), "failed", f"reason {evil}")
        (jobs / f"sweep-1.{place}_0_log.err").write_text(f"last {evil}\r\n")
        (tmp_path / "runs" / run.run).mkdir(parents=True)
        (tmp_path / "runs" / run.run / "log.txt").write_text(f"first {evil}\r\n")
    told = bench("status", "--failed", "--out", tmp_path) + bench("status", "--out", tmp_path)
    told += bench("logs", runs[0].run, "--out", tmp_path) + bench("cancel", runs[0].run, "--out", tmp_path)
    assert shown in told and f"reason {shown}" in told
    assert "first �]0;x���31m[red]a\nb[b]\\\n" in told
    assert not set(told) & set("\x1b\x07\u202e\x9b\r")


def test_a_bug_is_one_message_and_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("division of what?")

    monkeypatch.setattr(app, "app", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        app.main()
    (kept,) = tmp_path.iterdir()
    assert ended.value.code == 1
    said = (
        f"error: ZeroDivisionError: division of what?; this is a bug of issbench: please report it, with {kept}\n"
    )
    assert capsys.readouterr().err == said
    assert "in broken" in kept.read_text() and "ZeroDivisionError" in kept.read_text()


def test_letters_without_an_equal_become_question_marks() -> None:
    terminal.prepare()
    assert "disk – 猫 ≥ é 1ᵃ".encode("ascii", "issbench") == b"disk - ? > e 1a"
