"""Plans: which steps an experiment has, and what their keys do and do not depend on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from plug_in import installed

from issbench.bench.data import Data, open_data
from issbench.bench.engine.assemble import step_of
from issbench.bench.engine.network import Network
from issbench.bench.engine.plan import Plan, StepPlan, make_plan
from issbench.bench.experiment import Experiment
from issbench.methods.interface.options import OptionError
from issbench.methods.interface.registry import available, load_method
from issbench.methods.method import Step
from issbench.scenarios.errors import ScenarioError

CPU = torch.device("cpu")


@cache
def data(domains: bool) -> Data:
    return open_data(Experiment("ft", "shapes_4-1", setting="domain" if domains else "overlapped"))


def plan(method: str = "plop", scenario: str = "shapes_4-1", **experiment: Any) -> Plan:
    asked = Experiment(method, scenario, **experiment)
    return make_plan(asked, data(asked.setting == "domain"), CPU)


def keys(*arguments: Any, **experiment: Any) -> list[str]:
    return [step.key for step in plan(*arguments, **experiment).steps]


# Steps


def test_steps_start_from_each_other() -> None:
    steps = plan().steps
    assert [step.index for step in steps] == [0, 1, 2, 3, 4]
    assert [step.previous for step in steps] == [None, *(step.key for step in steps[:-1])]
    assert [step.channels_per_step for step in steps[:3]] == [(5,), (5, 1), (5, 1, 1)]
    assert [step.method for step in steps] == [None, "plop", "plop", "plop", "plop"]
    assert len(set(keys())) == 5
    assert keys() == keys()


def test_the_step_of_a_method() -> None:
    def seen(planned: StepPlan) -> Step:
        network = Network("tiny", "none", 16, 64, planned.channels_per_step)
        return step_of(planned.place, network)

    class_step, domain_step = (plan("plop", name, **how).steps[1] for name, how in STEPS.items())
    step = seen(class_step)
    assert (step.index, step.classes_per_step, step.domain) == (1, (4, 1), False)
    assert (step.feature_channels, step.encoder_channels) == (64, 128)
    step = seen(domain_step)
    assert (step.index, step.classes_per_step, step.domain) == (1, (8,), True)
    assert step.num_classes == step.num_old == 9


STEPS: dict[str, dict[str, str]] = {"shapes_4-1": {}, "shapes_2-1": {"setting": "domain"}}


def test_joint_trains_the_first_and_the_last_step() -> None:
    first, last = plan("joint").steps
    assert (first.index, last.index) == (0, 4)
    assert first.previous is last.previous is None
    assert last.recipe == first.recipe  # it starts afresh, with the first step's recipe
    assert set(first.train_ids) < set(last.train_ids)
    assert first.key == keys("ft")[0]
    every = plan("joint:every_step=on").steps
    assert [step.index for step in every] == [0, 1, 2, 3, 4]
    assert {step.previous for step in every} == {None}


def test_mistakes_show_before_anything_is_trained() -> None:
    with pytest.raises(OptionError, match="did you mean lambda1"):
        plan("gsc:lamda1=1")
    with pytest.raises(ScenarioError, match="unknown class of shapes"):
        plan(classes=("disc",))
    with pytest.raises(ScenarioError, match="starts with 9"):
        plan("ft", "shapes_9-1")


# Keys


def test_the_first_step_is_shared() -> None:
    sharing = [name for name, info in available().items() if not info.part and not load_method(name).own_first_step]
    first = {keys(method)[0] for method in sharing}
    first |= {keys("gsc:sg=off", "shapes_4-2")[0], keys("plop", "shapes_4-4")[0]}
    assert len(first) == 1


def test_a_first_step_of_its_own_is_shared_where_what_matters_there_is_equal() -> None:
    first = {keys(method)[0] for method in ("lwf-mc", "lwf-mc:distillation=5", "lwf-mc+ewf", "lwf-mc+sc")}
    assert len(first) == 1 and first != {keys("ft")[0]}
    assert len({keys(method)[1] for method in ("lwf-mc", "lwf-mc:distillation=5", "lwf-mc+ewf")}) == 3
    assert keys("plop", "shapes_4-1")[1] != keys("plop", "shapes_4-2")[1]
    assert keys("plop", "shapes_1-1")[0] not in first


@pytest.mark.parametrize("options", ["", ":backbone_rate=0.5"])
@pytest.mark.parametrize("name", ["ssul", "dkd"])
def test_a_method_with_a_memory_shares_the_first_step_of_the_one_without(name: str, options: str) -> None:
    one, other = keys(name + options), keys(f"{name}-m{options}")
    assert one[0] == other[0] != keys("ft")[0] and not {*one[1:]} & {*other[1:]}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"order": "random:1"},
        {"setting": "disjoint"},
        {"protocol": "mib"},  # void pixels are background in training
        {"recipe": {"first_lr": 0.5}},
        {"recipe": {"first_epochs": 2}},
        {"recipe": {"precision": "bf16"}},
        {"recipe": {"batch": 4}},
        {"recipe": {"backbone": "resnet18"}},
        {"recipe": {"scale_max": 1.5}},
    ],
)
def test_what_changes_every_step(change: dict[str, Any]) -> None:
    assert not set(keys()) & set(keys(**change))


@pytest.mark.parametrize("change", [{"recipe": {"lr": 0.5}}, {"recipe": {"epochs": 2}}])
def test_later_settings_leave_the_first_step_alone(change: dict[str, Any]) -> None:
    (first, *later), (changed_first, *changed_later) = keys(), keys(**change)
    assert first == changed_first
    assert not set(later) & set(changed_later)


def test_method_and_options_leave_the_first_step_alone() -> None:
    lists = [keys(method) for method in ("ft", "mib", "plop", "plop:pod=0.5", "gsc", "gsc:sg=off")]
    assert len({first for first, *_ in lists}) == 1
    later = [key for _, *rest in lists for key in rest]
    assert len(set(later)) == len(later)
    assert keys("plop:pod=0.010") == keys("plop")  # the default, spelled out


def test_sequential_steps_begin_as_disjoint_ones() -> None:
    disjoint, sequential = plan(setting="disjoint").steps, plan(setting="sequential").steps
    assert sequential[0].key == disjoint[0].key
    assert [step.train_ids for step in sequential] == [step.train_ids for step in disjoint]
    assert not {step.key for step in sequential[1:]} & {step.key for step in disjoint[1:]}
    assert [step.identity.get("old_labelled") for step in sequential] == [None, True, True, True, True]
    assert not any("old_labelled" in step.identity for step in disjoint)


def test_the_draw_of_partitioned_steps_is_part_of_the_experiment() -> None:
    one, same, other = (plan(setting=f"partitioned{draw}") for draw in ("", ":0", ":1"))
    assert one.run_name == same.run_name != other.run_name and ":" not in other.run_name
    assert [step.key for step in one.steps] == [step.key for step in same.steps]
    assert not {step.key for step in one.steps} & {step.key for step in other.steps}
    again = plan("ft", setting="partitioned", seed=3)
    assert [step.train_ids for step in one.steps] == [step.train_ids for step in again.steps]


def test_a_fraction_of_the_images_changes_every_step() -> None:
    whole, part = plan(), plan(images="0.3")
    assert not {step.key for step in whole.steps} & {step.key for step in part.steps}
    assert plan(images="1").run_name == whole.run_name != part.run_name
    for few, every in zip(part.steps, whole.steps, strict=True):
        assert {*few.train_ids} < {*every.train_ids} and "images" not in few.identity  # the data say it
        assert len(few.train_ids) == pytest.approx(0.3 * len(every.train_ids), abs=4)
        assert few.view.test == every.view.test
    assert [step.train_ids for step in plan("ft", images="0.3", seed=3).steps] == [s.train_ids for s in part.steps]


def test_precision_is_what_the_device_has() -> None:
    assert keys() == keys(recipe={"precision": "fp32"})
    assert plan().steps[0].recipe.precision == "fp32"


def test_classes_in_the_natural_order_are_no_other_experiment() -> None:
    names = ("disk", "ring", "square", "triangle", "cross", "star", "crescent", "hexagon")
    spelled_out = [plan(), plan(classes=names), plan(order=",".join(map(str, range(1, 9))))]
    assert len({tuple(step.key for step in each.steps) for each in spelled_out}) == 1
    assert len({each.run_name for each in spelled_out}) == 1


# Evaluation


def test_protocols_share_the_training_but_not_the_evaluation() -> None:
    plop, ssul = plan(protocol="plop"), plan(protocol="ssul")
    assert [step.key for step in plop.steps] == [step.key for step in ssul.steps]
    assert plop.steps[0].evaluations["confusion"] != ssul.steps[0].evaluations["confusion"]
    names = [step.evaluations["confusion"] for step in plop.steps]
    assert len(set(names)) == len(names)
    assert names == [step.evaluations["confusion"] for step in plan("ft").steps]


def test_the_evaluation_depends_on_the_crop() -> None:
    assert plan(recipe={"crop": 32}).steps[0].evaluations != plan().steps[0].evaluations


def test_each_kind_of_counts_is_a_test_of_its_own() -> None:
    usual, more = plan().steps[0].evaluations, plan(metrics=("boundary-iou",)).steps[0].evaluations
    assert {*usual} == {"confusion"} and {*more} == {"confusion", "boundary"}
    assert more["confusion"] == usual["confusion"] != more["boundary"]
    assert [key for key, _ in plan(metrics=("boundary-iou",)).keys[:2]] == [plan().steps[0].key] * 2


def test_states_after_the_first_step_belong_to_a_method_and_its_options() -> None:
    names = {plan(method).state_name() for method in ("plop", "plop:pod=1", "gsc")}
    assert len(names) == 3


# A method of another package


METHOD = '''
"""A method from elsewhere."""

from dataclasses import dataclass
from issbench.methods.mib import MiB


@dataclass(frozen=True, kw_only=True)
class Options:
    strength: float = 1.0


class Elsewhere(MiB):
    """Learns elsewhere."""

    name = "elsewhere"
    title = "Elsewhere"
    Options = Options

    def terms(self, batch, targets):
        return {"nothing": FACTOR * targets.new_zeros(())}  # COMMENT
'''


def test_an_edited_method_is_trained_anew(tmp_path: Path) -> None:
    with installed(tmp_path, "elsewhere", "Elsewhere", METHOD.replace("FACTOR", "2")) as write:
        first, *later = keys("elsewhere")
        assert first == keys("plop")[0]
        comments = METHOD.replace("COMMENT", "twice").replace("Learns elsewhere", "Learns there") + "\n\n"
        write(comments.replace("FACTOR", "2"))
        assert keys("elsewhere") == [first, *later]
        write(METHOD.replace("FACTOR", "3"))
        changed_first, *changed = keys("elsewhere")
        assert changed_first == first
        assert not set(changed) & set(later)
