"""EWC, PI and RW: what they watch in training, what they hold, and what they leave for the next step."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from method_examples import CLASSES, DOMAIN, cross_entropy, labels, make, network
from torch import Tensor, nn

from issbench.bench.engine.network import Network
from issbench.bench.engine.update import Training, make_optimizer, update
from issbench.bench.recipe import Recipe
from issbench.methods import functional as fn
from issbench.methods.interface.registry import load_method
from issbench.methods.method import Batch, Batches, Step

FIRST = Step(0, (3,), feature_channels=6)
THIRD = Step(2, (3, 2, 1), feature_channels=6)
FIRST_DOMAIN = Step(0, (4,), domain=True, feature_channels=6)
RECIPE = Recipe(lr=0.05, precision="fp32")
NAMES = pytest.mark.parametrize("name", ["ewc", "pi", "rw"])
BOTH = [(CLASSES, FIRST), (DOMAIN, FIRST_DOMAIN)]
STEPS = pytest.mark.parametrize("step, first", BOTH, ids=["classes", "domain"])


def data(step: Step, seed: int) -> tuple[Tensor, Tensor]:
    """Images [2, 3, 64, 48] and their labels."""
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(seed))
    return images, labels(step, seed).repeat_interleave(4, 1).repeat_interleave(4, 2)


def looks(student: Network, step: Step, seeds: range = range(100, 103)) -> Batches:
    """What `end` sees: the student's output, with gradient, in evaluation mode."""

    def batches() -> Iterator[Batch]:
        for seed in seeds:
            images, shown = data(step, seed)
            yield Batch(shown, student(images), None)

    return batches


def unread() -> Iterator[Batch]:
    raise AssertionError("the data were read")


@cache
def after_first_step(name: str, first: Step = FIRST) -> dict[str, Tensor]:
    """The state that the method leaves after the first step."""
    student, method = network(first).eval(), make(name, first)
    method.after_first_step(student, looks(student, first))
    return method.state_dict()


def start(name: str, step: Step, previous: dict[str, Tensor], **options: Any) -> Training:
    """A step as the engine sets it up; the networks of all steps begin with the same old weights."""
    student, method = network(step), make(name, step, **options)
    method.prepare(student)
    with torch.no_grad():
        method.begin(student, unread, previous)
    return Training(student.train(), None, method, make_optimizer(student, method, RECIPE), RECIPE, frozenset())


@dataclass
class Seen:
    """An iteration: the parameters before it, the gradient of the cross-entropy, that which the optimiser got, and
    the terms."""

    before: list[Tensor]
    plain: list[Tensor]
    left: list[Tensor]
    terms: dict[str, Tensor]


@cache
def twin_of(step: Step) -> Network:
    """To be given weights before each use."""
    return network(step).train()


def train(training: Training, step: Step, seeds: range) -> list[Seen]:
    """Updates by the engine; a twin tells the gradient without the penalty."""
    twin, seen = twin_of(step), []
    for seed in seeds:
        twin.load_state_dict(training.student.state_dict())
        images, shown = data(step, seed)
        loss = cross_entropy(Batch(shown, twin(images), None), shown).mean()
        plain = list(torch.autograd.grad(loss, list(twin.parameters())))
        before = values(training.student)
        terms = update(training, images, shown)
        left = [parameter.grad.clone() for parameter in training.student.parameters()]
        seen.append(Seen(before, plain, left, terms))
    return seen


