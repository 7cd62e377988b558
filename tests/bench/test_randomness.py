"""What a method draws at random follows from the experiment: not from what ran before, nor beside it."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from listed_folder import listed_folder
from plug_in import installed
from small_folder import RECIPE

import issbench
from issbench import Experiment
from issbench.bench.engine.progress import Reporter
from issbench.bench.outcome import read_outcome
from issbench.methods.interface.registry import load_method
from issbench.results.record import Record

SETTINGS = RECIPE | {"first_epochs": 3, "epochs": 3}
METHOD = """
    import random
    import numpy as np
    import torch
    from issbench.methods.method import Method

    def drawn():
        return torch.rand(2) + float(np.random.rand()) + random.random()

    class Noisy(Method):
        name = "noisy"
        title = "Noisy"

        def __init__(self, options, step):
            super().__init__(options, step)
            for name in ("at_init", "first", "begun", "ended", "previous"):
                self.register_buffer(name, torch.zeros(2))
            self.at_init += drawn()

        def after_first_step(self, network, batches):
            self.first += drawn()

        def begin(self, network, batches, previous):
            self.begun += drawn() + sum(1 for _ in batches())
            self.previous += previous["first"] + previous["ended"]

        def terms(self, batch, targets):
            noise = drawn().mean() * torch.rand_like(batch.student.features)
            return {"noise": (noise * batch.student.features).mean()}

        def end(self, network, batches):
            self.ended += drawn()
            for parameter in network.classifier.parameters():
                parameter.data.mul_(1 + 0.1 * torch.rand(()))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("noisy")
    with installed(place / "site", "noisy", "Noisy", METHOD):
        yield listed_folder(place / "data")


def experiment(data: Path, method: str = "noisy", **more: Any) -> Experiment:
    return Experiment(method, "folder_1-1", data=data, recipe=SETTINGS, **more)


def run(experiments: Experiment | list[Experiment], out: Path, **how: Any) -> list[Record]:
    return issbench.run(experiments, out=out, device="cpu", workers=0, **how)


def bits(out: Path, records: list[Record]) -> list[bytes | object]:
    """All that a run computed, to the last bit."""
    found: list[bytes | object] = []
    for record in records:
        for step in record["steps"]:
            folder = out / "steps" / str(step["key"])
            found += [(folder / f"{name}.safetensors").read_bytes() for name in ("weights", "method")]
            found += [step["key"], step["counts"], step["training"]["history"]]
    return found


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes | object]:
    out = tmp_path_factory.mktemp("alone")
    return bits(out, run(experiment(data), out))


class Stopping(Reporter):
    """Sends this process a signal at an iteration of a step."""

    def __init__(self, step: int, iteration: int):
        super().__init__()
        self.wanted, self.step = (step, iteration), -1

    def start_training(self, step: int, epochs: int, iterations: int, start: int) -> None:
        self.step = step
        super().start_training(step, epochs, iterations, start)

    def advance(self, iteration: int) -> None:
        super().advance(iteration)
        if (self.step, iteration) == self.wanted:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("where", [(0, 2), (1, 1), (1, 3), (2, 2)])  # the third is after the last iteration
def test_an_interruption_changes_no_bit(
    data: Path, alone: list[bytes | object], tmp_path: Path, where: tuple[int, int]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(experiment(data), tmp_path, reporter=Stopping(*where))
    outcome = read_outcome(next((tmp_path / "runs").glob("*/outcome.json")))
    assert outcome is not None and outcome.state == "interrupted"
    assert len([*(tmp_path / "steps").glob("*.checkpoint")]) == 1
    torch.manual_seed(99), np.random.seed(99), random.seed(99)
    assert bits(tmp_path, run(experiment(data), tmp_path)) == alone
    assert "resuming at iteration" in log(tmp_path)


def test_a_hook_is_not_repeated_after_the_next_interruption(
    data: Path, alone: list[bytes | object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a job whose time is shorter than the hook and the way to a checkpoint would never get further."""
    noisy, calls = load_method("noisy"), list[str]()
    begin, end = noisy.begin, noisy.end

    def called(name: str) -> None:
        calls.append(name)
        if calls.count(name) == 1 and not name.startswith("begin"):
            raise KeyboardInterrupt

    class Reports(Reporter):
        def start_training(self, step: int, epochs: int, iterations: int, start: int) -> None:
            super().start_training(step, epochs, iterations, start)
            called(f"train {step}")

    def counted_begin(self: Any, *given: Any) -> None:
        called(f"begin {self.step.index}")
        begin(self, *given)

    def interrupted_end(self: Any, *given: Any) -> None:
        called(f"end {self.step.index}")
        end(self, *given)

    monkeypatch.setattr(noisy, "begin", counted_begin)
    monkeypatch.setattr(noisy, "end", interrupted_end)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            run(experiment(data), tmp_path, reporter=Reports())
    assert bits(tmp_path, run(experiment(data), tmp_path)) == alone
    assert [name for name in calls if name.startswith("begin")] == ["begin 1", "begin 2"]
    resumed = [line.partition("resuming at ")[2] for line in log(tmp_path).splitlines() if "resuming" in line]
    assert resumed == ["iteration 0 of 3", "iteration 3 of 3"] * 2


def log(out: Path) -> str:
    return next(out.glob("runs/*/log.txt")).read_text()


def test_what_ran_before_changes_no_bit(data: Path, alone: list[bytes | object], tmp_path: Path) -> None:
    run([experiment(data, "gsc"), experiment(data, "ewc")], tmp_path)
    assert bits(tmp_path, run(experiment(data), tmp_path)) == alone


def test_two_threads_do_not_disturb_each_other(data: Path, alone: list[bytes | object], tmp_path: Path) -> None:
    """They have stores of their own, so that each trains all its steps."""
    asked = {"a": experiment(data), "b": experiment(data, seed=1), "c": experiment(data)}
    found: dict[str, list[Record]] = {}
    together = threading.Barrier(len(asked))

    def work(name: str) -> None:
        together.wait()
        found[name] = run(asked[name], tmp_path / name)

    threads = [threading.Thread(target=work, args=[name]) for name in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bits(tmp_path / "a", found["a"]) == bits(tmp_path / "c", found["c"]) == alone
    second = run(asked["b"], tmp_path / "again")
    assert bits(tmp_path / "b", found["b"]) == bits(tmp_path / "again", second)


def test_two_threads_share_a_store(data: Path, alone: list[bytes | object], tmp_path: Path) -> None:
    found: list[list[Record]] = []
    threads = [threading.Thread(target=lambda: found.append(run(experiment(data), tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [bits(tmp_path, records) for records in found] == [alone, alone]


def test_the_users_own_generators_are_left_alone(data: Path, tmp_path: Path) -> None:
    def states() -> tuple[object, ...]:
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = states()
    run(experiment(data), tmp_path)
    assert states() == before
    assert not torch.are_deterministic_algorithms_enabled()
