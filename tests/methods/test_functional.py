"""Properties of methods.functional: what must hold for every input, not only for the reference vectors."""

import math

import numpy as np
import pytest
import torch

from issbench.methods import functional as MF

B, C, C_OLD, D, H, W = 2, 6, 4, 3, 7, 9


def normal(*shape, seed=0, scale=1.0, dtype=torch.float64):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (scale * values).to(dtype)


def integers(high, *shape, seed=0):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def labels(num_classes=C, shape=(B, H, W), seed=0):
    """Every class, and ignored pixels."""
    drawn = integers(num_classes + 1, *shape, seed=seed)
    return drawn.masked_fill(drawn == num_classes, 255)


# Losses


def test_unbiased_cross_entropy_of_each_pixel():
    logits, target = normal(B, C, H, W, scale=3), labels()
    p = logits.softmax(1).numpy()
    expected = np.zeros((B, H, W))
    for b, y, x in np.ndindex(B, H, W):
        c = int(target[b, y, x])
        if c != 255:
            expected[b, y, x] = -np.log(p[b, :C_OLD, y, x].sum() if c < C_OLD else p[b, c, y, x])
    actual = MF.unbiased_cross_entropy(logits, target, C_OLD)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def test_unbiased_cross_entropy_with_one_old_class_is_cross_entropy():
    logits, target = normal(B, C, H, W, scale=5), labels()
    expected = torch.nn.functional.cross_entropy(logits, target, ignore_index=255, reduction="none")
    torch.testing.assert_close(MF.unbiased_cross_entropy(logits, target, 1), expected)


def test_unbiased_cross_entropy_without_new_classes_is_zero():
    logits = normal(B, C, H, W).requires_grad_()
    loss = MF.unbiased_cross_entropy(logits, labels(), C)
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.zeros_like(loss))
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("ignore_index", [255, 77])
def test_ignored_pixels_cost_and_teach_nothing(ignore_index):
    logits = normal(B, C, H, W).requires_grad_()
    target = labels().masked_fill(labels() == 255, ignore_index)
    ignored = target == ignore_index
    loss = MF.unbiased_cross_entropy(logits, target, C_OLD, ignore_index=ignore_index)
    loss.sum().backward()
    assert (loss[ignored] == 0).all() and (loss[~ignored] > 0).all()
    assert (logits.grad.movedim(1, -1)[ignored] == 0).all()


@pytest.mark.parametrize("positive", [1.0, 35.0])
def test_sigmoid_membership_is_torchs_binary_cross_entropy(positive):
    logits, target = normal(B, 2, H, W, scale=5), labels()
    wanted = torch.stack([target == 3, target == 4], dim=1).double()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, wanted, reduction="none", pos_weight=torch.tensor(positive)
    )
    torch.testing.assert_close(MF.sigmoid_membership(logits, target, 3, positive), expected.sum(1))


def test_unbiased_distillation_of_each_pixel():
    logits, logits_old = normal(B, C, H, W, scale=3), normal(B, C_OLD, H, W, seed=1)
    p, q = logits.softmax(1), (2.0 * logits_old).softmax(1)
    folded = torch.cat([p[:, :1] + p[:, C_OLD:].sum(1, keepdim=True), p[:, 1:C_OLD]], 1)
    actual = MF.unbiased_knowledge_distillation(logits, logits_old, alpha=2.0)
    torch.testing.assert_close(actual, -(q * folded.log()).mean(1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("num_old", [1, C])
def test_unbiased_distillation_from_an_equal_teacher_has_no_gradient(num_old):
    """Equal, or equal once the new classes are folded back into a teacher that knew the background only."""
    logits = normal(B, C, H, W, scale=3).requires_grad_()
    loss = MF.unbiased_knowledge_distillation(logits, logits.detach()[:, :num_old])
    loss.sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), rtol=0, atol=1e-14)
    if num_old == C:
        torch.testing.assert_close(loss, MF.sharp_confidence(logits) / C)