def values(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def table(state: dict[str, Tensor], which: str, student: nn.Module) -> list[Tensor | None]:
    """A table of a state in the order of the student's parameters, None for those that it lacks."""
    return [state.get(f"{which}.{name.replace('.', '/')}") for name, _ in student.named_parameters()]


def assert_close(found: list[Tensor], wanted: list[Tensor], rtol: float = 1e-4) -> None:
    """Relative to each tensor's maximum."""
    assert len(found) == len(wanted) > 20
    for one, other in zip(found, wanted, strict=True):
        maximum = other.double().abs().max().item()
        torch.testing.assert_close(one.double(), other.double(), rtol=rtol, atol=1e-6 * maximum + 1e-30)


def min_max(tensor: Tensor | None, like: Tensor) -> Tensor:
    if tensor is None:
        return torch.zeros_like(like, dtype=torch.float64)
    tensor = tensor.double()
    return (tensor - tensor.min()) / (tensor.max() - tensor.min() + 1e-8)


def importances(name: str, state: dict[str, Tensor], student: nn.Module) -> list[Tensor]:
    """What the penalty should weigh by, from the state after the previous step."""
    tables = {"ewc": ["fisher"], "pi": ["score"], "rw": ["fisher", "score"]}[name]
    columns = zip(*(table(state, each, student) for each in tables), strict=True)
    pairs = zip(columns, student.parameters(), strict=True)
    return [sum(min_max(tensor, parameter) for tensor in column) for column, parameter in pairs]


def fisher_after(seen: list[Seen], first: list[Tensor | None], alpha: float) -> Iterator[list[Tensor]]:
    """The running average before each iteration and after the last."""
    pairs = zip(first, seen[0].plain, strict=True)
    fisher = [torch.ones_like(g).double() if old is None else old.double() for old, g in pairs]
    yield fisher
    for one in seen:
        fisher = [alpha * g.double() ** 2 + (1 - alpha) * f for g, f in zip(one.plain, fisher, strict=True)]
        yield fisher


# The penalty


@NAMES
def test_published_settings(name: str) -> None:
    method = load_method(name)
    assert method.Options().penalty == 100
    assert name == "pi" or method.Options().alpha == 0.9
    assert name != "rw" or method.Options().interval == 10
    assert not method.uses_teacher and method.new_classifier == "default"


@NAMES
@STEPS
def test_old_parameters_are_held_where_they_were(name: str, step: Step, first: Step) -> None:
    state = after_first_step(name, first)
    training = start(name, step, state, penalty=30)
    anchors = values(training.student)
    old = network(first).state_dict()
    for key, anchor in zip(dict(training.student.named_parameters()), anchors, strict=True):
        assert key not in old or torch.equal(anchor, old[key])
    weights = importances(name, state, training.student)
    assert_close(training.method.importances.tensors, weights)
    assert max(weight.max() for weight in weights) > 0.5
    for index, one in enumerate(train(training, step, range(3))):
        moved = [parameter.double().requires_grad_() for parameter in one.before]
        penalty = 30 * fn.ewc_penalty(moved, [anchor.double() for anchor in anchors], weights)
        pulls = torch.autograd.grad(penalty, moved)
        assert set(one.terms) == {"classification", "penalty"}
        torch.testing.assert_close(one.terms["penalty"].double(), penalty.detach(), rtol=1e-4, atol=0)
        assert_close(one.left, [a + b for a, b in zip(one.plain, pulls, strict=True)])
        assert (penalty > 0) == (index > 0)
        # Far above what the comparison forgives
        sizes = [b.abs().max() > 0.01 * a.abs().max() for a, b in zip(one.plain, pulls, strict=True)]
        assert index == 0 or sum(sizes) > 10


@NAMES
def test_importances_are_normalised_tensor_by_tensor(name: str) -> None:
    training = start(name, CLASSES, after_first_step(name))
    top = 2 if name == "rw" else 1
    assert all(tensor.min() >= 0 and tensor.max() <= top for tensor in training.method.importances.tensors)
    state = {
        key: torch.linspace(3, 5, value.numel()).view_as(value)
        for key, value in after_first_step(name).items()
        if value.dim()
    }
    held = start(name, CLASSES, state).method.importances.tensors[0]
    torch.testing.assert_close(held.flatten(), torch.linspace(0, top, held.numel()))


@NAMES
def test_parameters_of_new_classes_are_free(name: str) -> None:
    training = start(name, CLASSES, after_first_step(name))
    names = list(dict(training.student.named_parameters()))
    seen = train(training, CLASSES, range(2))[-1]
    for key, plain, left in zip(names, seen.plain, seen.left, strict=True):
        if key.startswith("classifier.1"):
            assert torch.equal(plain, left)
    assert not all(torch.equal(a, b) for a, b in zip(seen.plain, seen.left, strict=True))


@NAMES
def test_without_penalty_the_update_is_that_of_fine_tuning(name: str) -> None:
    training, plain = start(name, CLASSES, after_first_step(name), penalty=0), start("ft", CLASSES, {})
    for one in (training, plain):
        train(one, CLASSES, range(3))
    found, wanted = training.student.state_dict(), plain.student.state_dict()
    assert all(torch.equal(found[key], value) for key, value in wanted.items())
    assert any(tensor.any() for tensor in training.method.importances.tensors)


@NAMES
def test_frozen_parameters_are_left_out(name: str) -> None:
    student, method = network(CLASSES).train(), make(name, CLASSES)
    frozen = student.backbone.requires_grad_(False)
    method.prepare(student)
    with torch.no_grad():
        method.begin(student, unread, after_first_step(name))
    training = Training(student, None, method, make_optimizer(student, method, RECIPE), RECIPE, frozenset())
    before = values(frozen)
    for seed in range(2):
        terms = update(training, *data(CLASSES, seed))
    method.end(student, unread)
    assert terms["penalty"] > 0
    assert all(torch.equal(a, b) for a, b in zip(before, values(frozen), strict=True))
    assert not any("backbone" in key for key in method.state_dict())


def test_what_is_watched_is_the_gradient_of_all_other_terms() -> None:
    training = start("ewc+sc", CLASSES, after_first_step("ewc"), form="paper")
    (images, shown), twin = data(CLASSES, 0), twin_of(CLASSES)
    update(training, *data(CLASSES, 7))
    twin.load_state_dict(training.student.state_dict())
    before = copy.deepcopy(training.method.state_dict())
    example = Batch(shown, twin(images), None)
    loss = cross_entropy(example, shown).mean() + 0.1 * fn.sharp_confidence(example.student.logits).mean()
    plain = torch.autograd.grad(loss, list(twin.parameters()))
    update(training, images, shown)
    pairs = zip(table(before, "fisher", twin), plain, strict=True)
    wanted = [0.9 * gradient**2 + 0.1 * fisher for fisher, gradient in pairs]
    assert_close(table(training.method.state_dict(), "fisher", twin), wanted, rtol=1e-3)


# What is watched


@pytest.mark.parametrize("name, alpha", [("ewc", 0.9), ("ewc", 0.3), ("rw", 0.9)])
def test_fisher_is_a_running_average_without_the_penalty(name: str, alpha: float) -> None:
    state = after_first_step(name)
    training = start(name, CLASSES, state, alpha=alpha, penalty=30)
    seen, student = train(training, CLASSES, range(3)), training.student
    before = table(state, "fisher", student)
    wanted = list(fisher_after(seen, before, alpha))[-1]
    assert [old is None for old in before].count(True) == 2  # weight and bias of the new classes, from ones
    training.method.end(student, unread)
    assert_close(table(training.method.state_dict(), "fisher", student), wanted)


def test_pi_scores_the_path_by_the_move() -> None:
    state = after_first_step("pi")
    training = start("pi", CLASSES, state, penalty=30)
    seen, student = train(training, CLASSES, range(4)), training.student
    wanted, clipped = [], 0
    for index, (now, old) in enumerate(zip(values(student), table(state, "score", student), strict=True)):
        places = [one.before[index].double() for one in seen]
        path = torch.zeros_like(places[0])
        for t in range(1, len(seen)):
            path += seen[t].plain[index].double() * (places[t - 1] - places[t])
        score = path / ((now.double() - places[0]) ** 2 + 1e-20)
        clipped += (score < 0).sum()
        wanted.append(score.clamp(min=0) + (0 if old is None else old.double()))
    assert clipped > 100
    training.method.end(student, unread)
    assert_close(table(training.method.state_dict(), "score", student), wanted, rtol=1e-3)


@pytest.mark.parametrize("interval", [1, 2, 3])
def test_rw_scores_the_loss_by_the_change_every_few_iterations(interval: int) -> None:
    state = {key: value for key, value in after_first_step("rw").items() if value.dim()}
    state = {key: value + 0.7 if key.startswith("score") else value for key, value in state.items()}
    training = start("rw", CLASSES, state, interval=interval)
    seen, student = train(training, CLASSES, range(5)), training.student
    fishers = list(fisher_after(seen, table(state, "fisher", student), 0.9))
    wanted, clipped = [], 0
    for index, old in enumerate(table(state, "score", student)):
        last, score = seen[0].before[index].double(), 0
        for t in range(interval, len(seen), interval):
            now, gradient = seen[t].before[index].double(), seen[t].plain[index].double()
            score += gradient * (last - now) / (0.5 * fishers[t][index] * (now - last) ** 2 + 1e-8)
            last = now
        clipped += (score < 0).sum()
        score = score.clamp(min=0)
        wanted.append(score if old is None else (score + old.double()) / 2)
    assert clipped > 100
    training.method.end(student, unread)
    assert_close(table(training.method.state_dict(), "score", student), wanted, rtol=1e-3)


# From step to step


@STEPS
@NAMES
def test_after_the_first_step_one_pass_tells(name: str, step: Step, first: Step) -> None:
    state, student = after_first_step(name, first), network(first).eval()
    squares = []
    for batch in looks(student, first)():
        loss = cross_entropy(batch, batch.labels).mean()
        gradients = torch.autograd.grad(loss, list(student.parameters()))
        squares.append([gradient.double() ** 2 for gradient in gradients])
    if name == "pi":  # half the mean
        wanted = [torch.stack(column).mean(0) / 2 for column in zip(*squares, strict=True)]
        assert_close(table(state, "score", student), wanted)
    else:  # from ones
        wanted = [0.001 + 0.009 * a + 0.09 * b + 0.9 * c for a, b, c in zip(*squares, strict=True)]
        assert_close(table(state, "fisher", student), wanted)
    if name == "rw":  # no path was watched
        assert not any(tensor.any() for tensor in table(state, "score", student))


@NAMES
def test_a_pass_over_the_first_step_changes_nothing_in_the_network(name: str) -> None:
    student, method = network(FIRST).eval(), make(name, FIRST)
    before = copy.deepcopy(student.state_dict())
    method.after_first_step(student, looks(student, FIRST))
    assert all(torch.equal(student.state_dict()[key], value) for key, value in before.items())
    assert all(parameter.grad is None for parameter in student.parameters())


@NAMES
def test_the_state_is_what_the_next_step_needs_and_takes_over(name: str) -> None:
    kept = {"ewc": {"fisher"}, "pi": {"score"}, "rw": {"fisher", "score"}}[name]
    training = start(name, CLASSES, after_first_step(name))
    train(training, CLASSES, range(2))
    training.method.end(training.student, unread)
    for state in (after_first_step(name), training.method.state_dict()):
        assert {key.partition(".")[0] for key in state} - {"_extra_state"} == kept
    following = start(name, THIRD, state)
    weights = importances(name, state, following.student)
    assert_close(following.method.importances.tensors, weights)
    fresh = {"fisher": 1, "score": 0}
    for which in kept:
        own = "old_score" if name == "rw" and which == "score" else which
        found = table(following.method.state_dict(), own, following.student)
        pairs = list(zip(found, table(state, which, following.student), strict=True))
        assert sum(old is None for _, old in pairs) == 2
        assert all(old is None or torch.equal(new, old) for new, old in pairs)
        if own == which:
            assert all(old is not None or (new == fresh[which]).all() for new, old in pairs)
    held = dict(zip(dict(following.student.named_parameters()), weights, strict=True))
    assert held["classifier.1.weight"].any() and not held["classifier.2.weight"].any()


@NAMES
def test_a_resumed_step_goes_on_as_if_nothing_had_happened(name: str) -> None:
    options = {"interval": 3} if name == "rw" else {}
    straight, stopped, resumed = (start(name, CLASSES, after_first_step(name), **options) for _ in range(3))
    train(straight, CLASSES, range(5))
    train(stopped, CLASSES, range(2))
    file = io.BytesIO()
    torch.save(stopped.state(), file)
    file.seek(0)
    # As the engine does: prepared by the network of the step's beginning, without `begin`.
    resumed.method = make(name, CLASSES, **options)
    resumed.method.prepare(resumed.student)
    resumed.restore(torch.load(file, weights_only=True), torch.device("cpu"))
    train(resumed, CLASSES, range(2, 5))
    for one in (straight, resumed):
        one.method.end(one.student, unread)
    for found, wanted in ((resumed.student, straight.student), (resumed.method, straight.method)):
        assert list(found.state_dict()) == list(wanted.state_dict())
        assert all(torch.equal(found.state_dict()[key], value) for key, value in wanted.state_dict().items())
