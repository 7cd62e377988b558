"""Properties of the pseudo-labels of methods.functional, and of what they rest on, against naive references."""

import numpy as np
import pytest
import torch

from issbench.methods import functional as MF
from issbench.methods.equations.common import best_channel

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_class_medians_are_exact(dtype):
    values = normal(400, dtype=dtype)
    classes = integers(7, 400, seed=1)
    classes[:60] = torch.tensor([255, -1, 7] * 20)
    classes[classes == 2] = 3
    classes[60:67] = 6  # ties
    values[60:67] = 0.5
    actual = MF.class_medians(values, classes, 7)
    for c in range(7):
        members = values[classes == c].numpy()
        assert actual[c].item() == (np.median(members) if members.size else 0)
    for parity in (1, 0):
        short = values[: 12 + parity]
        alone = MF.class_medians(short, torch.zeros(len(short), dtype=torch.uint8), 2)
        assert alone.tolist() == [np.median(short.numpy()), 0]


def test_class_medians_of_nothing_are_zero():
    nothing = MF.class_medians(torch.empty(0), torch.empty(0, dtype=torch.long), 3)
    outside = MF.class_medians(torch.ones(5), torch.full((5,), 255), 3)
    assert nothing.tolist() == outside.tolist() == [0, 0, 0]


def pseudo_arguments():
    """Arguments of the functions that make pseudo-labels."""
    logits_old, weights = normal(B, C_OLD, H, W, scale=1.0, seed=1), normal(B, C_OLD, H, W, seed=4).softmax(1)
    thresholds = torch.full((C_OLD,), 0.8, dtype=torch.float64)
    return {"target": labels(), "logits_old": logits_old, "thresholds": thresholds, "num_old": C_OLD}, weights


def slow_pseudo_labels(target, logits_old, thresholds, num_old, weights=None):
    p = logits_old.softmax(1).numpy()
    result = target.numpy().copy()
    for b, y, x in np.ndindex(*result.shape):
        if result[b, y, x] < num_old:
            pixel = p[b, :, y, x]
            c = pixel.argmax()
            kept = -(pixel * np.log(pixel)).sum() / np.log(len(pixel)) < thresholds[c].item()
            if weights is not None:
                kept &= (weights[b, :, y, x].numpy() * pixel).argmax() == c
            result[b, y, x] = c if kept else 255
    return result


@pytest.mark.parametrize("rectified", [False, True])
def test_pseudo_labels_of_each_pixel(rectified):
    arguments, weights = pseudo_arguments()
    if rectified:
        arguments["weights"] = weights
    function = MF.prototypical_pseudo_labels if rectified else MF.entropy_pseudo_labels
    expected = slow_pseudo_labels(**arguments)
    actual = function(**arguments)
    np.testing.assert_array_equal(actual, expected)
    background = arguments["target"] < C_OLD
    kept = (actual != 255)[background]
    assert 0 < kept.sum() < kept.numel()
    small = function(**{**arguments, "target": arguments["target"].to(torch.uint8)})
    assert small.dtype == torch.uint8 and torch.equal(small.long(), actual)


def test_below_a_threshold_is_strict():
    logits_old, target = normal(1, C_OLD, 1, 1), torch.zeros(1, 1, 1, dtype=torch.long)
    entropy = MF.prediction_entropy(logits_old).squeeze()
    for thresholds, accepted in (
        (entropy.expand(C_OLD), False),
        (entropy.nextafter(torch.tensor(2.0, dtype=torch.float64)).expand(C_OLD), True),
    ):
        pseudo = MF.entropy_pseudo_labels(target, logits_old, thresholds, C_OLD)
        assert (pseudo.item() != 255) == accepted


def test_adaptive_factor_counts_what_the_pseudo_labels_keep():
    arguments, _ = pseudo_arguments()
    target = arguments["target"].clone()
    target[1] = 255
    target[1, 0] = C_OLD
    pseudo = MF.entropy_pseudo_labels(**{**arguments, "target": target})
    background = (target[0] < C_OLD).sum()
    kept = ((target[0] < C_OLD) & (pseudo[0] != 255)).sum()
    factor = MF.adaptive_factor(**{**arguments, "target": target})
    assert 0 < kept < background
    torch.testing.assert_close(factor[0], kept / (background.double() + 1e-6), rtol=1e-12, atol=0)
    assert factor[1] == 0


def test_class_prototypes_are_means_and_zero_for_absent_classes():
    features, classes = normal(B, D, H, W), labels()
    classes[classes == 2] = -1
    prototypes = MF.class_prototypes(features, classes, C)
    pixels = features.movedim(1, -1)
    for c in range(C):
        members = pixels[classes == c]
        expected = members.mean(0) if len(members) else torch.zeros(D, dtype=torch.float64)
        torch.testing.assert_close(prototypes[c], expected)
    assert (prototypes[2] == 0).all()
    assert (MF.class_prototypes(features, torch.full_like(classes, 255), C) == 0).all()


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_prototype_weights_are_a_softmax_of_distances(temperature):
    features, prototypes = normal(B, D, H, W), normal(C_OLD, D, seed=1)
    prototypes[1] = 0
    gap = features.unsqueeze(1) - prototypes.reshape(1, C_OLD, D, 1, 1)
    expected = (-gap.norm(dim=2) / temperature).softmax(1)
    weights = MF.prototype_weights(features, prototypes, temperature)
    torch.testing.assert_close(weights, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(weights.sum(1), torch.ones(B, H, W, dtype=torch.float64))


def test_prototype_weights_see_small_distances_between_large_features():
    features, prototypes = normal(B, 64, H, W), normal(C_OLD, 64, seed=1)
    single = MF.prototype_weights((features + 1024).float(), (prototypes + 1024).float())
    double = MF.prototype_weights((features + 1024).float().double(), (prototypes + 1024).float().double())
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-6)


def test_prototype_weights_on_a_prototype_have_a_finite_gradient():
    prototypes = normal(C_OLD, D)
    features = prototypes[2].reshape(1, D, 1, 1).expand(1, D, 2, 3).clone().requires_grad_()
    weights = MF.prototype_weights(features, prototypes)
    weights[:, 0].sum().backward()
    assert (weights.argmax(1) == 2).all() and features.grad.isfinite().all()
    # One prototype, distance 0: nothing but the gradient of that distance is left.
    alone = prototypes[:1].reshape(1, D, 1, 1).clone().requires_grad_()
    MF.prototype_weights(alone, prototypes[:1]).sum().backward()
    assert (alone.grad == 0).all()


@pytest.mark.parametrize("channels", [1, 2, 256, 257])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_best_channel_is_the_first_of_the_largest(channels, layout):
    values = integers(4, 2, channels, 7, 5).to(torch.bfloat16).contiguous(memory_format=layout)
    expected = np.argmax(values.float().numpy(), axis=1)
    found = best_channel(values)
    assert found.dtype == torch.int64 and np.array_equal(found.numpy(), expected)
