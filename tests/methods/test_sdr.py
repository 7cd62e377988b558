"""SDR: its four terms and its prototypes, against loops over classes and pixels in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import pytest
import torch
from method_examples import CLASSES, DOMAIN, LOW, STEPS, batch, labels, make, output
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.interface.registry import load_method
from issbench.methods.method import Batch, Method, Step

CHANNELS = 7
FIRST = Step(0, (3,), feature_channels=6, encoder_channels=CHANNELS)
FIRST_DOMAIN = Step(0, (4,), domain=True, feature_channels=6, encoder_channels=CHANNELS)
THIRD = Step(2, (3, 2, 1), feature_channels=6, encoder_channels=CHANNELS)
OWN = ["matching", "attraction", "repulsion", "sparsity"]
ONES = dict.fromkeys(OWN, 1)


def example(step: Step, seed: int = 0, change: Callable[[Tensor], Tensor] = torch.relu) -> Batch:
    """A batch whose encoder ends, as most do, in an activation."""
    one = batch(step, seed)
    with torch.no_grad():
        one.student.encoder.copy_(change(one.student.encoder))
    return one


def cells(one: Batch, step: Step) -> dict[int, list[tuple[int, int, int]]]:
    """The cells of the feature map by class, 255 among them."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    for b in range(len(one.labels)):
        for y in range(LOW[0]):
            for x in range(LOW[1]):
                # A cell covers 2 × 2 pixels; its centre is the corner between them, which goes to the last.
                label = int(one.labels[b, 2 * y + 1, 2 * x + 1])
                if label == 0 and not step.domain and step.index > 0:
                    label = int(one.teacher.low_logits[b, :, y, x].argmax())
                found.setdefault(label, []).append((b, y, x))
    return found


class Loops:
    """The prototypes, and the four terms unweighted, one class and one pixel at a time."""

    def __init__(self, step: Step):
        self.step = step
        self.sums: dict[int, Tensor] = {}
        self.counts: dict[int, int] = {}

    def see(self, one: Batch) -> None:
        for c, places in cells(one, self.step).items():
            if c != 255:
                pixels = [one.student.encoder[b, :, y, x].detach().double() for b, y, x in places]
                self.sums[c] = self.sums.get(c, 0) + sum(pixels)
                self.counts[c] = self.counts.get(c, 0) + len(pixels)

    def prototype(self, c: int) -> Tensor:
        return self.sums[c] / self.counts[c]

    def terms(self, one: Batch) -> dict[str, Tensor]:
        """Of a batch that has been seen: its features are in the prototypes already."""
        found, features = cells(one, self.step), one.student.encoder.double()
        seen = sorted(c for c in found if c != 255 and (c > 0 or self.step.domain))
        pixels = {c: [features[b, :, y, x] for b, y, x in places] for c, places in found.items()}
        means = {c: sum(pixels[c]) / len(pixels[c]) for c in seen}
        old = [c for c in seen if c < self.step.num_old]
        matching = [((means[c] - self.prototype(c)) ** 2).mean() for c in old]
        attraction = [sum(((p - self.prototype(c)) ** 2).mean() for p in pixels[c]) / len(pixels[c]) for c in seen]
        gaps = [((means[a] - means[b]) ** 2).sum().sqrt() for a in seen for b in seen if a != b]
        ratios = []
        for own in pixels.values():
            maximum = torch.stack(own).clamp(min=0).max()
            for pixel in own:
                scaled = pixel.clamp(min=0) / maximum
                total = sum(scaled)
                ratios.append(sum(value.exp() for value in scaled) / total if pixel.max() > 0 else 0 * pixel[0])

        def mean(terms: list[Tensor]) -> Tensor:
            return sum(terms) / len(terms) if terms else 0 * features.sum()

        inverse = [1 / gap for gap in gaps if gap > 0]
        return dict(zip(OWN, map(mean, (matching, attraction, inverse, ratios)), strict=True))


def compare(method: Method, loops: Loops, one: Batch) -> dict[str, Tensor]:
    """The terms with weights of 1, and the gradient of each."""
    found = method.terms(one, one.labels)
    loops.see(one)
    wanted = loops.terms(one)
    for name in OWN:
        torch.testing.assert_close(found[name].double(), wanted[name], rtol=2e-5, atol=1e-7)
        gradients = [torch.autograd.grad(t[name], one.student.encoder, retain_graph=True) for t in (found, wanted)]
        (own,), (naive,) = gradients
        assert own.isfinite().all()
        torch.testing.assert_close(own, naive, rtol=1e-3, atol=1e-6 + 1e-5 * naive.abs().max().item())
    return found


def check_prototypes(method: Method, loops: Loops) -> None:
    assert method.prototypes.shape == (loops.step.num_classes, CHANNELS)
    for c in range(loops.step.num_classes):
        assert method.counts[c] == loops.counts.get(c, 0)
        wanted = loops.prototype(c) if c in loops.counts else torch.zeros(CHANNELS)
        torch.testing.assert_close(method.prototypes[c].double(), wanted.double(), rtol=1e-5, atol=1e-6)


