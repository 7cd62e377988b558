"""EWF: what is frozen, and how the endpoints are mixed."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from method_examples import CLASSES, DOMAIN, make, network


@pytest.mark.parametrize("name", ["mib+ewf", "plop+ewf"])
def test_the_old_weights_are_mixed_in(name: str) -> None:
    """By hand, on the weights and running statistics that were there before; new classes stay as trained."""
    method, student = make(name, CLASSES), network(CLASSES)
    before = {key: torch.full_like(value, 2) for key, value in student.state_dict().items() if ".1." not in key}
    now = {key: value.clone() for key, value in student.state_dict().items()}
    with torch.no_grad():
        method.fuse(student, before)
    alpha = sqrt(2 / 6)  # two new classes of six with the background
    for key, fused in student.state_dict().items():
        if key in before and fused.is_floating_point():
            torch.testing.assert_close(fused, (1 - alpha) * 2 + alpha * now[key])
        else:
            assert torch.equal(fused, now[key]), key
    assert "classifier.0.bias" in before and "classifier.1.bias" not in before


def test_old_classifiers_are_frozen() -> None:
    method, student = make("mib+ewf", CLASSES), network(CLASSES)
    method.prepare(student)
    (group,) = method.parameter_groups(student)
    trained = {id(parameter) for parameter in group["params"]}
    frozen = [name for name, parameter in student.named_parameters() if id(parameter) not in trained]
    assert frozen == ["classifier.0.weight", "classifier.0.bias"]


@pytest.mark.parametrize(("step", "options"), [(DOMAIN, {}), (CLASSES, {"ewf": "off"})])
def test_without_new_classes_or_switched_off_it_changes_nothing(step, options) -> None:
    method, student = make("mib+ewf", step, **options), network(step)
    method.prepare(student)
    now = {key: value.clone() for key, value in student.state_dict().items()}
    method.fuse(student, {key: value + 1 for key, value in now.items()})
    assert all(torch.equal(now[key], value) for key, value in student.state_dict().items())
    assert all(parameter.requires_grad for parameter in student.parameters())
