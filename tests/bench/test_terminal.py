"""What the command writes reaches any terminal, pipe or file, or the command says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import command

from issbench.bench.commands import app
from issbench.bench.commands.support import terminal

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
