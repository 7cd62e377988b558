"""Training and test pairs: reproducible, of fixed size, and with each label under its own pixel."""

from __future__ import annotations

import random
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms.v2 import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional as tvf

from issbench.scenarios.transforms import Crop, LabelledImage, cut, draw_crop
from issbench.scenarios.transforms import evaluation_pair as evaluation_pair_of
from issbench.scenarios.transforms import training_pair as training_pair_of

AREA = (0.5, 2.0)
AS_IS = np.arange(256, dtype=np.uint8)
NEAREST = InterpolationMode.NEAREST
BLOCK = 16  # pixels; a block of this side has one label


def training_pair(
    image: Image.Image, label: np.ndarray, size: int, area: tuple[float, float], seed: int
) -> LabelledImage:
    return training_pair_of(np.array(image), label, AS_IS, size, area, seed)


def evaluation_pair(image: Image.Image, label: np.ndarray, size: int) -> LabelledImage:
    return evaluation_pair_of(np.array(image), label, AS_IS, size)


def scene(width: int = 256, height: int = 256) -> tuple[Image.Image, np.ndarray]:
    """An image whose red is x and green is y, and labels that count blocks: both tell where a pixel is from."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)
    return Image.fromarray(pixels), (y // BLOCK * 16 + x // BLOCK).astype(np.uint8)


def misplaced(pair: LabelledImage) -> float:
    """How far, in pixels of the scene, the worst pixel is outside the block that its label names."""
    image, label = (part.numpy().astype(int) for part in pair)
    row, column = np.divmod(label, 16)
    outside = []
    for place, block in ((image[0], column), (image[1], row)):
        outside += [block * BLOCK - place, place - (block * BLOCK + BLOCK - 1)]
    return float(np.max(outside))


def is_flipped(pair: LabelledImage) -> bool:
    red = pair[0][0].float()
    return bool(red[:, 0].mean() > red[:, -1].mean())


def same(one: LabelledImage, other: LabelledImage) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# Training


@pytest.mark.parametrize("size, shape", [(32, (50, 40)), (33, (20, 64)), (64, (64, 64)), (48, (7, 9))])
def test_size_and_type(size: int, shape: tuple[int, int]) -> None:
    image, label = scene(*shape)
    for pair in (training_pair(image, label, size, AREA, 3), evaluation_pair(image, label, size)):
        assert [(part.dtype, tuple(part.shape)) for part in pair] == [
            (torch.uint8, (3, size, size)),
            (torch.uint8, (size, size)),
        ]


def test_same_seed_same_pair_and_other_seed_other_pair() -> None:
    image, label = scene()
    pairs = [training_pair(image, label, 48, (0.25, 0.5), seed) for seed in range(12)]
    assert all(same(pair, training_pair(image, label, 48, (0.25, 0.5), s)) for s, pair in enumerate(pairs))
    assert len({pair[0].numpy().tobytes() for pair in pairs}) == len(pairs)


def test_global_random_states_neither_matter_nor_change() -> None:
    image, label = scene()
    expected = training_pair(image, label, 48, (0.25, 0.5), 5)
    for seed in range(3):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
        assert same(training_pair(image, label, 48, (0.25, 0.5), 5), expected)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]  # type: ignore[index]


def test_inputs_are_left_alone() -> None:
    image, label = scene(60, 50)
    pixels, labels = np.array(image), label.copy()
    training_pair(image, label, 32, AREA, 1)
    evaluation_pair(image, label, 32)
    assert np.array_equal(np.array(image), pixels) and np.array_equal(label, labels)


@pytest.mark.parametrize("area", [(0.25, 0.5), (0.5, 2.0), (1.0, 1.0)])
def test_every_label_stays_with_its_pixel(area: tuple[float, float]) -> None:
    image, label = scene()
    flips = 0
    for seed in range(40):
        pair = training_pair(image, label, 96, area, seed)
        assert misplaced(pair) <= 2  # bilinear and nearest may differ by as much at a block's border
        flips += is_flipped(pair)
    assert 10 <= flips <= 30


def test_a_whole_image_is_kept_or_mirrored_exactly() -> None:
    image, label = scene(64, 64)
    straight = torch.from_numpy(np.array(image)).permute(2, 0, 1), torch.from_numpy(label)
    mirrored = straight[0].flip(2), straight[1].flip(1)
    # Areas above 1 fit nowhere, so the crop is the whole image.
    pairs = [training_pair(image, label, 64, (2.0, 2.0), seed) for seed in range(40)]
    count = [sum(same(pair, wanted) for pair in pairs) for wanted in (straight, mirrored)]
    assert sum(count) == 40
    assert min(count) >= 10


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [40, 128, 250])
def test_a_crop_is_torchvisions_of_the_same_rectangle(size: int, flip: bool) -> None:
    """On what PIL decodes: the same place, the same labels, the same values within one grey level."""
    draw = np.random.default_rng(0)
    image = Image.fromarray(draw.integers(0, 256, (150, 200, 3), np.uint8))
    label = draw.integers(0, 9, (150, 200), np.uint8)
    table = draw.permutation(AS_IS)
    for _ in range(20):
        box = [*RandomResizedCrop(size, scale=AREA, ratio=(3 / 4, 4 / 3)).make_params([image]).values()]
        found = cut(np.array(image), label, table, size, Crop(*box, flip))
        expected = (
            tvf.resized_crop(image, *box, [size] * 2),
            tvf.resized_crop(Image.fromarray(table[label]), *box, [size] * 2, NEAREST),
        )
        whole = [tvf.pil_to_tensor(tvf.horizontal_flip(part) if flip else part) for part in expected]
        assert (found[0].int() - whole[0].int()).abs().max() <= 1
        # PIL adds up fractions, so of a place right between two pixels it takes either.
        between = [(2 * np.arange(size) + 1) * side % (2 * size) == 0 for side in box[2:]]
        clear = ~between[0][:, None] & ~(between[1][::-1] if flip else between[1])
        assert torch.equal(found[1][clear], whole[1][0][clear]) and clear.mean() > 0.5


@pytest.mark.parametrize("area", [(0.5, 2.0), (0.08, 1.0), (1.5, 2.0)])
@pytest.mark.parametrize("shape", [(150, 200), (300, 90)])
def test_rectangles_are_drawn_as_torchvision_draws_them(shape: tuple[int, int], area: tuple[float, float]) -> None:
    """Each side of the rectangle, its place, and how often the whole image is taken: by Kolmogorov and Smirnov."""
    of_torch, blank, generator = (
        RandomResizedCrop(8, scale=area, ratio=(3 / 4, 4 / 3)),
        torch.zeros(3, *shape),
        Random(7),
    )
    torch.manual_seed(7)
    theirs = np.array([[*of_torch.make_params([blank]).values()] for _ in range(3000)])
    ours = np.array([draw_crop(*shape, area, generator) for _ in range(3000)])
    assert [ks_2samp(ours[:, i], theirs[:, i]).pvalue > 1e-3 for i in range(4)] == [True] * 4
    assert ks_2samp(ours[:, 2] / ours[:, 3], theirs[:, 2] / theirs[:, 3]).pvalue > 1e-3
    assert 0.45 < ours[:, 4].mean() < 0.55
    tops, lefts, heights, widths = ours[:, :4].T
    assert (ours[:, :4] >= 0).all() and (tops + heights <= shape[0]).all() and (lefts + widths <= shape[1]).all()


def test_crops_have_the_asked_area_and_a_moderate_shape() -> None:
    image, label = scene()
    areas = []
    for seed in range(60):
        crop = training_pair(image, label, 64, (0.2, 0.4), seed)[0].float()
        spans = [crop[0].max() - crop[0].min(), crop[1].max() - crop[1].min()]
        width, height = (float(span) * 64 / 63 for span in spans)  # from the first pixel's centre to the last's
        areas.append(width * height / 256**2)
        assert 0.7 < width / height < 1.43
    assert 0.18 < min(areas) < 0.25 and 0.35 < max(areas) < 0.42


def test_crops_come_from_everywhere() -> None:
    image, label = scene()
    seen = np.zeros((256, 256), bool)
    for seed in range(60):
        crop = training_pair(image, label, 64, (0.2, 0.4), seed)[0].long()
        seen[crop[1], crop[0]] = True
    blocks = seen.reshape(16, 16, 16, 16).any(axis=(1, 3))
    assert blocks.all()


@pytest.mark.parametrize("shape", [(40, 30), (100, 90), (256, 200)])
def test_labels_are_never_mixed(shape: tuple[int, int]) -> None:
    image, _ = scene(*shape)
    values = np.array([0, 3, 20, 255], np.uint8)
    label = np.random.default_rng(0).choice(values, size=shape[::-1])
    found = [evaluation_pair(image, label, 48)[1].unique().tolist()]
    found += [training_pair(image, label, 48, AREA, seed)[1].unique().tolist() for seed in range(10)]
    assert all(labels == values.tolist() for labels in found)


# Evaluation


@pytest.mark.parametrize(
    "width, height, columns, rows",
    [(64, 64, (0, 64), (0, 64)), (100, 64, (18, 82), (0, 64)), (64, 96, (0, 64), (16, 80))],
)
def test_evaluation_takes_the_centre(
    width: int, height: int, columns: tuple[int, int], rows: tuple[int, int]
) -> None:
    image, label = scene(width, height)
    found_image, found_label = evaluation_pair(image, label, 64)
    area = slice(*rows), slice(*columns)
    assert np.array_equal(found_image.numpy(), np.array(image)[area].transpose(2, 0, 1))
    assert np.array_equal(found_label.numpy(), label[area])


@pytest.mark.parametrize("width, height", [(256, 128), (128, 256), (200, 150), (50, 120)])
def test_evaluation_resizes_the_shorter_side(width: int, height: int) -> None:
    image, label = scene(width, height)
    pair = evaluation_pair(image, label, 96)
    assert misplaced(pair) <= 2
    for channel, side in ((0, width), (1, height)):
        places = pair[0][channel].float()
        span = float(places.max() - places.min())
        assert span == pytest.approx(min(width, height), rel=0.04)
        assert float(places.mean()) == pytest.approx((side - 1) / 2, abs=1)


def test_evaluation_is_not_random() -> None:
    image, label = scene(90, 70)
    torch.manual_seed(1)
    one = evaluation_pair(image, label, 48)
    torch.manual_seed(2)
    assert same(one, evaluation_pair(image, label, 48))
    assert not is_flipped(one)
