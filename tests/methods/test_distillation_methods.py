"""LwF, LwF-MC and ILT: what each term is; PLOP's thresholds: the paper's, and those of its released code."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, nan

import pytest
import torch
from method_examples import (
    CLASSES,
    DOMAIN,
    SIZE,
    STEPS,
    batch,
    begun,
    cross_entropy,
    gradients,
    looks,
    make,
    network,
    output,
)
from torch import Tensor

from issbench.methods.interface.registry import load_method
from issbench.methods.method import Batch, Method, Output, Step

# LwF, LwF-MC, ILT


def test_published_weights() -> None:
    lwf, lwf_mc, ilt = (load_method(name) for name in ("lwf", "lwf-mc", "ilt"))
    assert lwf.Options().distillation == 100 and lwf_mc.Options().distillation == 10
    assert (ilt.Options().distillation, ilt.Options().encoder) == (100, 100)
    for method in (lwf, lwf_mc, ilt):
        assert method.uses_teacher and not method.uses_stages and method.new_classifier == "default"
        assert method.published == {}


def old_probabilities_distilled(example: Batch, old: int) -> Tensor:
    """Mean over pixels and old classes of −q log p, p of the student's old classes alone."""
    student, teacher = example.student.logits.double(), example.teacher.logits.double()
    exponentials = student[:, :old].exp()
    p = exponentials / exponentials.sum(dim=1, keepdim=True)
    return -(teacher.softmax(1) * p.log()).sum(1).mean() / old


def sigmoids(example: Batch, old: int) -> Tensor:
    """Binary cross-entropy of the old classes, summed over them, mean over pixels."""
    p, q = example.student.logits.double()[:, :old].sigmoid(), example.teacher.logits.double().sigmoid()
    return -(q * p.log() + (1 - q) * (1 - p).log()).sum(1).mean()


def one_against_all(example: Batch) -> Tensor:
    """Binary cross-entropy with one-hot labels, summed over classes, 0 where ignored, mean over all pixels."""
    p, total = example.student.logits.double().sigmoid(), torch.zeros((), dtype=torch.float64)
    for c in range(p.shape[1]):
        total = total - p[:, c][example.labels == c].log().sum()
        total = total - (1 - p[:, c])[(example.labels != c) & (example.labels != 255)].log().sum()
    return total / example.labels.numel()


def encoders(example: Batch) -> Tensor:
    new, old = example.student.encoder.double(), example.teacher.encoder.double()
    return ((new - old) ** 2).sum() / new.numel()


@STEPS
@pytest.mark.parametrize("name", ["lwf", "lwf-mc", "ilt"])
def test_terms(name: str, step: Step) -> None:
    """In domains all labels are learned and all classes are distilled."""
    example, method = batch(step), begun(name, step)
    assert (example.labels == 255).any() and step.num_old == (5 if step.domain else 4)
    if name == "lwf-mc":
        wanted = {"classification": one_against_all(example), "distillation": 10 * sigmoids(example, step.num_old)}
    else:
        wanted = {"classification": cross_entropy(example, example.labels).double().mean()}
        wanted["distillation"] = 100 * old_probabilities_distilled(example, step.num_old)
    if name == "ilt":
        wanted["encoder"] = 100 * encoders(example)
    found = method.loss(example)
    assert list(found) == list(wanted)
    student, teacher = example.student, example.teacher
    leaves = [student.low_logits, student.encoder]
    for term, value in wanted.items():
        assert found[term].dtype == torch.float32
        torch.testing.assert_close(found[term].double(), value, rtol=1e-5, atol=0)
        own, naive = (
            torch.autograd.grad(one[term], leaves, retain_graph=True, allow_unused=True) for one in (found, wanted)
        )
        for one, other in zip(own, naive, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * other.abs().max().item())
    sum(found.values()).backward()
    assert teacher.features.grad is None and student.features.grad is None and student.stages[0].grad is None


@pytest.mark.parametrize("name, term", [("lwf", "distillation"), ("lwf-mc", "distillation"), ("ilt", "encoder")])
def test_a_weight_weighs_its_term_alone(name: str, term: str) -> None:
    one, four = (begun(name, CLASSES, **{term: weight}).loss(batch(CLASSES)) for weight in (1, 4))
    assert {key for key in one if not torch.equal(one[key], four[key])} == {term}
    torch.testing.assert_close(four[term], 4 * one[term])


