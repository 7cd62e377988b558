"""What holds for every function of methods.functional: gradients, types, devices, arguments left alone."""

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


def examples(dtype=torch.float64):
    """Arguments of every function, on a map that is not square."""
    logits, logits_old = normal(B, C, H, W, scale=4, dtype=dtype), normal(B, C_OLD, H, W, seed=1, dtype=dtype)
    features, features_old = (
        normal(B, D, 11, W, seed=2, dtype=dtype),
        normal(B, D, 11, W, seed=3, dtype=dtype),
    )
    thresholds = torch.full((C_OLD,), 0.8, dtype=dtype)
    weights = normal(B, C_OLD, H, W, seed=4, dtype=dtype).softmax(1)
    target = labels()
    flat = {"values": normal(50, seed=5, dtype=dtype), "classes": labels(shape=(50,))}
    pseudo = {"target": target, "logits_old": logits_old, "thresholds": thresholds, "num_old": C_OLD}
    cubes = {"features": features, "features_old": features_old}
    return {
        "pixel_contrast": {
            "anchors": normal(5, D, seed=13, dtype=dtype),
            "contrast": normal(9, D, seed=14, dtype=dtype),
            "anchor_labels": torch.tensor([1, 2, 1, 255, 3]),
            "contrast_labels": torch.tensor([1, 2, 1, 255, 3, 1, 2, 1, 255]),
            "weights": normal(5, 9, seed=15, dtype=dtype).abs(),
        },
        "logit_regulariser": {"logits": logits, "logits_old": logits_old},
        "label_guided_distillation": {"logits": logits, "logits_old": logits_old, "target": target},
        "unbiased_memory_cross_entropy": {"logits": logits, "target": target, "num_old": C_OLD},
        "sigmoid_membership": {"logits": logits[:, C_OLD:], "target": target, "first": C_OLD, "positive": 2.0},
        "sigmoid_cross_entropy": {"logits": logits, "target": target},
        "knowledge_distillation": {"logits": logits, "logits_old": logits_old, "alpha": 1.5},
        "sigmoid_distillation": {"logits": logits, "logits_old": logits_old},
        "pooled_cube_spatial": {**cubes, "sizes": (3, 4, 24)},
        "pooled_cube_channel": cubes,
        "ewc_penalty": {
            "parameters": [normal(4, 3, seed=7, dtype=dtype), normal(5, seed=8, dtype=dtype)],
            "anchors": [normal(4, 3, seed=9, dtype=dtype), normal(5, seed=10, dtype=dtype)],
            "importances": [normal(4, 3, seed=11, dtype=dtype).abs(), normal(5, seed=12, dtype=dtype).abs()],
        },
        "unbiased_cross_entropy": {"logits": logits, "target": target, "num_old": C_OLD},
        "unbiased_knowledge_distillation": {"logits": logits, "logits_old": logits_old, "alpha": 1.5},
        "fold_new_into_background": {"logits": logits, "num_old": C_OLD},
        "local_pod": cubes,
        "prediction_entropy": {"logits": logits},
        "sharp_confidence": {"logits": logits},
        "soft_relation": {"logits": logits, "logits_old": logits_old, "target": target},
        "class_prototypes": {"features": logits, "classes": target, "num_classes": C},
        "prototype_weights": {"features": features, "prototypes": normal(C_OLD, D, seed=6, dtype=dtype)},
        "step_aware_weights": {"logits": logits, "target": target, "classes_per_step": [3, 1, 1]},
        "entropy_pseudo_labels": pseudo,
        "adaptive_factor": pseudo,
        "prototypical_pseudo_labels": {**pseudo, "weights": weights},
        "class_medians": {**flat, "num_classes": C},
        "confusion_matrix": {"prediction": integers(C, B, H, W), "target": target, "num_classes": C},
        "iou_per_class": {"confusion": integers(9, C, C)},
    }


