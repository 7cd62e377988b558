"""Properties of the losses of LwF, LwF-MC, RCIL and EWC in methods.functional, against naive references."""

import math

import pytest
import torch
import torch.nn.functional as F

from issbench.methods import functional as MF

B, C, C_OLD, D, H, W = 2, 6, 4, 5, 7, 9


def normal(*shape, seed=0, scale=1.0, dtype=torch.float64):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (scale * values).to(dtype)


def labels(seed=0):
    """Every class, and ignored pixels."""
    drawn = torch.randint(C + 1, (B, H, W), generator=torch.Generator().manual_seed(seed))
    return drawn.masked_fill(drawn == C, 255)


def gradient(function, first, *others, **options):
    """The value, and its gradient in the first argument."""
    first = first.detach().clone().requires_grad_()
    value = function(first, *others, **options)
    return value.detach(), torch.autograd.grad(value.sum(), first)[0]


def assert_same(actual, expected, rtol=1e-10, atol=1e-12):
    """Equal values and equal gradients."""
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=rtol, atol=atol)


# Predictions


def slow_knowledge_distillation(logits, logits_old, alpha=1.0):
    log_p = logits[:, : logits_old.shape[1]].log_softmax(1)
    return -((alpha * logits_old).softmax(1) * log_p).mean(1)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("num_old", [1, C_OLD, C])
def test_knowledge_distillation_of_each_pixel(num_old, alpha):
    logits, logits_old = normal(B, C, H, W, scale=3), normal(B, num_old, H, W, seed=1, scale=2)
    assert_same(
        gradient(MF.knowledge_distillation, logits, logits_old, alpha=alpha),
        gradient(slow_knowledge_distillation, logits, logits_old, alpha=alpha),
    )


def test_knowledge_distillation_is_least_where_the_restricted_student_is_the_teacher():
    """Up to a constant, and whatever the new classes say."""
    logits, logits_old = normal(B, C, H, W, scale=3), normal(B, C_OLD, H, W, seed=1, scale=2)
    equal = torch.cat([logits_old + 3.0, logits[:, C_OLD:]], 1)
    least, slope = gradient(MF.knowledge_distillation, equal, logits_old)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-14)
    torch.testing.assert_close(least, MF.sharp_confidence(logits_old) / C_OLD)
    assert (MF.knowledge_distillation(logits, logits_old) > least).all()


def test_knowledge_distillation_without_new_classes_is_the_unbiased_one():
    logits, logits_old = normal(B, C, H, W, scale=3), normal(B, C, H, W, seed=1)
    assert_same(
        gradient(MF.knowledge_distillation, logits, logits_old, 2.0),
        gradient(MF.unbiased_knowledge_distillation, logits, logits_old, 2.0),
    )


def slow_sigmoid_cross_entropy(logits, target, ignore_index=255):
    one_hot = torch.stack([target == c for c in range(logits.shape[1])], 1).to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, one_hot, reduction="none").sum(1)
    return torch.where(target == ignore_index, 0, loss)


@pytest.mark.parametrize("ignore_index", [255, 77])
def test_sigmoid_cross_entropy_of_each_pixel(ignore_index):
    logits, target = normal(B, C, H, W, scale=5), labels()
    target = target.masked_fill(target == 255, ignore_index)
    actual = gradient(MF.sigmoid_cross_entropy, logits, target, ignore_index=ignore_index)
    assert_same(actual, gradient(slow_sigmoid_cross_entropy, logits, target, ignore_index=ignore_index))
    ignored = target == ignore_index
    loss, slope = actual
    assert ignored.any() and (loss[ignored] == 0).all() and (loss[~ignored] > 0).all()
    assert (slope.movedim(1, -1)[ignored] == 0).all()
    small = MF.sigmoid_cross_entropy(logits, target.to(torch.uint8), ignore_index)
    assert torch.equal(small, loss)


def test_sigmoid_cross_entropy_of_confident_pixels_keeps_its_digits():
    """A softplus that becomes linear at 20, torch's default, would lose these 2e-9 altogether."""
    logits = torch.tensor([21.0, -30.0], dtype=torch.float64).reshape(1, 2, 1, 1)
    loss = MF.sigmoid_cross_entropy(logits, torch.zeros(1, 1, 1, dtype=torch.long))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-21)) + math.log1p(math.exp(-30)), rel=1e-5)


def slow_sigmoid_distillation(logits, logits_old):
    student, q = logits[:, : logits_old.shape[1]], logits_old.sigmoid()
    loss = -(q * student.sigmoid().log() + (1 - q) * (-student).sigmoid().log())
    return loss.sum(1).mean()


