"""What is asked to end ends soon, with the signal's own exit code and without a traceback, and training resumes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import bench
from forked import Command, Server, server, wait_until
from small_folder import RECIPE, small_folder

from issbench.bench.outcome import read_outcome

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("logs")) as made:
        yield made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data"))


def run(data: Path, out: Path, first_epochs: int = 500) -> list[object]:
    recipe = RECIPE | {"first_epochs": first_epochs}
    settings = [word for key, value in recipe.items() for word in ("--set", f"{key}={value}")]
    where = ["--scenario", "folder_2-1", "--data", data, "--out", out, "--device", "cpu"]
    return ["run", "--methods", "ft", *where, "--workers", 0, *settings]


def trains(out: Path) -> bool:
    return any("epoch 1/500" in log.read_text() for log in out.glob("runs/*/log.txt"))


def ended(command: Command, codes: list[int]) -> str:
    """What a command has said, which ends in this way."""
    assert command.wait() == codes, command.text
    assert "Traceback" not in command.text and not command.runs
    return command.text


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("ranks", [1, 2])
def test_training_ends_after_a_checkpoint(
    forked: Server, data: Path, tmp_path: Path, number: signal.Signals, ranks: int
) -> None:
    """Of several processes all are signalled, or one alone, and all end alike."""
    command = forked.start(*run(data, tmp_path), ranks=ranks)
    wait_until(lambda: trains(tmp_path), command)
    command.signal(number, None if number == signal.SIGINT else ranks - 1)
    text = ended(command, [CODES[number]] * ranks)
    assert "interrupted; the same command resumes where it stopped" in text
    assert ("Ctrl-C again stops at once" in text) == (number == signal.SIGINT and ranks == 1)
    assert len([*tmp_path.glob("steps/*.checkpoint")]) == 1
    outcome = read_outcome(next(tmp_path.glob("runs/*/outcome.json")))
    assert outcome is not None and outcome.state == "interrupted"
    assert "interrupted; the same command resumes it" in bench("status", "--out", tmp_path)


def test_a_second_ctrl_c_stops_at_once(forked: Server, data: Path, tmp_path: Path) -> None:
    """Though the iteration hangs."""
    command = forked.start(*run(data, tmp_path), before=slow("issbench.bench.engine.training.train", 3600))
    wait_until(lambda: "here" in command.text, command)
    command.signal(signal.SIGINT)
    wait_until(lambda: "Ctrl-C again stops at once" in command.text, command)
    assert command.runs
    command.signal(signal.SIGINT)
    ended(command, [-signal.SIGINT])


def test_a_hang_up_is_ignored_under_nohup(forked: Server, data: Path, tmp_path: Path) -> None:
    command = forked.start(
        *run(data, tmp_path), before="import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    )
    wait_until(lambda: trains(tmp_path), command)
    command.signal(signal.SIGHUP)
    before = command.text.count("epoch")
    wait_until(lambda: command.text.count("epoch") > before + 3, command)
    command.signal(signal.SIGTERM)
    ended(command, [143])


SLOW = """
import time, {module} as module
def slow(*given, usual=module.{name}, **named):
    print("here", flush=True)
    time.sleep({seconds})
    return usual(*given, **named)
module.{name} = slow
"""


def slow(place: str, seconds: float = 0.3) -> str:
    """Statements after which a function takes long, and says that it was called."""
    module, _, name = place.rpartition(".")
    return SLOW.format(module=module, name=name, seconds=seconds)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("run", signal.SIGHUP), ("run", signal.SIGTERM), ("two processes", signal.SIGTERM),
        ("data check", signal.SIGINT), ("data stats", signal.SIGTERM), ("predict", signal.SIGTERM),
        ("speed", signal.SIGHUP),
    ],
)  # fmt: skip
def test_other_work_just_ends(
    forked: Server, data: Path, tmp_path: Path, finished: Path, command: str, number: signal.Signals
) -> None:
    """Planning, and every other command that may take long."""
    reading, images = "PIL.Image.open", sorted((data / "images").iterdir())
    words, place = {
        "run": (run(data, tmp_path), "issbench.bench.engine.plan.make_plan"),
        "two processes": (run(data, tmp_path), "issbench.bench.engine.plan.make_plan"),
        "data check": (["data", "check", "folder", "--root", data], reading),
        "data stats": (["data", "stats", "folder_2-1", "--root", data], reading),
        "predict": (["predict", finished, *images, "--output", tmp_path, "--device", "cpu"], reading),
        "speed": (
            ["speed", "--methods", "ft", "--backbone", "tiny", "--crop", 64, "--batch", 2, "--rounds", 99999],
            "issbench.bench.engine.speed.update",
        ),
    }[command]
    ranks = 2 if command == "two processes" else 1
    fresh = f"import os; os.environ['ISSBENCH_CACHE'] = {str(tmp_path / 'cache')!r}\n"
    started = forked.start(*words, ranks=ranks, before=fresh + slow(place))
    wait_until(lambda: "here" in started.text, started)
    time.sleep(0.1)
    started.signal(number)
    text = ended(started, [CODES[number]] * ranks)
    assert text.rstrip().endswith("interrupted") and "bug" not in text


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished step."""
    out = tmp_path_factory.mktemp("finished")
    bench(*run(data, out, first_epochs=1))
    return next(path.parent for path in out.glob("steps/*/seal.json"))