DIFFERENTIABLE = list(examples())[:20]
LABELS = ["entropy_pseudo_labels", "prototypical_pseudo_labels"]
ON_LOGITS = [name for name, arguments in examples().items() if {"logits", "logits_old"} & set(arguments)]


def call(name, arguments):
    return getattr(MF, name)(**arguments)


def mapped(change, value):
    """The value with `change` applied to the tensors in it."""
    if isinstance(value, dict):
        return {key: mapped(change, entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [mapped(change, entry) for entry in value]
    return change(value) if isinstance(value, torch.Tensor) else value


def converted(arguments, change):
    """The arguments with `change` applied to their floating-point tensors."""
    return mapped(lambda x: change(x) if x.is_floating_point() else x, arguments)


# Every function


def test_every_function_is_held_to_the_rules():
    public = {name for name in MF.__all__ if callable(getattr(MF, name))}
    assert set(examples()) == public


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_is_the_derivative(name):
    small = mapped(lambda x: x[:1, ..., :5].clone() if x.dim() > 2 else x, examples()[name])
    first = next(iter(small))
    many = isinstance(small[first], list)
    inputs = [x.requires_grad_() for x in (small[first] if many else [small[first]])]
    assert torch.autograd.gradcheck(
        lambda *x: call(name, {**small, first: list(x) if many else x[0]}), inputs, fast_mode=False
    )


@pytest.mark.parametrize("name", examples())
def test_arguments_are_left_as_they_were(name):
    arguments, before = examples()[name], examples()[name]
    call(name, arguments)
    torch.testing.assert_close(arguments, before, rtol=0, atol=0)


@pytest.mark.parametrize("name", examples())
def test_shapes_do_not_depend_on_values_and_no_value_is_read(name):
    """The meta device has shapes and no values, so .item() and boolean-mask indexing raise there."""
    arguments = examples()[name]
    result, expected = call(name, mapped(lambda x: x.to("meta"), arguments)), call(name, arguments)
    assert result.is_meta
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", examples())
def test_cuda_agrees_and_does_not_synchronise(name):
    arguments = examples(torch.float32)[name]
    cuda = mapped(torch.Tensor.cuda, arguments)
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = call(name, cuda)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(result.cpu(), call(name, arguments), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", examples())
def test_float32_agrees_with_float64(name):
    single, double = call(name, examples(torch.float32)[name]), call(name, examples()[name])
    if double.is_floating_point() and name != "iou_per_class":
        assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", examples())
def test_memory_layout_does_not_matter(name):
    arguments = examples()[name]
    channels_last = mapped(
        lambda x: x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x, arguments
    )
    torch.testing.assert_close(call(name, channels_last), call(name, arguments))


@pytest.mark.parametrize("name", ON_LOGITS)
def test_large_bf16_logits_under_autocast(name):
    """At ±40 in bf16 nothing is NaN, and the result is that of the same numbers in float64."""
    arguments = converted(examples()[name], lambda x: (40 * x).clamp(-40, 40) if x.dim() == 4 else x)
    half = converted(arguments, lambda x: x.bfloat16().requires_grad_())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = call(name, half)
    exact = call(name, converted(half, lambda x: x.detach().double()))
    if name in LABELS:
        assert (result == exact).double().mean() > 0.95  # bf16 logits tie
    else:
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, exact.detach().float(), rtol=1e-3, atol=1e-4)
    if result.requires_grad:
        result.sum().backward()
        assert half[next(iter(half))].grad.isfinite().all()


@pytest.mark.parametrize(
    "name",
    [
        "local_pod",
        "pooled_cube_spatial",
        "pooled_cube_channel",
        "ewc_penalty",
        "class_prototypes",
        "prototype_weights",
        "pixel_contrast",
    ],
)
def test_autocast_leaves_distances_and_means_in_float32(name):
    arguments = examples(torch.float32)[name]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = call(name, arguments)
    torch.testing.assert_close(result, call(name, arguments), rtol=1e-6, atol=1e-7)
