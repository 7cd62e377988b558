"""Combinations of a method with parts: what they compute, their options and names, and what is refused."""

from __future__ import annotations

import copy
import inspect
import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from commands import bench
from method_examples import (
    CLASSES,
    DOMAIN,
    SIZE,
    STEPS,
    batch,
    begun,
    cross_entropy,
    gradients,
    make,
    network,
    options_of,
    takes,
)
from small_folder import RECIPE, small_folder
from torch import Tensor

from issbench import Experiment, run
from issbench.bench.data import open_data
from issbench.bench.engine.plan import make_plan
from issbench.bench.engine.store import Store
from issbench.bench.engine.training import StepTrainer
from issbench.bench.engine.update import make_optimizer
from issbench.bench.recipe import Recipe
from issbench.methods import functional as fn
from issbench.methods.equations.pseudo_labels import labelled_share
from issbench.methods.interface.composition import CompositionError
from issbench.methods.interface.options import OptionError
from issbench.methods.interface.registry import UnknownMethod, available, load_method, method_info
from issbench.methods.method import Batch, Method, Part, Step
from issbench.methods.shared.branches import TwoBranches

OFF = {"pr": "off", "sg": "off", "sr": "off", "sc": "off"}
BASES = [name for name, info in available().items() if not (info.part or info.parts or info.not_composable_because)]
BASES_EVERYWHERE = pytest.mark.parametrize(
    ("base", "step"), [(base, step) for base in BASES for step in (CLASSES, DOMAIN) if takes(base, step)]
)