def test_fold_adds_the_new_logits_to_the_background():
    logits = normal(B, C, H, W)
    folded = MF.fold_new_into_background(logits, C_OLD)
    torch.testing.assert_close(folded[:, 0], logits[:, 0] + logits[:, 4] + logits[:, 5])
    assert torch.equal(folded[:, 1:], logits[:, 1:C_OLD])
    assert torch.equal(MF.fold_new_into_background(logits, C), logits)


def test_soft_relation_of_each_pixel():
    logits, logits_old, target = normal(B, C, H, W, scale=3), normal(B, C_OLD, H, W, seed=1), labels()
    soft = torch.zeros(B, C, H, W, dtype=torch.float64)
    for b, y, x in np.ndindex(B, H, W):
        if target[b, y, x] != 255:
            soft[b, target[b, y, x], y, x] = 1
    soft[:, :C_OLD] = logits_old.sigmoid()
    expected = -(soft * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(MF.soft_relation(logits, logits_old, target), expected)
    all_old = MF.soft_relation(logits_old, logits_old, target)
    torch.testing.assert_close(all_old, MF.soft_relation(logits_old, logits_old, torch.zeros_like(target)))


def slow_released_relation(logits, logits_old, target):
    """Soft labels as a map, through a softmax over all channels."""
    num_old = logits_old.shape[1]
    soft = torch.stack([target == c for c in range(logits.shape[1])], 1).to(logits.dtype)
    soft[:, :num_old] = logits_old.sigmoid()
    return -(soft.softmax(1) * logits.log_softmax(1)).mean(1)


@pytest.mark.parametrize("num_old", [1, C_OLD, C])
def test_released_soft_relation_is_the_mean_over_normalised_labels(num_old):
    logits, logits_old = normal(B, C, H, W, scale=3).requires_grad_(), normal(B, num_old, H, W, seed=1, scale=4)
    target = labels()
    target[0, 0, :3] = torch.tensor([C, C + 1, 0])  # classes to come
    actual, expected = (
        function(logits, logits_old, target)
        for function in (lambda *args: MF.soft_relation(*args, released=True), slow_released_relation)
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)
    slopes = [torch.autograd.grad(value.sum(), logits)[0] for value in (actual, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-14)
    assert (actual[target == 255] > 0).all()


def test_released_soft_relation_pulls_less():
    """By the letter the soft labels sum to about half the classes; released to 1, of which the mean is taken."""
    logits, logits_old, target = normal(B, C, H, W).requires_grad_(), normal(B, C_OLD, H, W, seed=1), labels()
    slopes = [
        torch.autograd.grad(MF.soft_relation(logits, logits_old, target, released).sum(), logits)[0].abs().mean()
        for released in (False, True)
    ]
    assert slopes[0] > 2 * C * slopes[1]


def test_memory_cross_entropy_of_each_pixel():
    logits, target = normal(B, C, H, W, scale=3), labels()
    p = logits.softmax(1).numpy()
    expected = np.zeros((B, H, W))
    for b, y, x in np.ndindex(B, H, W):
        c = int(target[b, y, x])
        if c != 255:
            hidden = p[b, 0, y, x] + p[b, C_OLD:, y, x].sum()
            expected[b, y, x] = -np.log(p[b, c, y, x] if 0 < c < C_OLD else hidden)
    actual = MF.unbiased_memory_cross_entropy(logits, target, C_OLD)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
    unknown = torch.where((target >= C_OLD) & (target < C), 200, target)  # classes that nobody knows yet
    assert torch.equal(MF.unbiased_memory_cross_entropy(logits, unknown, C_OLD), actual)


@pytest.mark.parametrize("ignore_index", [255, 77])
def test_memory_cross_entropy_at_its_ends(ignore_index):
    """Without new classes it is the ordinary one, with no old class but the background nothing; ignored is free."""
    logits = normal(B, C, H, W, scale=5).requires_grad_()
    target = labels().masked_fill(labels() == 255, ignore_index)
    plain = torch.nn.functional.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none")
    torch.testing.assert_close(MF.unbiased_memory_cross_entropy(logits, target, C, ignore_index), plain)
    nothing = MF.unbiased_memory_cross_entropy(logits, target, 1, ignore_index)
    torch.testing.assert_close(nothing, torch.zeros_like(nothing))
    loss = MF.unbiased_memory_cross_entropy(logits, target, C_OLD, ignore_index)
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    ignored = target == ignore_index
    assert (loss[ignored] == 0).all() and (loss[~ignored] > 0).all()
    assert (slope.movedim(1, -1)[ignored] == 0).all()


def test_entropy_at_its_extremes():
    for num_classes in range(2, 160):
        for dtype in (torch.float32, torch.float64):
            uniform = MF.prediction_entropy(torch.full((1, num_classes, 1, 1), 0.3, dtype=dtype))
            assert 1 - 1e-6 < uniform.item() <= 1
    certain = torch.tensor([1e4, -1e4, 0.0]).reshape(1, 3, 1, 1).requires_grad_()
    for function in (MF.prediction_entropy, MF.sharp_confidence):
        entropy = function(certain)
        (gradient,) = torch.autograd.grad(entropy.sum(), certain)
        assert entropy.item() == 0 and gradient.abs().max() == 0


def test_small_entropies_keep_their_digits_in_float32():
    """Thresholds on ADE20K are a few thousandths; cancellation at a logit of 40 would cost 1e-5."""
    logits = torch.zeros(1, 100, 1, 1, dtype=torch.float64)
    logits[:, 0] = 40
    exact = MF.prediction_entropy(logits - 27)
    single = MF.prediction_entropy((logits - 27).float())
    torch.testing.assert_close(single.double(), exact, rtol=0.06, atol=0)
    assert exact.item() < 1e-12


# local_pod


def slow_local_pod(a, b, scales):
    squared = []
    for sample in (a, b):
        strips, s_map = [], sample.numpy() ** 2
        for s in scales:
            k = s_map.shape[-1] // s
            for i in range(s):
                for j in range(s):
                    region = s_map[:, i * k : (i + 1) * k, j * k : (j + 1) * k]
                    strips += [region.mean(2).ravel(), region.mean(1).ravel()]
        squared.append(np.concatenate(strips))
    return np.linalg.norm(squared[0] - squared[1])


@pytest.mark.parametrize("scales", [(1,), (1, 2, 4), (3,), (2, 5)])
@pytest.mark.parametrize("shape", [(8, 8), (16, 9), (9, 10), (7, 8), (40, 11), (10, 11)])
def test_local_pod_region_by_region(shape, scales):
    """Taller than wide, wider than tall with cut-off regions, and widths that no scale divides."""
    a, b = normal(2, 3, *shape), normal(2, 3, *shape, seed=1)
    expected = [slow_local_pod(a[i], b[i], scales) for i in range(2)]
    np.testing.assert_allclose(MF.local_pod(a, b, scales), expected, rtol=1e-12)
    single = MF.local_pod(a.float(), b.float(), list(scales))
    np.testing.assert_allclose(single, expected, rtol=1e-5)
    torch.testing.assert_close(MF.local_pod(b, a, scales), MF.local_pod(a, b, scales))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_local_pod_of_equal_maps_is_zero_with_zero_gradient(dtype):
    a, b = normal(2, 3, 8, 8, dtype=dtype), normal(2, 3, 8, 8, seed=1, dtype=dtype)
    b[0] = a[0]
    a.requires_grad_()
    distance = MF.local_pod(a, b)
    distance.sum().backward()
    assert distance[0] == 0 and distance[1] > 0
    assert (a.grad[0] == 0).all()
    assert a.grad[1].isfinite().all() and a.grad[1].abs().max() > 0


@pytest.mark.parametrize("shape", [(8, 3), (6, 8)])
def test_local_pod_refuses_maps_with_empty_regions(shape):
    with pytest.raises(ValueError, match="4×4"):
        MF.local_pod(normal(1, 2, *shape), normal(1, 2, *shape))


# Step-aware weights


def test_step_aware_weights_of_each_pixel():
    steps, logits, target = [2, 1, 1, 1], normal(B, C, H, W, scale=3), labels()
    step_of = {0: "background", 1: 0, 2: 0, 3: 1, 4: 2, 5: "current"}
    pixels = [index for index in np.ndindex(B, H, W) if target[index] != 255]
    gradient = {(b, y, x): 1 - logits[b, target[b, y, x], y, x].sigmoid().item() for b, y, x in pixels}
    groups = {}
    for index in pixels:
        groups.setdefault(step_of[int(target[index])], []).append(gradient[index])
    expected = np.zeros((B, H, W))
    for index in pixels:
        step = step_of[int(target[index])]
        expected[index] = 1 if step == "current" else gradient[index] / np.mean(groups[step])
    assert len(groups) == 5
    weights = MF.step_aware_weights(logits.requires_grad_(), target, steps)
    assert not weights.requires_grad
    np.testing.assert_allclose(weights, expected, rtol=1e-10)


def test_step_aware_weights_of_absent_groups():
    logits = normal(B, C, H, W)
    current = torch.full((B, H, W), C - 1)
    assert (MF.step_aware_weights(logits, current, [3, 1, 1]) == 1).all()
    ignored = torch.full((B, H, W), 255)
    assert (MF.step_aware_weights(logits, ignored, [3, 1, 1]) == 0).all()
    first_step = MF.step_aware_weights(logits, labels(), [C - 1])
    assert (first_step[(labels() > 0) & (labels() < C)] == 1).all()
    torch.testing.assert_close(first_step[labels() == 0].mean().item(), 1.0)


def test_step_aware_weights_of_saturated_groups_keep_their_ratios():
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 1] = torch.tensor([60.0, 61.0])
    weights = MF.step_aware_weights(logits, torch.ones(1, 1, 2, dtype=torch.long), [1, 1]).flatten()
    assert weights.mean().item() == pytest.approx(1)
    assert (weights[0] / weights[1]).item() == pytest.approx(math.e, rel=1e-5)
    vanished = MF.step_aware_weights(logits * 1e3, torch.ones(1, 1, 2, dtype=torch.long), [1, 1])
    assert (vanished == 0).all()


# Metrics


@pytest.mark.parametrize("ignore_index", [255, 0])
def test_confusion_matrix_counts_each_pixel(ignore_index):
    prediction, target = integers(4, B, H, W), labels(C, seed=1)
    with_negative = torch.where(target == 5, -1, target)
    expected = np.zeros((4, 4), dtype=np.int64)
    for p, t in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True):
        if t != ignore_index and t < 4:
            expected[t, p] += 1
    actual = MF.confusion_matrix(prediction, target, 4, ignore_index)
    assert actual.dtype == torch.int64
    np.testing.assert_array_equal(actual, expected)
    assert torch.equal(MF.confusion_matrix(prediction, with_negative, 4, ignore_index), actual)
    small = MF.confusion_matrix(prediction.to(torch.uint8), target.to(torch.uint8), 4, ignore_index)
    assert torch.equal(small, actual)
    assert MF.confusion_matrix(prediction, torch.full_like(target, 255), 4).sum() == 0


def test_iou_is_nan_only_where_there_is_nothing():
    confusion = torch.tensor([[3, 1, 0, 0], [2, 4, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    iou = MF.iou_per_class(confusion)
    assert iou.dtype == torch.float64
    np.testing.assert_allclose(iou, [3 / 6, 4 / 8, np.nan, 0], rtol=1e-15)
