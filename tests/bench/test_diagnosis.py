"""Looking at a step while it trains: the numbers by hand, no bit changed, resumed as if it had not stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from math import log, sqrt
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from commands import bench
from method_examples import METHODS
from small_folder import RECIPE, small_folder
from torch import Tensor, nn

import issbench
from issbench import Experiment
from issbench.bench.engine import diagnosis, training
from issbench.files import read_json
from issbench.methods.method import Batch, Head, Method, Output, Step
from issbench.results.record import Diagnosis, Record, StepRecord

STEP = Step(1, (2, 1))  # channels: background, two old classes, one new one
LABELS = torch.tensor([[[0, 0, 0, 0, 0, 3, 255]]])
TRUTH = torch.tensor([[[1, 1, 2, 0, 255, 3, 1]]])
TARGETS = torch.tensor([[[1, 0, 1, 2, 1, 3, 255]]])


class Pseudo(Method):
    """Gives the background labels, and a term of its own."""

    name = title = "pseudo"

    def targets(self, batch: Batch) -> Tensor:
        return TARGETS

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        weight = nn.Parameter(torch.tensor(2.0))
        return {
            "pull": 3 * batch.student.low_logits[0, 0, 0, 0],
            "weights": -weight,
            "constant": torch.tensor(0.25),
        }


class OwnHead(Pseudo):
    Head = type("Other", (Head,), {})
    own_first_step = True


def seen(logits: Tensor, method: type[Method] = Pseudo, step: Step = STEP) -> Diagnosis:
    """What is seen of a method whose student gives these logits, which are as large as the image."""
    leaf = logits.clone().requires_grad_()
    output = Output(leaf, leaf, leaf, (), (1, LABELS.shape[2]))
    batch, made = Batch(LABELS, output, None), method(method.Options(), step)
    return diagnosis.summary(3, diagnosis.examine(made, batch, TRUTH))


def test_pseudo_labels_are_counted_on_the_labelled_background() -> None:
    found = seen(torch.zeros(1, 4, 1, 7))
    # The ignored pixel of the truth, the labelled one, and the one that the step ignores, count nowhere.
    assert found["pseudo_labels"] == {"given": [2, 1], "right": [1, 0], "hidden": [2, 1]}
    assert found["epoch"] == 3
    assert seen(torch.zeros(1, 4, 1, 7), step=replace(STEP, old_labelled=True))["pseudo_labels"] is None


def test_gradients_certainty_and_terms_are_those_by_hand() -> None:
    logits = torch.zeros(1, 4, 1, 7)
    logits[0, 3, 0, 5] = log(3)  # p = ½ of the new class there, |G| = ¼
    found = seen(logits)
    assert found["gradients"] == pytest.approx({"background": 0.5, "step 0": 0.5, "step 1": 0.25})
    assert found["confidence"] == pytest.approx((6 / 4 + 1 / 2) / 7)
    assert found["entropy"] == pytest.approx((6 + (log(2) / 2 + log(6) / 2) / log(4)) / 7)
    classification = (5 * log(4) + log(2)) / 7
    assert found["losses"] == pytest.approx(
        {"classification": classification, "pull": 0.0, "weights": -2.0, "constant": 0.25}
    )
    # Of a pixel: (p − 1)² of its target, p² of the others.
    squares = 5 * (9 / 16 + 3 / 16) + (1 / 4 + 3 / 36)
    assert found["logit_gradients"] == pytest.approx(
        {"classification": sqrt(squares) / 7, "pull": 3.0, "weights": 0.0, "constant": 0.0}
    )


def test_batches_add_up_to_the_whole() -> None:
    leaf = torch.randn(2, 4, 1, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.cat([LABELS, LABELS.flip(2)])

    def sums(rows: slice, share: float) -> dict[str, Tensor]:
        part = leaf[rows].detach().requires_grad_()
        batch = Batch(labels[rows], Output(part, part, part, (), (1, 7)), None)
        return diagnosis.examine(Method(None, STEP), batch, labels[rows], share)

    whole = diagnosis.summary(0, sums(slice(2), 1.0))
    first, second = sums(slice(1), 0.5), sums(slice(1, 2), 0.5)
    parts = diagnosis.summary(0, {name: first[name] + second[name] for name in first})
    for name in ("losses", "logit_gradients", "gradients"):
        assert parts[name] == pytest.approx(whole[name])
    assert parts["pseudo_labels"] == whole["pseudo_labels"]
    assert parts["entropy"] == pytest.approx(whole["entropy"])


def test_where_classes_come_all_at_once_they_are_one_group() -> None:
    found = seen(torch.zeros(1, 4, 1, 7), step=Step(1, (3,), domain=True))
    assert found["gradients"] == {"all classes": 0.5} and found["pseudo_labels"] is None


def test_nothing_is_said_of_the_channels_of_an_own_head() -> None:
    found = seen(torch.zeros(1, 4, 1, 7), OwnHead)
    assert found["pseudo_labels"] is found["confidence"] is found["entropy"] is None and not found["gradients"]
    assert found["losses"]["weights"] == -2.0 and found["logit_gradients"]["pull"] == 3.0


def test_what_is_not_finite_is_left_out() -> None:
    found = seen(torch.full((1, 4, 1, 7), float("nan")))
    assert found["losses"]["classification"] is None and found["entropy"] is None


EPOCHS = RECIPE | {"epochs": 5}
SOME = ["joint", "ewc", "sdr", "rcil+gsc"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data"))


def run(methods: list[str], data: Path, out: Path, **how: Any) -> list[Record]:
    recipe = how.pop("recipe", RECIPE)
    experiments = [Experiment(method, "folder_2-1", data=data, recipe=recipe) for method in methods]
    return issbench.run(experiments, out=out, device="cpu", workers=0, **how)


@pytest.fixture(scope="module")
def looked_at(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Record]]:
    """A store with a run of some methods, which were looked at; the records."""
    out = tmp_path_factory.mktemp("looked-at")
    return out, dict(zip(SOME, run(SOME, data, out, diagnose=True), strict=True))


def found_in(step: StepRecord) -> list[Diagnosis]:
    assert step["training"] is not None
    return step["training"]["diagnosis"]


def check_looks(records: dict[str, Record]) -> None:
    """All but the first steps were looked at twice, and all terms were seen."""
    for method, record in records.items():
        first, second = record["steps"]
        assert first["training"] is not None and "diagnosis" not in first["training"]
        assert second["training"] is not None
        assert [each["epoch"] for each in found_in(second)] == [0, 1]
        for each in found_in(second):
            assert {*each["losses"]} == {*each["logit_gradients"]} == {*second["training"]["history"][0]}, method
            assert None not in each["losses"].values()


@pytest.mark.long
def test_every_method_can_be_looked_at(data: Path, tmp_path: Path) -> None:
    check_looks(dict(zip(METHODS, run(METHODS, data, tmp_path, diagnose=True), strict=True)))


def test_steps_are_looked_at_before_and_after_their_training(looked_at: tuple[Path, dict[str, Record]]) -> None:
    check_looks(looked_at[1])
    schema = json.loads((Path(__file__).parents[2] / "results" / "schema.json").read_text(encoding="utf-8"))
    for path in looked_at[0].glob("runs/*/run.json"):
        jsonschema.validate(read_json(path), schema, jsonschema.Draft202012Validator)


def test_classes_that_are_hidden_are_those_of_the_true_labels(looked_at: tuple[Path, dict[str, Record]]) -> None:
    """Each image has the two old classes."""
    pixels = found_in(looked_at[1]["rcil+gsc"]["steps"][1])[0]["pseudo_labels"]
    assert pixels is not None and pixels["hidden"][0] > 0 and pixels["hidden"][1] > 0
    assert all(right <= given for right, given in zip(pixels["right"], pixels["given"], strict=True))
    joint = found_in(looked_at[1]["joint"]["steps"][1])[0]["pseudo_labels"]
    assert joint is None or joint["hidden"] == [0, 0]


def test_no_bit_changes(looked_at: tuple[Path, dict[str, Record]], data: Path, tmp_path: Path) -> None:
    out, records = looked_at
    methods = ["rcil+gsc", "sdr"]
    for method, record in zip(methods, run(methods, data, tmp_path), strict=True):
        for one, other in zip(record["steps"], records[method]["steps"], strict=True):
            assert one["key"] == other["key"] and one["counts"] == other["counts"]
            assert one["training"] and other["training"]
            assert one["training"]["history"] == other["training"]["history"]
            files = [
                (where / "steps" / str(one["key"]) / f"{name}.safetensors").read_bytes()
                for name in ("weights", "method")
                for where in (out, tmp_path)
            ]
            assert files[0] == files[1] and files[2] == files[3]


def test_a_resumed_training_is_looked_at_as_a_whole_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(["gsc"], data, tmp_path / "whole", diagnose=True, recipe=EPOCHS)[0]["steps"][1]
    train, summary, epochs = training.train, diagnosis.summary, []

    def stop(state: Any, *rest: Any) -> None:
        if state.teacher is not None and len(state.history) == 3:
            raise KeyboardInterrupt
        train(state, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            run(["gsc"], data, tmp_path / "cut", diagnose=True, recipe=EPOCHS, checkpoint_every=0)
    monkeypatch.setattr(diagnosis, "summary", lambda epoch, sums: epochs.append(epoch) or summary(epoch, sums))
    resumed = run(["gsc"], data, tmp_path / "cut", diagnose=True, recipe=EPOCHS)[0]["steps"][1]
    assert found_in(resumed) == found_in(whole)
    assert [each["epoch"] for each in found_in(whole)] == [0, 2, 3, 4, 5]
    assert epochs == [4, 5], "what was seen before is not looked at again"


WORK = """
import json, sys
from issbench import Experiment, run
out, data, recipe = sys.argv[1:]
experiment = Experiment("rcil+gsc", "folder_2-1", data=data, recipe=json.loads(recipe))
run(experiment, out=out, device="cpu", workers=0, diagnose=True)
"""


@pytest.mark.long
def test_two_processes_see_what_one_sees(
    looked_at: tuple[Path, dict[str, Record]], data: Path, tmp_path: Path
) -> None:
    first, second = looked_at[1]["rcil+gsc"]["steps"]
    script, store = tmp_path / "work.py", tmp_path / "store"
    shutil.copytree(looked_at[0] / "steps" / str(first["key"]), store / "steps" / str(first["key"]))
    shutil.copy(looked_at[0] / "store.json", store)
    script.write_text(WORK)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*launch, script, store, data, json.dumps(RECIPE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = store.glob("runs/*/run.json")
    together = read_json(path)["steps"][1]["training"]
    assert together["processes"] == 2
    one, two = found_in(second)[0], together["diagnosis"][0]  # later ones part by rounding
    assert one["pseudo_labels"] == two["pseudo_labels"]
    for name in ("losses", "logit_gradients", "gradients"):
        assert {*one[name]} == {*two[name]}
        for part, value in one[name].items():
            assert value is two[name][part] or two[name][part] == pytest.approx(value, rel=1e-3, abs=1e-6)


def words(data: Path, out: Path, *more: str) -> list[object]:
    settings = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
    where = ["--scenario", "folder_2-1", "--data", data, "--out", out, "--device", "cpu", "--workers", 0]
    return ["run", "--methods", "plop", *where, *settings, *more]


def test_a_method_that_cannot_be_looked_at_is_told_and_trains_without(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> None:
        raise TypeError("not today")

    with monkeypatch.context() as patch:
        patch.setattr(diagnosis, "examine", fail)
        said = bench(*words(data, tmp_path, "--diagnose"), code=1)
    assert "step 1 of plop cannot be diagnosed (TypeError: not today)" in said and "without --diagnose" in said
    assert "PLOP" in bench(*words(data, tmp_path))
    # What is trained already cannot be looked at any more.
    said = bench(*words(data, tmp_path, "--diagnose"))
    assert "1 of 1 were trained before, without a diagnosis; another --out trains them anew" in said


def test_figures_and_report_of_a_run(looked_at: tuple[Path, dict[str, Record]], tmp_path: Path) -> None:
    out = looked_at[0]
    assert "--diagnose" not in bench("report", "--out", out, "--output", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="diagnoses"' in page and "Pseudo-labels of old classes (%), folder_2-1" in page
    path = tmp_path / "terms.svg"
    bench("figure", "terms", "--methods", "ewc", "--out", out, "--output", path)
    assert "EWC" in path.read_text(encoding="utf-8")