def assert_same_to_the_bit(one: Method, other: Method, step: Step) -> None:
    mine, theirs = one.loss(batch(step)), other.loss(batch(step))
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    for a, b in zip(gradients(one, batch(step)), gradients(other, batch(step)), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


# What is computed


@STEPS
def test_plop_with_the_parts_of_gsc_is_gsc(step: Step) -> None:
    assert_same_to_the_bit(begun("plop+gsc", step), begun("gsc", step), step)
    some = {"sr": "off", "lambda2": "0.3", "temperature": "2"}
    assert_same_to_the_bit(begun("plop+sc+sr+sg+pr", step, **some), begun("gsc", step, **some), step)
    ours, theirs = begun("plop+gsc", step).state_dict(), begun("gsc", step).state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@BASES_EVERYWHERE
def test_a_combination_with_all_switches_off_is_the_method(base: str, step: Step) -> None:
    assert_same_to_the_bit(begun(f"{base}+gsc", step, **OFF), begun(base, step), step)


@BASES_EVERYWHERE
def test_a_part_adds_its_term_and_leaves_the_others(base: str, step: Step) -> None:
    with_it, without = begun(f"{base}+sc", step).loss(batch(step)), begun(base, step).loss(batch(step))
    confidence = with_it.pop("confidence")
    assert with_it.keys() == without.keys()
    assert all(torch.equal(with_it[name], without[name]) for name in without)
    entropy = fn.sharp_confidence(batch(step).student.logits).mean()
    torch.testing.assert_close(confidence, 0.1 * entropy / step.num_classes)


def old_classes(method: Method, example: Batch) -> Tensor:
    """Eq. 12, by hand."""
    student, teacher = example.student, example.teacher
    weights = fn.prototype_weights(student.features, method.old_prototypes)
    weights = nnf.interpolate(weights, SIZE, mode="bilinear", align_corners=False)
    return fn.prototypical_pseudo_labels(example.labels, teacher.logits, weights, method.medians, 4)


def test_rcil_with_gsc() -> None:
    method, example, student = begun("rcil+gsc", CLASSES), batch(CLASSES), network(CLASSES)
    terms, rcil = method.loss(example), begun("rcil", CLASSES).loss(batch(CLASSES))
    assert set(terms) == {"classification", "distillation", "spatial", "channel", "relation", "confidence"}
    assert all(torch.equal(terms[name], rcil[name]) for name in ("distillation", "spatial", "channel"))
    # Not MiB's unbiased cross-entropy: the labels reveal the old classes.
    targets, logits = old_classes(method, example), example.student.logits
    assert set(targets.unique().tolist()) > {255, 4, 5}
    wanted = (fn.step_aware_weights(logits, targets, (3, 2)) * cross_entropy(example, targets)).mean()
    torch.testing.assert_close(terms["classification"], wanted)
    relation = fn.soft_relation(logits, example.teacher.logits, example.labels, released=True).mean()
    torch.testing.assert_close(terms["relation"], 0.3 * relation)
    torch.testing.assert_close(terms["confidence"], 0.1 * fn.sharp_confidence(logits).mean() / 6)
    method.prepare(student)
    assert any(isinstance(module, TwoBranches) for module in student.modules())
    method.end(student, lambda: iter(()))
    assert list(student.state_dict()) == list(network(CLASSES).state_dict())


def test_weights_by_steps_on_top_of_unbiased_cross_entropy() -> None:
    """Without `pr` the background still hides old classes, so MiB's own classification is weighted."""
    method, example = begun("mib+sg", CLASSES), batch(CLASSES)
    weights = fn.step_aware_weights(example.student.logits, example.labels, (3, 2))
    pixels = fn.unbiased_cross_entropy(example.student.logits, example.labels, 4)
    torch.testing.assert_close(method.loss(example)["classification"], (weights * pixels).mean())


def test_attributes_are_those_of_the_method() -> None:
    for base in BASES:
        own, combined = load_method(base), load_method(f"{base}+gsc")
        for name in (
            "uses_stages",
            "new_classifier",
            "cumulative",
            "published",
            "not_composable_because",
            "__module__",
        ):
            assert getattr(own, name) == getattr(combined, name), (base, name)
        assert combined.uses_teacher
    assert load_method("rcil+gsc").title == "RCIL+GSC"
    assert load_method("mib+sg+pr").title == "MiB+PR+SG"


@pytest.mark.parametrize("base", BASES)
def test_parts_and_methods_do_not_take_each_others_names(base: str) -> None:
    """State, attributes and options share one object: the same name twice would be one thing for both."""
    method, parts = load_method(base), [name for name, info in available().items() if info.part]
    for part in parts:
        (top,) = [each for each in load_method(f"{base}+{part}").__mro__ if each.__dict__.get("name") == part]
        own = {name for name in vars(top) if not name.startswith("__")} - {
            *dir(Part),
            "name",
            "title",
            "needs_medians",
        }
        assert not {name for name in own if hasattr(method, name)}, part
        assert not {f.name for f in fields(top.Options)} & {f.name for f in fields(method.Options)}, part
    state = begun(base, CLASSES).state_dict()
    combined = begun(f"{base}+gsc", CLASSES).state_dict()
    assert all(combined[name].shape == tensor.shape for name, tensor in state.items())


def test_parts_do_not_take_each_others_names() -> None:
    """Except for an option that they share, which is declared once."""
    owners: dict[str, type] = {}
    for part in (name for name, info in available().items() if info.part):
        (top,) = [each for each in load_method(f"ft+{part}").__mro__ if each.__dict__.get("name") == part]
        own = {name: top for name in vars(top) if not name.startswith("__") and not hasattr(Part, name)}
        for options in top.Options.__mro__:
            own |= dict.fromkeys(inspect.get_annotations(options), options)
        for name in own.keys() & owners.keys() - {"title", "name", "needs_medians"}:
            assert owners[name] is own[name], (part, name)
        owners |= own


@pytest.mark.parametrize("part, teacher", [("pr", True), ("sg", False), ("sr", True), ("sc", False)])
def test_a_part_that_needs_a_teacher_gets_one(part: str, teacher: bool) -> None:
    assert not load_method("ft").uses_teacher
    assert load_method(f"ft+{part}").uses_teacher == teacher
    assert load_method(f"mib+{part}").uses_teacher
    example = batch(CLASSES)
    if not teacher:
        example = Batch(example.labels, example.student, None)
    assert all(value.isfinite() for value in begun(f"ft+{part}", CLASSES).loss(example).values())


# Options and names


@pytest.mark.parametrize("name", ["rcil+gsc", "plop+pr", "ft+sc+sr", "sdr+sg"])
def test_options_are_those_of_the_method_and_of_the_parts(name: str) -> None:
    options = load_method(name).Options
    base, *added = name.split("+")
    parts = list(available()["gsc"].parts) if added == ["gsc"] else added
    declared = [
        option.name
        for each in (base, *parts)
        for option in method_info(each if each == base else f"ft+{each}").options
    ]
    assert {field.name for field in fields(options)} == set(declared)
    assert sorted(option.name for option in method_info(name).options) == sorted(set(declared))  # each once
    for field in fields(options):
        value = {"thresholds": "released", "new_weight": "learned", "form": "paper"}.get(field.name)
        value = value or {bool: "off", int: "7"}.get(type(field.default), "0.7")
        parsed = getattr(options_of(name, **{field.name: value}), field.name)
        assert parsed != field.default and type(parsed) is type(field.default)
    with pytest.raises(OptionError, match=f"method {re.escape(name)} has no option 'lambda3'"):
        options_of(name, lambda3="1")


@pytest.mark.parametrize("base", ["rcil", "plop", "mib"])
@pytest.mark.parametrize("dataset", ["voc", "ade", "cityscapes"])
def test_published_settings_of_the_method_are_kept(base: str, dataset: str) -> None:
    own, combined = options_of(base, dataset), options_of(f"{base}+gsc", dataset, lambda1="0.7")
    assert all(getattr(combined, field.name) == getattr(own, field.name) for field in fields(own))
    assert (combined.lambda1, combined.lambda2, combined.new_weight) == (0.7, 0.1, "one")


def test_the_order_of_parts_does_not_matter(tmp_path: Path) -> None:
    one, other = load_method("mib+sg+pr"), load_method("mib+pr+sg")
    assert one.name == other.name == method_info("mib+sg+pr").name == "mib+pr+sg"
    assert one.__mro__[1:] == other.__mro__[1:]
    assert_same_to_the_bit(begun("mib+sg+pr", CLASSES), begun("mib+pr+sg", CLASSES), CLASSES)
    root = str(small_folder(tmp_path / "folder"))
    asked = [
        Experiment(f"{name}:lambda2=1", "folder_1-1", recipe=RECIPE, data=root)
        for name in ("mib+sg+sc", "mib+sc+sg")
    ]
    assert asked[0] == asked[1]
    data = open_data(asked[0])
    one, other = (make_plan(each, data, torch.device("cpu")) for each in asked)
    assert one.run_name == other.run_name and one.keys == other.keys


def test_a_combination_has_steps_of_its_own(tmp_path: Path) -> None:
    root = str(small_folder(tmp_path / "folder"))
    asked = [
        Experiment(name, "folder_1-1", recipe=RECIPE, data=root)
        for name in ("mib", "mib+sc", "mib+gsc", "mib+gsc:sr=off")
    ]
    data = open_data(asked[0])
    plans = [make_plan(each, data, torch.device("cpu")) for each in asked]
    assert len({plan.steps[0].key for plan in plans}) == 1
    assert len({plan.steps[1].key for plan in plans}) == len({plan.run_name for plan in plans}) == 4


def test_combinations_through_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers, set_up = [], StepTrainer._set_up

    def remember(self: StepTrainer) -> Any:
        training = set_up(self)
        teachers.append((self.step.method, training.teacher is not None))
        return training

    monkeypatch.setattr(StepTrainer, "_set_up", remember)
    root = str(small_folder(tmp_path / "folder"))
    names = ["ft+sr", "rcil+gsc", "gsc:new_weight=learned"]
    asked = [Experiment(name, "folder_2-1", recipe=RECIPE, data=root) for name in names]
    records = run(asked, out=tmp_path / "out", device="cpu", workers=0)
    assert teachers == [(None, False), ("ft+sr", True), ("rcil+gsc", True), ("gsc", True)]
    assert [record["complete"] for record in records] == [True] * 3
    assert set(records[0]["steps"][1]["training"]["history"][0]) == {"classification", "relation"}
    learned = Store(tmp_path / "out").load_state(records[2]["steps"][1]["key"])["log_weight"]
    assert learned.isfinite() and learned != 0


# What is refused


REFUSED = {
    "joint+gsc": "nothing can be put on top of joint: it learns from all data at once",
    "gsc+sc": "gsc has sc already; switch it with gsc:sc=on or off",
    "gsc+gsc": "gsc has pr already",
    "mib+plop": "plop is a whole method with a loss of its own; what can be put on top of a method is pr, sg, sr, "
    "sc",
    "mib+joint": "joint is a whole method",
    "sc+mib": "sc is a part, not a method; write METHOD+sc, as in ft+sc",
    "sc": "sc is a part, not a method",
    "mib+sc+sc": "sc is there twice",
    "mib+gsc+sc": "sc is there twice",
    "mib+nonsense": "unknown method 'nonsense'",
    "mib+mid": "did you mean mib",
    "nonsense+sc": "unknown method 'nonsense'",
    "mib+": "unknown method ''",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_meaning_is_refused(name: str) -> None:
    for ask in (method_info, load_method, lambda name: Experiment(f"{name}:lambda1=1", "shapes_4-1")):
        with pytest.raises((CompositionError, UnknownMethod)) as info:
            ask(name)
        assert REFUSED[name] in str(info.value)
        assert info.value.exit_code == 2


@pytest.mark.parametrize("name", ["mib+plop", "joint+gsc", "sc", "mib+nonsense"])
def test_the_command_line_tells_why(name: str, tmp_path: Path) -> None:
    message = bench("run", "--scenario", "shapes_4-1", "--methods", f"ft,{name}", "--out", tmp_path / "out", code=2)
    assert message.startswith("error: ") and len(message.splitlines()) == 1
    assert REFUSED[name] in message
    assert not (tmp_path / "out").exists()  # before anything trains


# The learned weight of new classes


def test_a_learned_weight_starts_at_one() -> None:
    learned, one = begun("gsc", CLASSES, new_weight="learned"), begun("gsc", CLASSES)
    with_it, without = learned.loss(batch(CLASSES)), one.loss(batch(CLASSES))
    assert with_it.pop("new weight") == 0
    assert list(with_it) == list(without)
    assert all(torch.equal(with_it[name], without[name]) for name in without)


@pytest.mark.parametrize("weight", [1.0, 0.3, 4.0])
@pytest.mark.parametrize("name", ["gsc", "ft+sg", "mib+sg"])
def test_the_gradient_of_a_learned_weight(name: str, weight: float) -> None:
    method, example = begun(name, CLASSES, new_weight="learned", form="paper"), batch(CLASSES)
    with torch.no_grad():
        method.log_weight.fill_(math.log(weight))
        targets = method.targets(example)
        new = (targets == 4) | (
            targets == 5
        )  # the new classes are never hidden, so all three methods agree on them
        loss = cross_entropy(example, targets)[new].mean()
    share = new.float().mean()
    assert 0 < share < 1
    sum(method.loss(example).values()).backward()
    torch.testing.assert_close(method.log_weight.grad, share * (weight * loss - 1))


def test_a_learned_weight_is_best_at_the_inverse_of_the_loss() -> None:
    method, example = begun("ft+sg", CLASSES, new_weight="learned"), batch(CLASSES)
    new = (example.labels == 4) | (example.labels == 5)
    best = -cross_entropy(example, example.labels)[new].mean().log().detach()

    def total(log_weight: Tensor) -> Tensor:
        with torch.no_grad():
            method.log_weight.copy_(log_weight)
            return sum(method.loss(example).values())

    assert total(best) < total(best + 0.1) and total(best) < total(best - 0.1)
    with torch.no_grad():
        method.log_weight.copy_(best)
    sum(method.loss(example).values()).backward()
    assert method.log_weight.grad.abs() < 1e-6


def test_a_learned_weight_counts_at_new_pixels_alone() -> None:
    method, example = begun("gsc", CLASSES, new_weight="learned", form="paper"), batch(CLASSES)
    targets = method.targets(example)
    before = method.pixel_weights(example, targets).detach().clone()
    with torch.no_grad():
        method.log_weight.fill_(math.log(5))
    after = method.pixel_weights(example, targets)
    new = (targets == 4) | (targets == 5)
    assert new.any() and (targets == 255).any()
    torch.testing.assert_close(after[new], torch.full_like(after[new], 5))
    assert torch.equal(after[~new], before[~new])


def test_a_learned_weight_is_best_at_the_inverse_of_what_the_weights_below_leave() -> None:
    """In `gsc` as released: of the loss times PLOP's factor."""
    method, example = begun("gsc", CLASSES, new_weight="learned"), batch(CLASSES)
    targets = method.targets(example)
    factor, new = labelled_share(example.labels, targets, 4)[:, None, None], (targets == 4) | (targets == 5)
    with torch.no_grad():
        loss = (factor * cross_entropy(example, targets))[new].mean()
        method.log_weight.copy_(-loss.log())
    sum(method.loss(example).values()).backward()
    assert method.log_weight.grad.abs() < 1e-6


def test_where_there_is_no_learned_weight() -> None:
    for method in (
        make("gsc", CLASSES),
        make("gsc", CLASSES, new_weight="learned", sg="off"),
        make("gsc", DOMAIN, new_weight="learned"),
        make("plop", CLASSES),
    ):
        assert not list(method.parameters()) and "log_weight" not in method.state_dict()
    for step, options in ((DOMAIN, {}), (CLASSES, {"sg": "off"})):
        assert_same_to_the_bit(
            begun("gsc", step, new_weight="learned", **options), begun("gsc", step, **options), step
        )


def test_a_learned_weight_is_trained_saved_and_restored() -> None:
    method, example, student = begun("gsc", CLASSES, new_weight="learned"), batch(CLASSES), network(CLASSES)
    assert [name for name, _ in method.named_parameters()] == ["log_weight"]
    optimizer = make_optimizer(student, method, Recipe(lr=0.1))
    assert any(p is method.log_weight for group in optimizer.param_groups for p in group["params"])
    sum(method.loss(example).values()).backward()
    optimizer.step()
    assert method.log_weight != 0
    fresh = make("gsc", CLASSES, new_weight="learned")
    fresh.load_state_dict(copy.deepcopy(method.state_dict()))
    assert torch.equal(fresh.log_weight, method.log_weight)
    first, second = method.loss(batch(CLASSES)), fresh.loss(batch(CLASSES))
    assert all(torch.equal(first[name], second[name]) for name in first)