def unread() -> Iterator[Batch]:
    raise AssertionError("the data were read")


def started(step: Step, previous: dict[str, Tensor] | None = None, **options: float) -> Method:
    method = make("sdr", step, **{**ONES, **options})
    method.prepare(nn.Identity())
    with torch.no_grad():
        method.begin(nn.Identity(), unread, previous or {})
    return method


# The terms


def test_published_weights() -> None:
    options = load_method("sdr").Options()
    assert [getattr(options, name) for name in ("distillation", *OWN)] == [100, 0.01, 0.001, 0.001, 0.001]
    assert load_method("sdr").new_classifier == "default" and load_method("sdr").uses_teacher


@STEPS
def test_each_term_has_its_weight(step: Step) -> None:
    found = make("sdr", step).loss(example(step))
    plain, mib = started(step).loss(example(step)), make("mib", step).loss(example(step))
    assert list(found) == ["classification", "distillation", *OWN]
    for name, weight in zip(OWN, (0.01, 0.001, 0.001, 0.001), strict=True):
        torch.testing.assert_close(found[name], weight * plain[name])
    torch.testing.assert_close(found["distillation"], 10 * mib["distillation"])
    assert torch.equal(found["classification"], mib["classification"])
    wanted = 100 * fn.unbiased_knowledge_distillation(example(step).student.logits, example(step).teacher.logits)
    torch.testing.assert_close(found["distillation"], wanted.mean())


@STEPS
def test_without_its_own_terms_sdr_is_mib_to_the_bit(step: Step) -> None:
    ours, theirs = example(step), example(step)
    found = make("sdr", step, distillation=3, **dict.fromkeys(OWN, 0)).loss(ours)
    wanted = make("mib", step, distillation=3).loss(theirs)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    sum(found.values()).backward()
    sum(wanted.values()).backward()
    assert torch.equal(ours.student.low_logits.grad, theirs.student.low_logits.grad)
    assert not ours.student.encoder.grad.any() and theirs.student.encoder.grad is None


@STEPS
@pytest.mark.parametrize("change", [torch.relu, nn.Identity()], ids=["activated", "signed"])
def test_terms_and_prototypes_over_batches(step: Step, change: Callable[[Tensor], Tensor]) -> None:
    method, loops = started(step), Loops(step)
    for seed in range(4):
        one = example(step, seed, change)
        assert set(cells(one, step)) == {*range(step.num_classes), 255}
        found = compare(method, loops, one)
        check_prototypes(method, loops)
        assert all(found[name] > 0 for name in OWN if seed > 0 or name != "matching")
    assert not method.prototypes.requires_grad


def test_old_classes_are_those_that_the_old_model_sees_in_the_background() -> None:
    one, method = example(CLASSES), started(CLASSES)
    with torch.no_grad():
        one.teacher.low_logits[:, 2] += 100  # all background is class 2
    method.terms(one, one.labels)
    centres = one.labels[:, 1::2, 1::2]
    assert method.counts.tolist() == [0, 0, (centres == 0).sum(), 0, (centres == 4).sum(), (centres == 5).sum()]
    assert (centres == 255).any()
    wanted = one.student.encoder.detach().movedim(1, -1)[centres == 0].mean(0)
    torch.testing.assert_close(method.prototypes[2], wanted)


def test_domains_take_all_classes_from_the_labels() -> None:
    one, method = example(DOMAIN), started(DOMAIN)
    one.teacher.low_logits = torch.full_like(one.teacher.low_logits, math.nan)  # asked for the distillation alone
    found = method.terms(one, one.labels)
    centres = one.labels[:, 1::2, 1::2]
    assert method.counts.tolist() == [(centres == c).sum() for c in range(5)] and method.counts.all()
    assert found["distillation"].isnan() and all(found[name].isfinite() for name in OWN)


@STEPS
def test_absent_classes_keep_their_prototypes(step: Step) -> None:
    method, loops = started(step), Loops(step)
    compare(method, loops, example(step))
    before = method.prototypes.clone()
    one = example(step, 1)
    with torch.no_grad():
        one.labels[one.labels == step.num_classes - 1] = 255
        one.labels[one.labels == 2] = 255
        one.teacher.low_logits[:, 2] -= 100
    assert {2, step.num_classes - 1}.isdisjoint(cells(one, step))
    compare(method, loops, one)
    check_prototypes(method, loops)
    assert torch.equal(method.prototypes[[2, -1]], before[[2, -1]])
    assert not torch.equal(method.prototypes[1], before[1])


@STEPS
def test_one_class_alone_repels_nothing(step: Step) -> None:
    method, loops, one = started(step), Loops(step), example(step)
    compare(method, loops, example(step, 1))
    one.labels.fill_(step.num_classes - 1)
    found = compare(method, loops, one)
    assert found["repulsion"] == 0 and found["attraction"] > 0
    assert (found["matching"] > 0) == step.domain  # where every class is old


