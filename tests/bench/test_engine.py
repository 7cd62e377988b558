"""Experiments end to end, in one process: sharing, repetition, hooks, settings of all kinds."""

import json
import sys
import textwrap
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch

from issbench import Experiment, run
from issbench.bench.engine.progress import Reporter
from issbench.bench.engine.store import Store
from issbench.bench.engine.training import StepTrainer
from issbench.methods.interface import registry

pytestmark = pytest.mark.usefixtures("few_scenes")
SMALL = {"first_epochs": 1, "epochs": 1, "batch": 32, "crop": 32, "aspp_channels": 16}


def small(method: str, scenario: str = "shapes_4-4", **more) -> Experiment:
    return Experiment(method, scenario, recipe=SMALL, **more)


def weights(out: Path, key: str) -> bytes:
    return (out / "steps" / key / "weights.safetensors").read_bytes()


@pytest.fixture
def trained(monkeypatch) -> list[tuple[int, str | None]]:
    """The steps trained so far, as (index, method)."""
    steps = []
    train = StepTrainer.run

    def remember(self, *args):
        steps.append((self.step.index, self.step.method))
        return train(self, *args)

    monkeypatch.setattr(StepTrainer, "run", remember)
    return steps


def test_first_step_is_trained_once_and_finished_runs_are_read(tmp_path, trained):
    experiments = [small(method) for method in ("ft", "mib", "plop", "gsc", "joint")]
    records = run(experiments, out=tmp_path)
    assert trained == [(0, None), (1, "ft"), (1, "mib"), (1, "plop"), (1, "gsc"), (1, "joint")]
    assert len({record["steps"][0]["key"] for record in records}) == 1
    assert len({record["steps"][1]["key"] for record in records}) == 5
    assert run(experiments, out=tmp_path) == records
    assert len(trained) == 6


def test_same_experiment_gives_the_same_bits(tmp_path):
    first, second = (run(small("gsc"), out=tmp_path / name)[0] for name in "ab")
    for a, b in zip(first["steps"], second["steps"], strict=True):
        assert a["key"] == b["key"] and a["counts"] == b["counts"]
        assert a["training"]["history"] == b["training"]["history"]
        assert weights(tmp_path / "a", a["key"]) == weights(tmp_path / "b", b["key"])


def test_workers_do_not_change_the_result(tmp_path):
    keys = []
    for workers in (0, 2):
        record = run(small("ft"), out=tmp_path / str(workers), workers=workers)[0]
        keys.append(record["steps"][1]["key"])
    assert keys[0] == keys[1]
    assert weights(tmp_path / "0", keys[0]) == weights(tmp_path / "2", keys[1])


def test_seed_changes_the_result(tmp_path):
    first, second = run([small("ft", seed=seed) for seed in (0, 1)], out=tmp_path)
    assert weights(tmp_path, first["steps"][0]["key"]) != weights(tmp_path, second["steps"][0]["key"])
    assert first["steps"][0]["training"]["history"] != second["steps"][0]["training"]["history"]


def test_record_is_complete(tmp_path):
    record = run(small("ft", "shapes_4-2"), out=tmp_path)[0]
    assert record == json.loads(next((tmp_path / "runs").glob("*/run.json")).read_text())
    assert record["complete"] and record["experiment"]["method"] == "ft"
    assert [len(step["iou"]) for step in record["steps"]] == [5, 7, 9]
    assert list(record["steps"][-1]["groups"]) == ["0-4", "5-8", "all"]
    assert record["steps"][0]["miou"].get("new") is None
    alls = [step["miou"]["all"] for step in record["steps"]]
    assert record["mean_over_steps"] == pytest.approx(sum(alls) / 3)
    last, first = record["steps"][-1]["iou"], record["steps"][0]["iou"]
    assert record["forgetting"][1] == pytest.approx(first[1] - last[1])
    assert record["forgetting"][8] == 0
    training = record["steps"][0]["training"]
    assert (
        training["peak_memory_bytes"] > 0 and training["versions"]["torch"] == torch.__version__.partition("+")[0]
    )


def test_record_fits_its_schema_and_the_counts_of_images_add_up(tmp_path):
    schema = json.loads((Path(__file__).parents[2] / "results" / "schema.json").read_text())
    records = run([small("ft"), small("ft", "shapes_3-2", setting="domain")], out=tmp_path)
    for record in records:
        jsonschema.validate(record, schema, jsonschema.Draft202012Validator)
        for step in record["steps"]:
            with np.load(tmp_path / step["evaluation"]["images"]) as stored:
                images, classes = stored["shape"].tolist()
                assert images == step["test_images"] and classes == len(step["iou"])
                for name, total in step["counts"].items():
                    found = np.bincount(stored["classes"], stored[name], minlength=classes)
                    assert found.tolist() == total
            assert step["evaluation"]["images"] == f"steps/{step['key']}/{step['evaluation']['name']}.npz"