@STEPS
@pytest.mark.parametrize("name, weights", [("lwf", ["distillation"]), ("ilt", ["distillation", "encoder"])])
def test_without_distillation_the_gradients_are_those_of_fine_tuning(
    name: str, weights: list[str], step: Step
) -> None:
    method, plain = begun(name, step, **dict.fromkeys(weights, 0)), begun("ft", step)
    assert torch.equal(method.loss(batch(step))["classification"], plain.loss(batch(step))["classification"])
    found, wanted = gradients(method, batch(step)), gradients(plain, batch(step))
    assert wanted[0].any()
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@STEPS
def test_ilt_without_its_encoder_term_is_lwf_to_the_bit(step: Step) -> None:
    found, wanted = begun("ilt", step, encoder=0).loss(batch(step)), begun("lwf", step).loss(batch(step))
    assert found.pop("encoder") == 0 and found == wanted


def test_a_student_that_is_its_teacher_has_nothing_to_distil() -> None:
    for name in ("lwf", "lwf-mc", "ilt"):
        example = batch(CLASSES)
        with torch.no_grad():
            example.student.low_logits[:, :4] = example.teacher.low_logits
            example.student.encoder.copy_(example.teacher.encoder)
        terms = begun(name, CLASSES).loss(example)
        total = sum(value for key, value in terms.items() if key != "classification")
        (slope,) = torch.autograd.grad(total, example.student.low_logits)
        assert slope.abs().max() < 1e-6
    assert terms["encoder"] == 0


# PLOP's thresholds


Row = tuple[int, float]
"""A pixel: its class, and by how much its logit is above the others' (the higher, the more confident)."""


def pixels(rows: Sequence[Row], old: int, size: tuple[int, int] = SIZE) -> Batch:
    """Background pixels that the old model predicts so; what is left of the batch is ignored."""
    flat = torch.zeros(size[0] * size[1], old)
    shown = torch.full((len(flat),), 255)
    shown[: len(rows)] = 0
    classes, heights = zip(*rows, strict=True)
    flat[torch.arange(len(rows)), torch.tensor(classes)] = torch.tensor(heights)
    logits = flat.T.reshape(1, old, *size)
    nothing = torch.zeros(1, 1, *size)
    return Batch(shown.view(1, *size), None, Output(logits, nothing, nothing, (), size))


def released_entropy(logits: Tensor, num_classes: int) -> Tensor:
    """As the released code measures it: mean over the old classes, divided by log C_old and by log C."""
    p = logits.double().softmax(1)
    return -(p * p.clamp(min=1e-300).log()).mean(1) / log(p.shape[1]) / log(num_classes)


def released_walk(seen: Sequence[Batch], step: Step, least: float = 0.001) -> list[float]:
    """The thresholds of the released code in its own units: a walk over the bins that adds their indices."""
    histograms = [[0] * 100 for _ in range(step.num_old)]
    for one in seen:
        entropy, predicted = released_entropy(one.teacher.logits, step.num_classes), one.teacher.logits.argmax(1)
        for b, y, x in (one.labels == 0).nonzero().tolist():
            histograms[predicted[b, y, x]][min(int(entropy[b, y, x] * 100), 99)] += 1
    thresholds = []
    for histogram in histograms:
        half, walked, threshold = sum(histogram) / 2, 0, 0.0
        for place, count in enumerate(histogram):
            if walked <= half <= walked + count:
                break
            walked += place
        if half > 0:
            rest = half - walked
            share = rest / count if count else inf if rest > 0 else -inf if rest < 0 else nan
            threshold = place / 100 + share / 100
        # max() of Python: what is not a number stays
        thresholds.append(max(threshold, least))
    return thresholds


def released(step: Step, seen: Sequence[Batch], **options: float) -> Method:
    method = make("plop", step, thresholds="released", **options)
    with torch.no_grad():
        method.begin(network(step), lambda: iter(seen), {})
    return method


def check_released(step: Step, seen: Sequence[Batch]) -> list[float]:
    """Thresholds, labels and factor as that code would have them; returns the thresholds in its units."""
    method, wanted = released(step, seen), released_walk(seen, step)
    unit = step.num_old * log(step.num_classes)
    found = [value / unit for value in method.thresholds.tolist()]
    assert found == pytest.approx(wanted, rel=1e-5, nan_ok=True)
    for one in seen:
        entropy, predicted = released_entropy(one.teacher.logits, step.num_classes), one.teacher.logits.argmax(1)
        background, confident = one.labels == 0, entropy < torch.tensor(wanted)[predicted]
        targets = method.targets(one)
        assert torch.equal(targets[~background], one.labels[~background])
        assert torch.equal(targets[background], torch.where(confident, predicted, 255)[background])
        count = (background & confident).sum((1, 2)) / (background.sum((1, 2)) + 1e-6)
        torch.testing.assert_close(method.pixel_weights(one, targets)[:, 0, 0], count)
    return wanted


def scaled(step: Step, scale: float) -> list[Batch]:
    seen = looks(step)
    for one in seen:
        one.teacher.low_logits = one.teacher.low_logits.detach() * scale
    return seen


