"""PLOP and GSC: what each term is, identities, and what they learn from a step's data."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from method_examples import (
    CLASSES,
    DOMAIN,
    LOW,
    SEQUENTIAL,
    SIZE,
    STEPS,
    batch,
    begun,
    cross_entropy,
    gradients,
    looks,
    make,
    options_of,
)
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.method import Batch, Method, Step

# PLOP


def test_published_weights_of_plop() -> None:
    def weights(dataset: str, name: str = "plop", **given: Any) -> tuple[float, float]:
        options = options_of(name, dataset, **given)
        return options.pod, options.pod_logits

    assert weights("voc") == weights("shapes") == (0.01, 0.0005)
    assert weights("ade") == weights("ade", "gsc") == (0.001, 0.00001)
    assert weights("cityscapes") == (0.0001, 0.001)
    assert weights("cityscapes_1-1") == (0.0001, 0.001)
    for scenario in ("cityscapes_11-1", "cityscapes_11-5"):
        assert weights(scenario) == weights(scenario, "gsc") == weights(scenario, "reminder") == (0.0001, 0.0001)
    assert weights("ade", pod="0.5") == (0.5, 0.00001)
    assert [weights(dataset, "gsc")[0] for dataset in ("voc", "ade", "cityscapes")] == [0.01, 0.001, 0.0001]


@STEPS
def test_plop_distils_six_maps(step: Step) -> None:
    example = batch(step)
    student, teacher = example.student, example.teacher
    pairs = zip((*student.stages, student.features), (*teacher.stages, teacher.features), strict=True)
    total = sum(0.01 * fn.local_pod(new, old).mean() for new, old in pairs)
    folded = fn.fold_new_into_background(student.low_logits, step.num_old)
    total = total + 0.0005 * fn.local_pod(folded, teacher.low_logits).mean()
    # 1 where a step adds no class; background, 3 old and 2 new classes are 6 / 2 = 3
    scale = 1 if step.domain else 3**0.5
    torch.testing.assert_close(begun("plop", step).loss(example)["pod"], scale * total / 6)


def test_plop_learns_confident_predictions_as_much_as_it_has_of_them() -> None:
    method, example = begun("plop", CLASSES), batch(CLASSES)
    thresholds = method.thresholds
    assert torch.equal(thresholds, method.medians.clamp(min=0.001))
    old = example.teacher.logits
    targets = fn.entropy_pseudo_labels(example.labels, old, thresholds, 4)
    assert {0, 255} < set(targets.unique().tolist())
    factor = fn.adaptive_factor(example.labels, old, thresholds, 4)
    assert ((factor > 0) & (factor < 1)).all()
    wanted = (factor[:, None, None] * cross_entropy(example, targets)).mean()
    torch.testing.assert_close(method.loss(example)["classification"], wanted)


def test_plop_thresholds_have_a_lower_bound() -> None:
    example = batch(CLASSES)
    strict, loose = (begun("plop", CLASSES, least_threshold=least) for least in (0, 1))
    assert torch.equal(strict.thresholds, strict.medians)
    predicted = example.teacher.logits.argmax(1)
    assert torch.equal(loose.targets(example)[example.labels == 0], predicted[example.labels == 0])


@pytest.mark.parametrize("name", ["plop", "mib"])
@pytest.mark.parametrize("step", [DOMAIN, SEQUENTIAL], ids=["domain", "sequential"])
def test_where_all_classes_are_labelled_the_labels_are_learned(name: str, step: Step) -> None:
    example = batch(step)
    wanted = cross_entropy(example, example.labels).mean()
    torch.testing.assert_close(begun(name, step).loss(example)["classification"], wanted)


# GSC


OFF = {"pr": "off", "sg": "off", "sr": "off", "sc": "off"}
FORMS = pytest.mark.parametrize("form", ["released", "paper"])


@FORMS
@STEPS
def test_gsc_without_its_parts_is_plop_to_the_bit(step: Step, form: str) -> None:
    gsc, plop = begun("gsc", step, form=form, **OFF), begun("plop", step)
    mine, theirs = gsc.loss(batch(step)), plop.loss(batch(step))
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    pairs = zip(gradients(gsc, batch(step)), gradients(plop, batch(step)), strict=True)
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)


@STEPS
@pytest.mark.parametrize("part, term", [("sr", "relation"), ("sc", "confidence"), ("sg", None), ("pr", None)])
def test_parts_of_gsc_switch_its_terms(part: str, term: str | None, step: Step) -> None:
    extra = {"relation", "confidence"}
    assert set(begun("gsc", step).loss(batch(step))) == {"classification", "pod"} | extra
    without = begun("gsc", step, **{part: "off"}).loss(batch(step))
    assert set(without) == {"classification", "pod"} | (extra - {term})
    alone = begun("gsc", step, **OFF | {part: "on"}).loss(batch(step))
    assert set(alone) == {"classification", "pod"} | (extra & {term})


@pytest.mark.parametrize("part", ["sg", "pr"])
def test_sg_and_pr_change_the_classification_alone(part: str) -> None:
    full, without = (
        begun("gsc", CLASSES).loss(batch(CLASSES)),
        begun("gsc", CLASSES, **{part: "off"}).loss(batch(CLASSES)),
    )
    assert {name for name in full if not torch.equal(full[name], without[name])} == {"classification"}


@FORMS
@STEPS
def test_gsc_weighs_relation_and_confidence(step: Step, form: str) -> None:
    example, released = batch(step), form == "released"
    student, teacher = example.student.logits, example.teacher.logits
    terms = begun("gsc", step, form=form).loss(example)
    relation = fn.soft_relation(student, teacher, example.labels, released).mean()  # of the ground truth, eq. 7
    torch.testing.assert_close(terms["relation"], 0.3 * relation)
    confidence = fn.sharp_confidence(student).mean() / (step.num_classes if released else 1)
    torch.testing.assert_close(terms["confidence"], 0.1 * confidence)
    other = begun("gsc", step, form=form, lambda1="0.6", lambda2="0.05").loss(example)
    torch.testing.assert_close(other["relation"], 2 * terms["relation"])
    torch.testing.assert_close(other["confidence"], terms["confidence"] / 2)


def prototypical(method: Method, example: Batch) -> Tensor:
    weights = fn.prototype_weights(example.student.features, method.old_prototypes, method.options.temperature)
    weights = nnf.interpolate(weights, SIZE, mode="bilinear", align_corners=False)
    return fn.prototypical_pseudo_labels(example.labels, example.teacher.logits, weights, method.medians, 4)


def adaptive_factor(example: Batch, targets: Tensor) -> Tensor:
    """PLOP's: the share of each image's background that got a label [B, 1, 1]."""
    background = example.labels < 4
    factor = (background & (targets != 255)).sum((1, 2)) / background.sum((1, 2))
    assert ((factor > 0) & (factor < 1)).all()
    return factor[:, None, None]


@FORMS
def test_gsc_weighs_pixels_by_steps(form: str) -> None:
    """As released on top of PLOP's factor, in the paper's equation in its place."""
    method, example = begun("gsc", CLASSES, form=form), batch(CLASSES)
    targets = prototypical(method, example)
    assert set(targets.unique().tolist()) > {255, 4, 5}
    weights = fn.step_aware_weights(example.student.logits, targets, (3, 2))
    if form == "released":
        weights = adaptive_factor(example, targets) * weights
    wanted = (weights * cross_entropy(example, targets)).mean()
    torch.testing.assert_close(method.loss(example)["classification"], wanted)


def test_gsc_without_sg_has_the_adaptive_factor() -> None:
    method, example = begun("gsc", CLASSES, sg="off"), batch(CLASSES)
    targets = prototypical(method, example)
    wanted = (adaptive_factor(example, targets) * cross_entropy(example, targets)).mean()
    torch.testing.assert_close(method.loss(example)["classification"], wanted)


def test_the_temperature_reaches_the_prototype_weights() -> None:
    cold, warm = (begun("gsc", CLASSES, temperature=t) for t in (0.01, 100))
    example = batch(CLASSES)
    for method in (cold, warm):
        assert torch.equal(method.targets(example), prototypical(method, example))
    # Where all weights are alike, PLOP's labels remain (with thresholds that have no lower bound).
    plop = fn.entropy_pseudo_labels(example.labels, example.teacher.logits, warm.medians, 4)
    assert (warm.targets(example) == plop).float().mean() > 0.98
    assert (cold.targets(example) == plop).float().mean() < 0.95


@FORMS
def test_gsc_in_domains_treats_class_0_like_the_others(form: str) -> None:
    method, example = begun("gsc", DOMAIN, form=form), batch(DOMAIN)
    labelled = example.labels != 255
    logits = example.student.logits.detach()
    surprise = [
        1 - torch.sigmoid(logits[b, example.labels[b, y, x], y, x].double())
        for b, y, x in labelled.nonzero().tolist()
    ]
    wanted = torch.zeros(labelled.shape, dtype=torch.float64)
    wanted[labelled] = torch.stack(surprise) / torch.stack(surprise).mean()
    torch.testing.assert_close(method.pixel_weights(example, example.labels).double(), wanted, rtol=1e-4, atol=1e-5)
    loss = (wanted * cross_entropy(example, example.labels)).mean()
    torch.testing.assert_close(method.loss(example)["classification"].double(), loss, rtol=1e-4, atol=1e-5)


def test_no_gradient_flows_through_weights_or_labels() -> None:
    method, example = begun("gsc", CLASSES), batch(CLASSES)
    targets = method.targets(example)
    assert not targets.requires_grad
    assert not method.pixel_weights(example, targets).requires_grad
    method.loss(example)["classification"].backward()
    assert example.student.features.grad is None  # prototypes see the features, but do not train them


# What methods learn from a step's data


@pytest.mark.parametrize("name", ["plop", "gsc"])
def test_medians_are_those_of_all_batches_together(name: str) -> None:
    method, seen = begun(name, CLASSES), looks(CLASSES)
    entropies = torch.cat([fn.prediction_entropy(one.teacher.logits).flatten() for one in seen])
    predicted = torch.cat([one.teacher.logits.argmax(1).flatten() for one in seen])
    shown = torch.cat([one.labels.flatten() for one in seen])
    predicted[shown != 0] = 255
    wanted = [
        entropies[predicted == c].double().quantile(0.5) for c in range(4)
    ]  # for an even count the mean of two
    torch.testing.assert_close(method.medians, torch.stack(wanted).float(), rtol=1e-6, atol=0)
    assert torch.equal(method.medians, fn.class_medians(entropies, predicted, 4))


def test_prototypes_are_means_over_all_batches_together() -> None:
    method, seen = begun("gsc", CLASSES), looks(CLASSES)
    sums, counts = torch.zeros(4, 6, dtype=torch.float64), [0] * 4
    for one in seen:
        for b in range(2):
            for y in range(LOW[0]):
                for x in range(LOW[1]):
                    # A cell covers 2 × 2 pixels; its centre is the corner between them, which goes to the last.
                    if one.labels[b, 2 * y + 1, 2 * x + 1] == 0:
                        c = int(one.teacher.low_logits[b, :, y, x].argmax())
                        sums[c] += one.teacher.features[b, :, y, x].detach().double()
                        counts[c] += 1
    assert min(counts) > 0
    wanted = torch.stack([total / count for total, count in zip(sums, counts, strict=True)])
    torch.testing.assert_close(method.old_prototypes.double(), wanted, rtol=1e-5, atol=1e-6)


def test_classes_that_the_old_model_never_predicts_have_zeros() -> None:
    method, seen = make("gsc", CLASSES), looks(CLASSES)
    with torch.no_grad():
        for one in seen:
            one.teacher.low_logits[:, 2] = -100
        method.begin(nn.Identity(), lambda: iter(seen), {})
    assert method.medians[2] == 0 and not method.old_prototypes[2].any()
    assert (method.medians[[0, 1, 3]] > 0).all() and method.old_prototypes[[0, 1, 3]].any(dim=1).all()
    assert all(value.isfinite() for value in method.loss(batch(CLASSES)).values())


def unread() -> Iterator[Batch]:
    raise AssertionError("the data were read")


@pytest.mark.parametrize("name", ["plop", "gsc"])
@pytest.mark.parametrize("step", [DOMAIN, SEQUENTIAL], ids=["domain", "sequential"])
def test_where_all_classes_are_labelled_the_data_need_no_look(name: str, step: Step) -> None:
    method = make(name, step)
    before = copy.deepcopy(method.state_dict())
    method.begin(nn.Identity(), unread, {})
    assert all(torch.equal(method.state_dict()[key], value) for key, value in before.items())


def test_gsc_without_pr_reads_no_features() -> None:
    method = begun("gsc", CLASSES, pr="off")
    assert not method.old_prototypes.any()
    assert torch.equal(method.medians, begun("plop", CLASSES).medians)