@pytest.mark.parametrize("num_old", [1, C_OLD, C])
def test_sigmoid_distillation_of_each_pixel(num_old):
    logits, logits_old = normal(B, C, H, W, scale=3), normal(B, num_old, H, W, seed=1, scale=2)
    actual = gradient(MF.sigmoid_distillation, logits, logits_old)
    assert actual[0].shape == ()
    assert_same(actual, gradient(slow_sigmoid_distillation, logits, logits_old))
    assert (actual[1][:, num_old:] == 0).all()
    equal = torch.cat([logits_old, logits[:, num_old:]], 1)
    least, slope = gradient(MF.sigmoid_distillation, equal, logits_old)
    assert least < actual[0] and slope.abs().max() < 1e-15


@pytest.mark.parametrize("function", [MF.knowledge_distillation, MF.sigmoid_cross_entropy, MF.sigmoid_distillation])
def test_opposite_large_bf16_logits(function):
    """Student and teacher or label disagree as much as they can, at ±40."""
    signs = normal(B, C, H, W).sign()
    logits = (40 * signs).bfloat16()
    second = labels() if function is MF.sigmoid_cross_entropy else -logits[:, :C_OLD]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, slope = gradient(function, logits, second)
    exact = function(logits.double(), second if second.dtype == torch.long else second.double())
    assert value.dtype == torch.float32 and slope.dtype == torch.bfloat16
    assert value.max() > 9 and slope.isfinite().all() and slope.abs().max() > 0
    torch.testing.assert_close(value, exact.float(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("num_old", [1, C_OLD, C])
def test_logit_regulariser_is_cross_entropy_over_all_classes(num_old):
    logits, logits_old = normal(B, C, H, W, scale=3), normal(B, num_old, H, W, seed=1, scale=2)

    def slow(logits, logits_old):
        return logits.logsumexp(1) - (logits_old.softmax(1) * logits[:, :num_old]).sum(1)

    actual = gradient(MF.logit_regulariser, logits, logits_old)
    assert_same(actual, gradient(slow, logits, logits_old))
    q = F.pad(logits_old.softmax(1), (0, 0, 0, 0, 0, C - num_old))
    torch.testing.assert_close(actual[1], logits.softmax(1) - q)  # new classes are pushed down


def slow_label_guided_distillation(logits, logits_old, target, ignore_index=255):
    q = F.pad(logits_old.softmax(1), (0, 0, 0, 0, 0, C - logits_old.shape[1]))
    for b, y, x in (target != ignore_index).nonzero().tolist():
        c = int(target[b, y, x])
        if c >= logits_old.shape[1]:
            q[b, c, y, x], q[b, 0, y, x] = q[b, 0, y, x].clone(), 0
    return torch.where(target == ignore_index, 0, -(q * logits.log_softmax(1)).sum(1))


@pytest.mark.parametrize("num_old, ignore_index", [(1, 255), (C_OLD, 77), (C, 255)])
def test_label_guided_distillation_of_each_pixel(num_old, ignore_index):
    logits, logits_old, target = normal(B, C, H, W, scale=3), normal(B, num_old, H, W, seed=1), labels()
    target = target.masked_fill(target == 255, ignore_index)
    actual = gradient(MF.label_guided_distillation, logits, logits_old, target, ignore_index=ignore_index)
    slow = gradient(slow_label_guided_distillation, logits, logits_old, target, ignore_index=ignore_index)
    assert_same(actual, slow)
    assert (actual[0][target == ignore_index] == 0).all()
    assert (actual[1].movedim(1, -1)[target == ignore_index] == 0).all()


def test_label_guided_distillation_without_labels_of_new_classes_is_the_logit_regulariser():
    logits, logits_old = normal(B, C, H, W, scale=3), normal(B, C_OLD, H, W, seed=1)
    background = torch.zeros(B, H, W, dtype=torch.long)
    assert_same(
        gradient(MF.label_guided_distillation, logits, logits_old, background),
        gradient(MF.logit_regulariser, logits, logits_old),
    )


# Pooled cubes


def slow_pooled_cube_spatial(features, features_old, sizes=(4, 8, 12, 16, 20, 24)):
    distances = []
    for size in sizes:
        a, b = (
            F.avg_pool2d(x.square(), size, stride=1, padding=size // 2, count_include_pad=True)
            for x in (features, features_old)
        )
        distances.append((a - b).flatten(1).norm(dim=1).mean())
    return torch.stack(distances).mean()


def slow_pooled_cube_channel(features, features_old, size=3):
    a, b = (
        F.avg_pool1d(x.square().flatten(2).transpose(1, 2), size, stride=1, padding=size // 2)
        for x in (features, features_old)
    )
    return (a - b).flatten(1).norm(dim=1).mean()


CUBES = [MF.pooled_cube_spatial, MF.pooled_cube_channel]


@pytest.mark.parametrize("sizes", [None, (1,), (2,), (3,), (5, 4), (7, 12, 25)])
@pytest.mark.parametrize("shape", [(32, 32), (9, 13), (16, 5), (1, 1), (2, 1), (1, 8)])
def test_pooled_cube_spatial_is_that_of_avg_pool2d(shape, sizes):
    """Even and odd sizes, smaller than the map and larger, on maps down to one pixel."""
    a, b = normal(B, 3, *shape), normal(B, 3, *shape, seed=1)
    options = {} if sizes is None else {"sizes": sizes}
    actual = gradient(MF.pooled_cube_spatial, a, b, **options)
    assert_same(actual, gradient(slow_pooled_cube_spatial, a, b, **options))
    assert actual[0].shape == () and actual[0] > 0
    assert_same(actual[:1], [MF.pooled_cube_spatial(a, b, **options)])  # with and without gradient


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("channels", [1, 2, D, 16])
def test_pooled_cube_channel_is_that_of_avg_pool1d(channels, size):
    a, b = normal(B, channels, H, W), normal(B, channels, H, W, seed=1)
    actual = gradient(MF.pooled_cube_channel, a, b, size=size)
    assert_same(actual, gradient(slow_pooled_cube_channel, a, b, size=size))
    assert actual[0].shape == ()


def test_pooled_cubes_have_the_published_sizes():
    a, b = normal(B, D, H, W), normal(B, D, H, W, seed=1)
    assert MF.pooled_cube_spatial(a, b) == MF.pooled_cube_spatial(a, b, (4, 8, 12, 16, 20, 24))
    assert MF.pooled_cube_channel(a, b) == MF.pooled_cube_channel(a, b, 3)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_pooled_cube_spatial_of_large_maps_in_float32(memory_format):
    """Sums of one sign add up to 16384 pixels, of which a window of the smallest size sees 16."""
    a = normal(2, 4, 128, 128).contiguous(memory_format=memory_format)
    b = normal(2, 4, 128, 128, seed=1, scale=0.1).contiguous(memory_format=memory_format)
    exact, exact_slope = gradient(MF.pooled_cube_spatial, a, b, sizes=(4, 24))
    value, slope = gradient(MF.pooled_cube_spatial, a.float(), b.float(), sizes=(4, 24))
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=0)
    torch.testing.assert_close(slope.double(), exact_slope, rtol=0, atol=1e-4 * exact_slope.abs().max().item())


@pytest.mark.parametrize("function", CUBES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_pooled_cubes_of_equal_maps_have_no_gradient(function, dtype):
    """Each sample for itself: the first is equal to its teacher, the second is not."""
    a, b = normal(2, D, H, W, dtype=dtype), normal(2, D, H, W, seed=1, dtype=dtype)
    b[0] = a[0]
    value, slope = gradient(function, a, b)
    assert value > 0 and (slope[0] == 0).all()
    assert slope[1].isfinite().all() and slope[1].abs().max() > 0
    nothing, flat = gradient(function, a, a)
    assert nothing == 0 and (flat == 0).all()


@pytest.mark.parametrize("function", CUBES)
def test_pooled_cubes_square_half_precision_in_float32(function):
    """300² = 90000 is beyond float16, and the difference of the squares beyond the digits of bfloat16."""
    a, b = torch.full((1, D, H, W), 300.0), torch.full((1, D, H, W), 302.0)
    expected = function(a, b)
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(function(a.to(dtype), b.to(dtype)), expected, rtol=1e-5, atol=0)


# Parameters


def test_ewc_penalty_pulls_each_parameter_back_by_its_importance():
    shapes = [(4, 3, 2, 2), (4,), ()]
    parameters = [normal(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]
    anchors = [normal(*shape, seed=10 + i) for i, shape in enumerate(shapes)]
    importances = [normal(*shape, seed=20 + i).abs() for i, shape in enumerate(shapes)]
    penalty = MF.ewc_penalty(parameters, anchors, importances)
    penalty.backward()
    expected = 0.0
    for p, a, i in zip(parameters, anchors, importances, strict=True):
        torch.testing.assert_close(p.grad, 2 * i * (p.detach() - a))
        expected += sum(i.flatten()[k] * (p.flatten()[k] - a.flatten()[k]) ** 2 for k in range(p.numel())).item()
    assert penalty.shape == () and penalty.item() == pytest.approx(expected, rel=1e-12)


def test_ewc_penalty_at_its_anchors_is_nothing():
    parameters = [normal(3, 2).requires_grad_()]
    penalty = MF.ewc_penalty(parameters, [normal(3, 2)], [torch.ones(3, 2)])
    penalty.backward()
    assert penalty == 0 and (parameters[0].grad == 0).all()


def test_ewc_penalty_squares_half_precision_in_float32():
    parameters, anchors, importances = ([torch.full((3,), v).half()] for v in (300.0, 0.0, 2.0))
    assert MF.ewc_penalty(parameters, anchors, importances) == 3 * 2 * 300**2


def test_ewc_penalty_refuses_lists_that_do_not_match():
    with pytest.raises(ValueError, match="longer"):
        MF.ewc_penalty([torch.ones(2)], [torch.ones(2)], [torch.ones(2), torch.ones(2)])