@pytest.mark.parametrize("scale", [0.02, 0.1, 0.3, 1, 3])
@pytest.mark.parametrize("step", [CLASSES, Step(2, (1, 1, 1)), Step(1, (9, 1))], ids=["4+2", "3+1", "10+1"])
def test_released_thresholds_are_those_of_its_walk(step: Step, scale: float) -> None:
    check_released(step, scaled(step, scale))


def test_released_thresholds_are_not_medians() -> None:
    step = Step(2, (1, 1, 1))
    method, seen = released(step, scaled(step, 1)), scaled(step, 1)
    kept = torch.cat([method.targets(one)[one.labels == 0] != 255 for one in seen]).float().mean()
    assert 0.1 < kept < 0.9
    assert (method.thresholds - begun("plop", step).thresholds).abs().max() > 0.05


def test_released_thresholds_of_many_classes_accept_everything() -> None:
    """ADE20K 100-50: the largest value that this code can measure is below 0.002."""
    step = Step(1, (100, 50))
    rows = [(c, height) for c in range(100) for height in (0.1, 1, 5)]
    seen = [pixels(rows, 101, (20, 20))]
    assert released_entropy(seen[0].teacher.logits, 151).max() < 0.002
    assert check_released(step, seen) == pytest.approx([0.005] * 100 + [0.001])
    targets = released(step, seen).targets(seen[0])
    assert targets.flatten()[: len(rows)].tolist() == [c for c, _ in rows]


def test_the_released_walk_ends_where_it_ends() -> None:
    """Entropies in bins 0, 6 and 13 of that code: 4 old classes of 6."""
    low, middle, high = 20.0, 2.75, 0.3
    kinds = [pixels([(0, height)], 4) for height in (low, middle, high)]
    bins = [int(released_entropy(one.teacher.logits, 6).flatten()[0] * 100) for one in kinds]
    assert bins == [0, 6, 13]
    # Found at once; found in bin 6, past 0 + … + 5 = 15; the same with the border of the bin; never found.
    rows = [(0, low)] * 9
    rows += [(1, low)] * 5 + [(1, middle)] * 29
    rows += [(2, low)] * 4 + [(2, middle)] * 26
    rows += [(3, middle)] * 8
    thresholds = check_released(CLASSES, [pixels(rows, 4)])
    assert thresholds == pytest.approx([0.005, 0.06 + 0.02 / 29, 0.06, 0.001])


@pytest.mark.parametrize("each, threshold", [(3320, inf), (3300, nan), (3280, 0.001)])
def test_where_the_released_walk_ends_in_an_empty_bin(each: int, threshold: float) -> None:
    """It divides what is left of the half, past 0 + … + 99 = 4950, by 0: all, none, or the least is accepted."""
    rows = [(0, height) for height in (20.0, 2.75, 0.3) for _ in range(each)]
    rows += [(1, 0.3)] * 2  # half of 2 is 0 + 1, where bin 2 begins
    thresholds = check_released(CLASSES, [pixels(rows, 4, (100, 100))])
    assert thresholds == pytest.approx([threshold, nan, 0.001, 0.001], nan_ok=True)


def test_the_least_released_threshold_is_in_the_units_of_that_code() -> None:
    method = released(CLASSES, scaled(CLASSES, 30), least_threshold=0.02)
    torch.testing.assert_close(method.thresholds, torch.full((4,), 0.02 * 4 * log(6)))


def test_thresholds_of_the_paper_are_medians_with_a_lower_bound() -> None:
    method, seen = begun("plop", CLASSES, thresholds="paper", least_threshold=0.6), looks(CLASSES)
    assert torch.equal(method.thresholds, begun("plop", CLASSES, least_threshold=0.6).thresholds)
    values: dict[int, list[float]] = {c: [] for c in range(4)}
    for one in seen:
        p, predicted = one.teacher.logits.double().softmax(1), one.teacher.logits.argmax(1)
        entropy = -(p * p.log()).sum(1) / log(4)
        for b, y, x in (one.labels == 0).nonzero().tolist():
            values[int(predicted[b, y, x])].append(entropy[b, y, x].item())
    medians = [torch.tensor(own).double().quantile(0.5).item() for own in values.values()]
    assert min(medians) < 0.6 < max(medians)
    assert method.thresholds.tolist() == pytest.approx([max(median, 0.6) for median in medians], rel=1e-5)
    assert make("plop", CLASSES).options.thresholds == "paper"


def test_released_thresholds_leave_domains_alone() -> None:
    seen = [Batch(one.labels, None, output(5, 3)) for one in looks(DOMAIN)]
    method, example = released(DOMAIN, seen), batch(DOMAIN)
    assert torch.equal(method.targets(example), example.labels)
    assert method.pixel_weights(example, example.labels) is None and not method.thresholds.any()
