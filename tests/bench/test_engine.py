"""Experiments end to end, in one process: sharing, repetition, hooks, settings of all kinds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from commands import bench
from listed_folder import listed_folder
from plug_in import installed
from small_folder import RECIPE
from small_trees import small_cityscapes

import issbench
from issbench import Experiment
from issbench.bench.engine.progress import Reporter
from issbench.bench.engine.store import Store
from issbench.bench.engine.training import StepTrainer
from issbench.errors import RunError
from issbench.files import read_json
from issbench.results.record import Record


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return listed_folder(tmp_path_factory.mktemp("data") / "folder")


def run(experiments: Experiment | list[Experiment], out: Path, **how: Any) -> list[Record]:
    return issbench.run(experiments, out=out, **{"device": "cpu", "workers": 0, **how})


def small(data: Path, method: str, scenario: str = "folder_1-2", **more: Any) -> Experiment:
    """Three classes in two steps."""
    return Experiment(method, scenario, data=data, **{"recipe": RECIPE, **more})


def weights(out: Path, key: str | None) -> bytes:
    return (out / "steps" / str(key) / "weights.safetensors").read_bytes()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str | None]]:
    """The steps trained so far, as (index, method)."""
    steps = []
    train = StepTrainer.run

    def remember(self: StepTrainer, every: float) -> None:
        steps.append((self.step.index, self.step.method))
        train(self, every)

    monkeypatch.setattr(StepTrainer, "run", remember)
    return steps


def test_first_step_is_trained_once_and_finished_runs_are_read(data, tmp_path, trained):
    experiments = [small(data, method) for method in ("ft", "mib", "plop", "gsc", "joint")]
    records = run(experiments, tmp_path)
    assert trained == [(0, None), (1, "ft"), (1, "mib"), (1, "plop"), (1, "gsc"), (1, "joint")]
    assert len({record["steps"][0]["key"] for record in records}) == 1
    assert len({record["steps"][1]["key"] for record in records}) == 5
    assert run(experiments, tmp_path) == records
    assert len(trained) == 6


def test_same_experiment_gives_the_same_bits(data, tmp_path):
    first, second = (run(small(data, "gsc"), tmp_path / name)[0] for name in "ab")
    for a, b in zip(first["steps"], second["steps"], strict=True):
        assert a["key"] == b["key"] and a["counts"] == b["counts"]
        assert a["training"]["history"] == b["training"]["history"]
        assert weights(tmp_path / "a", a["key"]) == weights(tmp_path / "b", b["key"])


def test_workers_do_not_change_the_result(data, tmp_path):
    keys = []
    for workers in (0, 2):
        record = run(small(data, "ft"), tmp_path / str(workers), workers=workers)[0]
        keys.append(record["steps"][1]["key"])
    assert keys[0] == keys[1]
    assert weights(tmp_path / "0", keys[0]) == weights(tmp_path / "2", keys[1])


def test_seed_changes_the_result(data, tmp_path):
    first, second = run([small(data, "ft", seed=seed) for seed in (0, 1)], tmp_path)
    assert weights(tmp_path, first["steps"][0]["key"]) != weights(tmp_path, second["steps"][0]["key"])
    assert first["steps"][0]["training"]["history"] != second["steps"][0]["training"]["history"]


def test_record_is_complete(data, tmp_path):
    record = run(small(data, "gsc:sg=off", "folder_1-1"), tmp_path)[0]
    (path,) = (tmp_path / "runs").glob("*/run.json")
    stored = read_json(path)
    assert stored.pop("key") == path.parent.name and stored.pop("sha256")
    assert record == stored
    assert record["format"] == 3 and record["complete"] and record["source"] is None
    assert record["experiment"]["method"] == "gsc:sg=off"
    facts = record["method"]
    assert (facts["name"], facts["title"], facts["upper_bound"]) == ("gsc", "GSC", False)
    assert facts["options"]["sg"] is False and facts["options"]["pr"] is True and facts["parts"]
    assert [len(step["metrics"]["iou"]) for step in record["steps"]] == [2, 3, 4]
    assert list(record["steps"][-1]["metrics"]["groups"]) == ["0-1", "2-3", "all"]
    assert record["steps"][0]["metrics"]["miou"].get("new") is None
    alls = [step["metrics"]["miou"]["all"] for step in record["steps"]]
    assert record["metrics"]["mean_over_steps"] == pytest.approx(sum(alls) / 3)
    last, first = record["steps"][-1]["metrics"]["iou"], record["steps"][0]["metrics"]["iou"]
    assert record["metrics"]["forgetting"][1] == pytest.approx(first[1] - last[1])
    assert record["metrics"]["forgetting"][3] == 0
    training = record["steps"][0]["training"]
    assert training["peak_memory_bytes"] > 0 and training["processes"] == 1
    environment = training["environment"]
    assert environment["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert environment["threads"] == torch.get_num_threads() and environment["deterministic"]
    assert environment["cpu"] and not environment["gpu"] and environment["precision"] == "fp32"


def test_record_fits_its_schema_and_the_counts_of_images_add_up(data, tmp_path):
    schema = json.loads((Path(__file__).parents[2] / "results" / "schema.json").read_text())
    (record,) = run(small(data, "ft", metrics=["boundary-iou"]), tmp_path)
    (path,) = (tmp_path / "runs").glob("*/run.json")
    jsonschema.validate(read_json(path), schema, jsonschema.Draft202012Validator)
    for step in record["steps"]:
        assert {*step["evaluations"]} == {"confusion", "boundary"} and "boundary_iou" in step["metrics"]
        evaluation = step["evaluations"]["confusion"]
        with np.load(tmp_path / evaluation["images"]) as stored:
            images, classes = stored["shape"].tolist()
            assert images == step["test_images"] and classes == len(step["metrics"]["iou"])
            for name, total in step["counts"].items():
                found = np.bincount(stored["classes"], stored[name], minlength=classes)
                assert found.tolist() == total
        assert evaluation["images"] == f"steps/{step['key']}/{evaluation['name']}.npz"


def test_a_metric_more_is_tested_and_not_trained(data, tmp_path, trained):
    plain = run(small(data, "ft"), tmp_path)[0]
    trained.clear()
    asked = small(data, "ft", metrics=["boundary-iou"])
    more = run(asked, tmp_path)[0]
    assert trained == [] and len([*(tmp_path / "runs").iterdir()]) == 1
    assert more["experiment"]["metrics"] == ["boundary-iou"]
    for before, after in zip(plain["steps"], more["steps"], strict=True):
        assert before["counts"] == after["counts"] and after["metrics"]["boundary_iou"]["miou"]
    written = next((tmp_path / "runs").glob("*/run.json")).stat().st_mtime_ns
    assert run(asked, tmp_path) == run(small(data, "ft"), tmp_path) == [more]
    assert next((tmp_path / "runs").glob("*/run.json")).stat().st_mtime_ns == written


def test_domain_steps_keep_all_classes(tmp_path):
    root = small_cityscapes(tmp_path / "data")
    methods = ("ft", "mib", "plop", "gsc")
    experiments = [Experiment(method, "cityscapes_11-5", data=root, recipe=RECIPE) for method in methods]
    for record in run(experiments, tmp_path / "out"):
        assert [len(step["metrics"]["iou"]) for step in record["steps"]] == [19, 19, 19]
        assert list(record["steps"][-1]["metrics"]["groups"]) == ["all"]
        assert record["experiment"]["protocol"]["name"] == "official"


def test_steps_of_sequential_and_partitioned_settings(data, tmp_path):
    settings = ("disjoint", "sequential", "partitioned", "partitioned:5")
    asked = [small(data, method, "folder_2-1", setting=each) for each in settings for method in ("mib", "joint")]
    found = {(r["experiment"]["setting"], r["method"]["name"]): r["steps"] for r in run(asked, tmp_path)}
    images = {place: [step["training"]["train_images"] for step in steps] for place, steps in found.items()}
    assert images == {
        (each, name): [4, 2 if name == "mib" else 6] for each in settings for name in ("mib", "joint")
    }
    keys = {place: [step["key"] for step in steps] for place, steps in found.items()}
    # no image holds classes of both steps, so all settings read the same, but for the labels of old classes
    assert keys["disjoint", "mib"] == keys["partitioned", "mib"] == keys["partitioned:5", "mib"]
    assert keys["sequential", "mib"][0] == keys["disjoint", "mib"][0]
    assert keys["sequential", "mib"][1] != keys["disjoint", "mib"][1]
    assert keys["sequential", "joint"] == keys["disjoint", "joint"]  # it has all labels in either
    schema = json.loads((Path(__file__).parents[2] / "results" / "schema.json").read_text())
    for path in (tmp_path / "runs").glob("*/run.json"):
        jsonschema.validate(read_json(path), schema, jsonschema.Draft202012Validator)
        assert ":" not in path.parent.name
    printed = bench("table", "--out", tmp_path, "--format", "csv")
    assert all(setting.capitalize() in printed for setting in settings)


def test_a_fraction_of_the_images(data, tmp_path):
    common = ("--scenario", "folder_2-1", "--data", data, "--device", "cpu", "--workers", 0, "--out", tmp_path)
    recipe = [word for name, value in RECIPE.items() for word in ("--set", f"{name}={value}")]
    printed = bench("run", "--methods", "ft,joint", "--images", "0.50", *common, *recipe)
    assert "order natural, images 0.5" in printed
    records = [read_json(path) for path in (tmp_path / "runs").glob("*/run.json")]
    assert [record["experiment"]["images"] for record in records] == ["0.5", "0.5"]
    images = {r["method"]["name"]: [s["training"]["train_images"] for s in r["steps"]] for r in records}
    assert images == {"ft": [2, 1], "joint": [2, 3]}
    assert "2 training images" in bench("data", "stats", "folder_2-1", "--root", data, "--images", "0.5")
    again = bench("run", *(tmp_path / "runs").glob("*-ft-*/run.json"), "--dry-run", "--out", tmp_path)
    assert "done" in again
    assert "images '2': give a fraction" in bench("run", "--methods", "ft", "--images", 2, *common, code=2)


def test_classes_of_cityscapes_are_learned_in_steps(tmp_path):
    root = small_cityscapes(tmp_path / "data")
    experiments = [Experiment(method, "cityscapes_17-2", data=root, recipe=RECIPE) for method in ("plop", "joint")]
    for record in run(experiments, tmp_path / "out"):
        assert record["experiment"]["setting"] == "overlapped"
        assert [step["training"]["train_images"] for step in record["steps"]] == [18, 18]
        assert [len(step["metrics"]["iou"]) for step in record["steps"]] == [18, 20]
        assert list(record["steps"][-1]["metrics"]["groups"]) == ["1-17", "18-19", "all"]
        assert record["class_names"][0] == "(not yet learned)"
        assert record["steps"][-1]["counts"]["tp"][0] == record["steps"][-1]["counts"]["fn"][0] == 0


def test_protocol_changes_the_test_and_not_the_training(data, tmp_path, trained):
    plop, ssul = run([small(data, "ft"), small(data, "ft", protocol="ssul")], tmp_path)
    assert trained == [(0, None), (1, "ft")]
    assert plop["steps"][0]["test_images"] < ssul["steps"][0]["test_images"] == 2
    assert plop["steps"][0]["counts"] != ssul["steps"][0]["counts"]


def test_joint_at_every_step(data, tmp_path, trained):
    """The shared first step comes last: another process may train it meanwhile."""
    run(small(data, "joint:every_step=on", "folder_1-1"), tmp_path)
    assert trained == [(2, "joint"), (1, "joint"), (0, None)]


HOOKED = """
    import pytest
    import torch
    from issbench.methods.method import Method

    CALLS = []

    class Hooked(Method):
        \"\"\"Counts: remembers anchors like EWC, keeps state over steps, changes the architecture and back.\"\"\"
        name = "hooked"
        title = "Hooked"

        def __init__(self, options, step):
            super().__init__(options, step)
            self.register_buffer("seen", torch.zeros(1))
            self.scale = torch.nn.Parameter(torch.ones(()))

        def prepare(self, network):
            CALLS.append(("prepare", self.step.index))
            network.extra = torch.nn.Linear(2, 2)

        def begin(self, network, batches, previous):
            images = sum(len(batch.labels) for batch in batches())
            for batch in batches():
                assert len(batch.teacher.stages) == 4
                with pytest.raises(RuntimeError, match="no output of the student"):
                    batch.student
            CALLS.append(("begin", self.step.index, images, float(previous["seen"])))

        def terms(self, batch, targets):
            return {"own": 0.01 * (self.scale * batch.student.features).square().mean()}

        def after_backward(self, network):
            assert self.scale.grad is not None and network.extra.weight.grad is None
            CALLS.append(("after_backward", self.step.index))

        def after_first_step(self, network, batches):
            self.look("after_first_step", network, batches)

        def end(self, network, batches):
            del network.extra
            self.look("end", network, batches)

        def look(self, hook, network, batches):
            images = 0
            for batch in batches():
                with pytest.raises(RuntimeError, match="no output of the teacher"):
                    batch.teacher
                self.loss(batch)["classification"].backward()
                images += len(batch.labels)
            assert any(p.grad is not None for p in network.parameters())
            self.seen += images
            CALLS.append((hook, self.step.index, images))