def test_an_evaluation_without_counts_of_images_is_made_anew_without_training(tmp_path, trained):
    record = run(small("ft"), out=tmp_path)[0]
    step = record["steps"][-1]
    single = tmp_path / step["evaluation"]["images"]
    stored, bytes_before = single.with_suffix(".json"), single.read_bytes()
    for spoil in (
        single.unlink,
        lambda: stored.write_text(json.dumps({"tp": [0], "fp": [0], "fn": [0], "images": 1, "seconds": 0.1})),
    ):
        spoil()
        trained.clear()
        again = run(small("ft"), out=tmp_path)[0]["steps"][-1]
        assert trained == []
        assert again["counts"] == step["counts"] and again["miou"] == step["miou"]
        assert single.read_bytes() == bytes_before
    untouched = single.stat().st_mtime_ns
    run(small("ft"), out=tmp_path)
    assert single.stat().st_mtime_ns == untouched


def test_domain_steps_keep_all_classes(tmp_path):
    experiments = [small(method, "shapes_3-2", setting="domain") for method in ("ft", "mib", "plop", "gsc")]
    for record in run(experiments, out=tmp_path):
        assert [len(step["iou"]) for step in record["steps"]] == [9, 9]
        assert list(record["steps"][-1]["groups"]) == ["all"]
        assert record["experiment"]["protocol"]["name"] == "official"


def test_protocol_changes_the_test_and_not_the_training(tmp_path, trained):
    plop, ssul = run([small("ft"), small("ft", protocol="ssul")], out=tmp_path)
    assert trained == [(0, None), (1, "ft")]
    assert plop["steps"][0]["test_images"] < ssul["steps"][0]["test_images"] == 20
    assert plop["steps"][0]["counts"] != ssul["steps"][0]["counts"]


def test_joint_at_every_step(tmp_path, trained):
    run(small("joint:every_step=on", "shapes_6-1"), out=tmp_path)
    assert trained == [(0, None), (1, "joint"), (2, "joint")]


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


def register(monkeypatch, folder: Path, source: str) -> None:
    """Make a method of somebody's own known to the suite."""
    path = folder / "hooked_method.py"
    path.write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "hooked_method", raising=False)
    info = registry.MethodInfo("hooked", "hooked_method", "Hooked", "", (), path)
    known = registry.available() | {"hooked": info}
    monkeypatch.setattr(registry, "available", lambda: known)


def test_hooks_come_in_order_and_hand_on_state(tmp_path, monkeypatch):
    """A method with everything that EWC, SDR and RCIL need runs without a change of the engine."""
    register(monkeypatch, tmp_path, HOOKED)
    record = run(small("hooked", "shapes_4-2"), out=tmp_path / "out")[0]

    calls = [c for c in sys.modules["hooked_method"].CALLS if c[0] != "after_backward"]
    images = [step["training"]["train_images"] for step in record["steps"]]
    assert calls == [
        ("prepare", 1),  # on trial, before anything trains
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


def test_an_architecture_that_is_not_changed_back_is_told(tmp_path, monkeypatch):
    register(monkeypatch, tmp_path, HOOKED.replace("del network.extra", "pass"))
    with pytest.raises(RuntimeError, match=r"differs from a plain one, first in extra\..*change it back in `end`"):
        run(small("hooked", "shapes_4-2"), out=tmp_path / "out")


def test_loss_that_is_no_number_ends_the_run(tmp_path):
    experiment = Experiment("ft", "shapes_4-4", recipe=SMALL | {"first_epochs": 8, "first_lr": 1e9})
    with pytest.raises(RuntimeError, match=r"became (nan|inf).*lower the learning rate") as error:
        run(experiment, out=tmp_path)
    assert error.value.exit_code == 1
    assert not any((tmp_path / "steps").glob("*/weights.safetensors"))


def test_tensorboard_gets_terms_and_miou(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(small("mib"), out=tmp_path, reporter=Reporter(tensorboard=True))
    folder = next((tmp_path / "runs").glob("*/tensorboard"))
    events = accumulators.EventAccumulator(str(folder)).Reload()
    assert {"step 1/distillation", "mIoU/0-4", "mIoU/all"} <= set(events.Tags()["scalars"])
