"""RCIL: the terms of its loss, and a run through the engine. Its branches are tested in test_branches.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from method_examples import CLASSES, STEPS, batch, begun, options_of
from small_folder import RECIPE, small_folder
from torch import Tensor

from issbench import Experiment, run
from issbench.bench.engine.loading import Share
from issbench.bench.engine.network import Network
from issbench.bench.engine.order import BatchOrder
from issbench.bench.engine.store import Store
from issbench.bench.engine.training import train
from issbench.bench.engine.update import Training
from issbench.methods import functional as fn
from issbench.methods.interface.registry import load_method
from issbench.methods.method import Step
from issbench.methods.shared.branches import TwoBranches

# The loss


def means_over_windows(one: Tensor, size: int) -> Tensor:
    return nnf.avg_pool2d(one.double().square(), size, stride=1, padding=size // 2)


def naive_spatial(new: Tensor, old: Tensor) -> Tensor:
    total = 0
    for size in (4, 8, 12, 16, 20, 24):
        difference = means_over_windows(new, size) - means_over_windows(old, size)
        total = total + torch.stack([one.square().sum().sqrt() for one in difference]).mean()
    return total / 6


def naive_channel(new: Tensor, old: Tensor) -> Tensor:
    pooled = [nnf.pad(one.double().square(), (0, 0, 0, 0, 1, 1)).unfold(1, 3, 1).mean(-1) for one in (new, old)]
    return torch.stack([one.square().sum().sqrt() for one in pooled[0] - pooled[1]]).mean()


@STEPS
@pytest.mark.parametrize("dataset", ["voc", "ade", "cityscapes"])
def test_the_terms(step: Step, dataset: str) -> None:
    # shared facts: the same weights as PLOP, released as (maps, logits) and (stages, ASPP)
    spatial, logits, channel, aspp = {
        "voc": (0.01, 0.0005, 0.01, 0.0005),
        "ade": (5e-6, 5e-7, 5e-6, 5e-7),
        "cityscapes": (5e-4, 1e-4, 1e-4, 0.0),
    }[dataset]
    example = batch(step)
    student, teacher = example.student, example.teacher
    folded = student.low_logits.detach().clone()[:, : step.num_old]
    folded[:, 0] += student.low_logits.detach()[:, step.num_old :].sum(1)
    new = [*student.stages, student.features, folded]
    old = [*teacher.stages, teacher.features, teacher.low_logits]
    growth = 1 if step.domain else (6 / 2) ** 0.5
    weights = [spatial] * 5 + [logits]
    cubes = sum(w * naive_spatial(*pair) for w, *pair in zip(weights, new, old, strict=True)) / 6
    lines = sum(w * naive_channel(*pair) for w, *pair in zip([channel] * 4 + [aspp], new[:5], old[:5], strict=True))
    method = begun("rcil", step, **load_method("rcil").published.get(dataset, {}))
    terms = method.loss(example)
    assert list(terms) == ["classification", "distillation", "spatial", "channel"]
    close: Callable[..., None] = torch.testing.assert_close
    close(terms["spatial"].double(), growth * cubes, rtol=1e-4, atol=0)
    close(terms["channel"].double(), growth * lines / 5, rtol=1e-4, atol=0)
    unbiased = fn.unbiased_knowledge_distillation(student.logits, teacher.logits).mean()
    close(terms["distillation"], (0 if dataset == "cityscapes" else 100) * unbiased)
    # MiB's classification
    close(terms["classification"], begun("mib", step).loss(batch(step))["classification"])


def test_published_weights() -> None:
    def weights(dataset: str, **given: Any) -> tuple[float, ...]:
        options = options_of("rcil", dataset, **given)
        return options.spatial, options.spatial_logits, options.channel, options.channel_aspp, options.distillation

    assert weights("voc") == weights("shapes") == (0.01, 0.0005, 0.01, 0.0005, 100)
    assert weights("ade") == (5e-6, 5e-7, 5e-6, 5e-7, 100)
    assert weights("cityscapes") == (5e-4, 1e-4, 1e-4, 0, 0)
    assert weights("ade", channel="2")[:4] == (5e-6, 5e-7, 2, 5e-7)


def test_the_distillation_of_features_vanishes_with_the_difference() -> None:
    example = batch(CLASSES)
    example.teacher.stages = tuple(stage.detach() for stage in example.student.stages)
    example.teacher.features = example.student.features.detach()
    terms = begun("rcil", CLASSES).loss(example)
    assert terms["channel"] == 0 and terms["spatial"] > 0  # the logits differ still


# Through the engine


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """RCIL in three steps."""
    root = small_folder(tmp_path_factory.mktemp("data") / "folder")
    return Experiment("rcil", "folder_1-1", recipe=RECIPE, data=str(root))


@pytest.fixture(scope="module")
def finished(
    experiment: Experiment, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, list[dict[str, Any]]]:
    """The run in one go."""
    out = tmp_path_factory.mktemp("rcil")
    (record,) = run(experiment, out=out, device="cpu", workers=0)
    assert record["complete"]
    return Store(out), record["steps"]


def test_what_is_stored_is_a_plain_network(finished: tuple[Store, list[dict[str, Any]]]) -> None:
    store, steps = finished
    assert len(steps) == 3
    for step, channels in zip(steps, [(2,), (2, 1), (2, 1, 1)], strict=True):
        plain = Network("tiny", "none", 8, 16, channels)
        plain.load_state_dict(store.load_weights(step["key"]))
        assert not store.load_state(step["key"])  # RCIL hands on nothing else
    terms = [set(step["training"]["history"][0]) for step in steps]
    assert terms == [{"classification"}, *[{"classification", "distillation", "spatial", "channel"}] * 2]


def test_an_interrupted_run_ends_with_the_same_bits(
    finished: tuple[Store, list[dict[str, Any]]],
    experiment: Experiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped in the middle of a step with branches, and continued from its checkpoint in new objects."""
    whole, steps = finished
    stops: list[bool] = []

    def stop_once(training: Training, share: Share, order: BatchOrder) -> None:
        if order.step == 1 and training.iteration == 1 and not stops:
            stops.append(len(list((tmp_path / "steps").glob("*.checkpoint"))) == 1)
            assert any(isinstance(module, TwoBranches) for module in training.student.modules())
            assert training.teacher is not None
            assert not any(isinstance(module, TwoBranches) for module in training.teacher.modules())
            raise KeyboardInterrupt
        train(training, share, order)

    monkeypatch.setattr("issbench.bench.engine.training.train", stop_once)
    with pytest.raises(KeyboardInterrupt):
        run(experiment, out=tmp_path, device="cpu", workers=0, checkpoint_every=0)
    assert stops == [True]
    torch.manual_seed(5)  # nothing may depend on what ran before
    (record,) = run(experiment, out=tmp_path, device="cpu", workers=0)
    store = Store(tmp_path)
    for step, wanted in zip(record["steps"], steps, strict=True):
        assert step["key"] == wanted["key"] and step["counts"] == wanted["counts"]
        assert step["training"]["history"] == wanted["training"]["history"]
        old, new = (s.load_weights(step["key"]) for s in (whole, store))
        assert all(torch.equal(old[name], new[name]) for name in old)