"""


def calls_of(name: str) -> list[tuple]:
    """What the plug-in that was written last wrote down."""
    return [module for key, module in sys.modules.items() if key.startswith(name)][-1].CALLS


def test_hooks_come_in_order_and_hand_on_state(data, tmp_path):
    """A method with everything that EWC, SDR and RCIL need runs without a change of the engine."""
    with installed(tmp_path / "site", "hooked", "Hooked", HOOKED):
        record = run(small(data, "hooked", "folder_1-1"), tmp_path / "out")[0]

    calls = [c for c in calls_of("hooked_method") if c[0] != "after_backward"]
    images = [step["training"]["train_images"] for step in record["steps"]]
    assert calls == [
        ("prepare", 2),  # on trial, before anything trains: the step with most classes
        ("prepare", 1),
        ("after_first_step", 0, images[0]),
        ("begin", 1, images[1], images[0]),
        ("end", 1, images[1]),
        ("prepare", 2),
        ("begin", 2, images[2], images[1]),
        ("end", 2, images[2]),
    ]
    store = Store(tmp_path / "out")
    assert "extra.weight" not in store.load_weights(record["steps"][1]["key"])
    assert store.load_state(record["steps"][2]["key"])["seen"] == images[2]
    assert "own" in record["steps"][1]["training"]["history"][0]


def test_an_architecture_that_is_not_changed_back_is_told(data, tmp_path):
    wrong = HOOKED.replace("del network.extra", "pass")
    told = r"differs from a plain one, first in extra\..*change it back in `end`"
    with installed(tmp_path / "site", "hooked", "Hooked", wrong), pytest.raises(RunError, match=told):
        run(small(data, "hooked"), tmp_path / "out")


def test_loss_that_is_no_number_ends_the_run(data, tmp_path):
    experiment = small(data, "ft", recipe=RECIPE | {"first_lr": 1e30, "first_epochs": 9})
    with pytest.raises(RunError, match=r"became (nan|inf).*lower the learning rate") as error:
        run(experiment, tmp_path)
    assert error.value.exit_code == 1
    assert not any((tmp_path / "steps").glob("*/weights.safetensors"))


def test_tensorboard_gets_terms_and_miou(data, tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(small(data, "mib"), tmp_path, reporter=Reporter(tensorboard=True))
    folder = next((tmp_path / "runs").glob("*/tensorboard"))
    events = accumulators.EventAccumulator(str(folder)).Reload()
    assert {"step 1/distillation", "mIoU/0-1", "mIoU/all"} <= set(events.Tags()["scalars"])
