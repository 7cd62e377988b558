"""What a method knows of the step that it is in."""

import pytest

from issbench.methods.method import Step


@pytest.mark.parametrize(
    "step, num_classes, num_old, num_new, num_hidden",
    [
        (Step(0, (15,)), 16, 0, 16, 1),
        (Step(2, (15, 1, 1)), 18, 17, 1, 17),
        (Step(0, (18,), domain=True), 19, 0, 19, 1),
        (Step(3, (18,), domain=True), 19, 19, 0, 1),
        (Step(2, (15, 1, 1), old_labelled=True), 18, 17, 1, 1),
    ],
)
def test_step(step: Step, num_classes: int, num_old: int, num_new: int, num_hidden: int) -> None:
    counts = (step.num_classes, step.num_old, step.num_new, step.num_hidden)
    assert counts == (num_classes, num_old, num_new, num_hidden)
