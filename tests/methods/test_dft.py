"""DFT*: what trains, and what stays."""

from __future__ import annotations

import pytest
import torch
from method_examples import CLASSES, DOMAIN, make, network, options_of

from issbench.errors import UsageError


def test_an_update_changes_the_new_classifier_alone() -> None:
    student, method = network(CLASSES), make("dft", CLASSES)
    method.prepare(student)
    method.set_training_mode(student)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    optimizer = torch.optim.SGD(method.parameter_groups(student), lr=0.1)
    student(torch.randn(2, 3, 64, 64)).logits.square().sum().backward()
    optimizer.step()
    changed = {name for name, value in student.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"classifier.1.weight", "classifier.1.bias"}, "norms keep their statistics, too"


def test_the_rate_is_that_of_the_scenario() -> None:
    rates = {"voc_15-1": 0.5, "voc_15-5": 20, "voc_10-5": 1, "ade_100-5": 12.5, "ade_50-50": 25, "shapes": 1}
    assert {scenario: options_of("dft", scenario).rate for scenario in rates} == rates
    method = make("dft", CLASSES, rate=3.0)
    assert [group["scale"] for group in method.parameter_groups(network(CLASSES))] == [3.0]


def test_a_step_without_new_classes_is_refused() -> None:
    with pytest.raises(UsageError, match="method dft trains what new classes add to a network") as refused:
        make("dft", DOMAIN)
    assert refused.value.exit_code == 2
