"""methods.functional against the reference vectors (shared/conformance/SPEC.md).

The vectors lie outside the repository; ISSBENCH_CONFORMANCE names the folder of the first set if it is elsewhere.
That of the second set, `vectors-2`, lies beside it.
"""

import inspect
import os
import re
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor

from issbench.methods import functional

REPOSITORY = Path(__file__).resolve().parents[2]
VECTORS = Path(os.environ.get("ISSBENCH_CONFORMANCE") or REPOSITORY.parent / "shared" / "conformance" / "vectors")
FUNCTIONS = {
    name: function
    for name, function in inspect.getmembers(functional, inspect.isfunction)
    if name in functional.__all__
}


def function_name(path):
    return path.stem.rpartition("-")[0]


FOLDERS = (VECTORS, VECTORS.with_name("vectors-2"))
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.npz")) if function_name(path) in FUNCTIONS]

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="no folder of reference vectors")
every_vector = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def load(path):
    """The arguments of a vector file as the function takes them, and the expected result."""
    hints = get_type_hints(inspect.unwrap(FUNCTIONS[function_name(path)]))
    arguments = {}
    with np.load(path) as file:
        for key in sorted(set(file) - {"expected"}, key=lambda key: (len(key), key)):
            array = file[key]
            name = re.sub(r"_\d+$", "", key)
            if name not in hints:
                raise AssertionError(f"{path.name}: {key} is not an argument")
            if name != key:
                arguments.setdefault(name, []).append(torch.from_numpy(array))
            elif hints[name] is Tensor:
                arguments[name] = torch.from_numpy(array)
            else:  # a number, or a sequence of ints
                arguments[name] = array.item() if array.ndim == 0 else tuple(array.tolist())
        return arguments, file["expected"]


def map_tensors(function, value):
    if isinstance(value, dict):
        return {key: map_tensors(function, entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [map_tensors(function, entry) for entry in value]
    return function(value) if isinstance(value, Tensor) else value


def tensors(arguments):
    flat = []
    map_tensors(flat.append, arguments)
    return flat


def single(tensor):
    return tensor.float() if tensor.is_floating_point() else tensor


def assert_close(actual, expected, relative, absolute):
    """|actual − expected| ≤ relative·|expected| + absolute·max(1, max|expected|), NaN only where expected."""
    assert actual.shape == expected.shape
    scale = max(1.0, np.nanmax(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=relative, atol=absolute * scale, equal_nan=True)


def decision_margin(arguments):
    """How far, in float64, each pixel is from getting another label."""
    logits, thresholds = arguments["logits_old"], arguments["thresholds"]
    p = logits.softmax(1)
    entropy = torch.special.entr(p).sum(1) / np.log(p.shape[1])
    margins = [(entropy - thresholds[p.argmax(1)]).abs()]
    for score in (p, arguments["weights"] * p) if "weights" in arguments else (p,):
        best, second = score.topk(2, dim=1).values.unbind(1)
        margins.append(1 - second / best)
    return torch.stack(margins).amin(0)


@every_vector
def test_float64(path):
    arguments, expected = load(path)
    before = map_tensors(Tensor.clone, arguments)
    actual = FUNCTIONS[function_name(path)](**arguments)
    if np.issubdtype(expected.dtype, np.integer):
        assert not actual.is_floating_point() and actual.dtype != torch.bool
        np.testing.assert_array_equal(actual.numpy(), expected)
    else:
        assert actual.dtype == torch.float64
        assert_close(actual.numpy(), expected, relative=1e-6, absolute=1e-9)
    for old, new in zip(tensors(before), tensors(arguments), strict=True):
        assert torch.equal(old, new)


@every_vector
def test_float32(path):
    arguments, expected = load(path)
    actual = FUNCTIONS[function_name(path)](**map_tensors(single, arguments)).numpy()
    if not np.issubdtype(expected.dtype, np.integer):
        assert_close(actual, expected, relative=1e-4, absolute=1e-4)
    elif "thresholds" in arguments:
        # A label is a comparison: rounding to float32 may flip a pixel that sits on a threshold or between
        # two classes, and only such a pixel.
        decided = (decision_margin(arguments) > 1e-5).numpy()
        assert decided.mean() > 0.9
        np.testing.assert_array_equal(actual[decided], expected[decided])
    else:
        np.testing.assert_array_equal(actual, expected)


def test_every_function_of_the_specification_has_a_vector():
    """`sigmoid_membership` is ours alone: tests/methods/test_functional.py compares it with torch's."""
    assert {function_name(path) for path in FILES} == set(FUNCTIONS) - {"sigmoid_membership"}