@pytest.mark.parametrize("label", [0, 255])
def test_only_background_or_nothing_has_no_prototype_terms(label: int) -> None:
    method, loops, one = started(CLASSES), Loops(CLASSES), example(CLASSES)
    compare(method, loops, example(CLASSES, 1))
    before = method.prototypes[1:].clone()
    one.labels.fill_(label)
    with torch.no_grad():
        one.teacher.low_logits[:, 0] += 100
    found = compare(method, loops, one)
    assert found["matching"] == found["attraction"] == found["repulsion"] == 0 and found["sparsity"] > 0
    assert torch.equal(method.prototypes[1:], before)


def test_in_domains_class_0_counts_like_the_others() -> None:
    method, loops, one = started(DOMAIN), Loops(DOMAIN), example(DOMAIN)
    compare(method, loops, example(DOMAIN, 1))
    one.labels.fill_(0)
    found = compare(method, loops, one)
    assert found["matching"] > 0 and found["attraction"] > 0


def test_features_that_are_zero() -> None:
    """Of all pixels, of one class, of one pixel."""
    for where in ("all", "class", "pixel"):
        method, loops, one = started(CLASSES), Loops(CLASSES), example(CLASSES)
        with torch.no_grad():
            places = cells(one, CLASSES)[4]
            for b, y, x in places if where == "class" else places[:1]:
                one.student.encoder[b, :, y, x] = 0
            if where == "all":
                one.student.encoder.zero_()
        if where == "pixel":
            compare(method, loops, one)  # the other cases divide 0 by 0 in the loops
        found = method.terms(one, one.labels)
        sum(found[name] for name in OWN).backward()
        assert all(found[name].isfinite() for name in OWN) and one.student.encoder.grad.isfinite().all()
        assert (found["sparsity"] > 0) == (where != "all")
        if where == "all":
            assert not any(found[name] for name in OWN)


def test_classes_of_the_same_mean_do_not_repel_each_other() -> None:
    method, one = started(CLASSES), example(CLASSES, change=torch.ones_like)
    found = method.terms(one, one.labels)
    found["repulsion"].backward()
    assert found["repulsion"] == 0 and not one.student.encoder.grad.any()


def test_sparse_features_cost_less() -> None:
    one, method = example(CLASSES), started(CLASSES)
    with torch.no_grad():
        one.student.encoder.fill_(1)
    dense = method.terms(one, one.labels)["sparsity"]
    torch.testing.assert_close(dense, torch.tensor(math.e))  # 7 e / 7
    with torch.no_grad():
        one.student.encoder[:, 1:] = 0
    sparse = method.terms(one, one.labels)["sparsity"]
    torch.testing.assert_close(sparse, torch.tensor(math.e + CHANNELS - 1))


# From step to step


@STEPS
def test_prototypes_go_on_in_the_next_step(step: Step) -> None:
    first, loops = started(step), Loops(step)
    for seed in range(2):
        compare(first, loops, example(step, seed))
    first.end(nn.Identity(), unread)
    following = DOMAIN if step.domain else THIRD
    second = started(following, copy.deepcopy(first.state_dict()))
    loops.step = following
    check_prototypes(second, loops)
    for seed in range(5, 7):
        compare(second, loops, example(following, seed))
        check_prototypes(second, loops)


@pytest.mark.parametrize("step", [FIRST, FIRST_DOMAIN], ids=["classes", "domain"])
def test_after_the_first_step_prototypes_are_means_over_its_data(step: Step) -> None:
    method, loops = make("sdr", step), Loops(step)
    seen = [Batch(labels(step, seed), output(step.num_classes, seed), None) for seed in range(3)]
    method.after_first_step(nn.Identity(), lambda: iter(seen))
    for one in seen:
        loops.see(one)
    assert sorted(loops.counts) == list(range(step.num_classes))
    check_prototypes(method, loops)
    assert set(method.state_dict()) == {"prototypes", "counts"} and not method.prototypes.requires_grad
    following = DOMAIN if step.domain else CLASSES
    second, loops.step = started(following, method.state_dict()), following
    check_prototypes(second, loops)
    found = compare(second, loops, example(following, 9))
    assert found["matching"] > 0


def test_a_checkpoint_holds_prototypes_and_counts() -> None:
    straight, stopped = started(CLASSES), started(CLASSES)
    for method in (straight, stopped):
        method.terms(example(CLASSES), labels(CLASSES))
    resumed = make("sdr", CLASSES, **ONES)
    resumed.load_state_dict(stopped.state_dict())
    found, wanted = (one.terms(example(CLASSES, 1), labels(CLASSES)) for one in (resumed, straight))
    assert all(torch.equal(found[name], wanted[name]) for name in OWN)
    assert torch.equal(resumed.prototypes, straight.prototypes)
