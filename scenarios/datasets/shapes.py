"""Shapes: the built-in benchmark. Small drawn scenes that need no files and train in minutes on a laptop.

A class is an outline with a surface of its own. Colours, size, place and tilt are random, and the background
carries faint surfaces of the classes, so that colour does not give the class and texture does not suffice.
A scene is a function of its id only: it is computed with +, −, ×, ÷, √, floor and comparisons alone (no sine,
no BLAS, no sum whose order a library may choose), so that all machines draw the same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from issbench.scenarios.datasets.base import IGNORE, Dataset, Split
from issbench.scenarios.errors import unknown_name

SIZE = 64
VERSION = 1  # raise it when any pixel or label of any scene changes: it seeds the scenes and names the data
_SPLITS = ("train", "test")
_FLOAT = np.float32  # halves the time; Python's numbers beside such arrays do not widen them
_Y, _X = (axis.astype(_FLOAT) for axis in np.mgrid[:SIZE, :SIZE])
Array = np.ndarray

# Outlines: signed distance to the border in pixels (< 0 inside), from centred coordinates u, v and radius r.


def _normals(n: int) -> list[tuple[float, float]]:
    # rounded, so that the last bit of a C library's cosine does not matter
    return [(round(math.cos(a), 6), round(math.sin(a), 6)) for a in (2 * math.pi * k / n for k in range(n))]


_NORMALS = {n: _normals(n) for n in (3, 5, 6)}


def _sides(u: Array, v: Array, n: int) -> list[Array]:
    """How far each pixel lies in the direction of each side of a regular n-gon."""
    return [u * c + v * s for c, s in _NORMALS[n]]


def _disk(u: Array, v: Array, r: float) -> Array:
    return np.sqrt(u * u + v * v) - r


def _ring(u: Array, v: Array, r: float) -> Array:
    return np.abs(_disk(u, v, 0.72 * r)) - 0.28 * r


def _square(u: Array, v: Array, r: float) -> Array:
    return np.maximum(np.abs(u), np.abs(v)) - 0.85 * r


def _triangle(u: Array, v: Array, r: float) -> Array:
    return np.maximum.reduce(_sides(u, v, 3)) - 0.65 * r


def _cross(u: Array, v: Array, r: float) -> Array:
    u, v = np.abs(u), np.abs(v)
    return np.maximum(np.minimum(u, v) - 0.4 * r, np.maximum(u, v) - r)


def _star(u: Array, v: Array, r: float) -> Array:
    # a pixel of a pentagram is beyond at most one side of its pentagon: the second largest distance decides
    return np.sort(np.stack(_sides(u, v, 5)), axis=0)[-2] - 0.45 * r


def _crescent(u: Array, v: Array, r: float) -> Array:
    return np.maximum(_disk(u, v, r), -_disk(u - 0.65 * r, v, 0.7 * r))


def _hexagon(u: Array, v: Array, r: float) -> Array:
    return np.maximum.reduce(_sides(u, v, 6)) - 0.9 * r


# Surfaces: the share of the second colour (0 … 1), from coordinates s, t in periods of the pattern and noise.


def _frac(x: Array) -> Array:
    return x - np.floor(x)


_SURFACES: dict[str, Callable[[Array, Array, Array], Array]] = {
    "gradient": lambda s, t, noise: np.clip(0.5 + 0.2 * s, 0, 1),
    "grid": lambda s, t, noise: np.minimum(_frac(s), _frac(t)) < 0.3,
    "checks": lambda s, t, noise: (_frac(0.7 * s) < 0.5) != (_frac(0.7 * t) < 0.5),
    "dots": lambda s, t, noise: _disk(_frac(s) - 0.5, _frac(t) - 0.5, 0.3) < 0,
    "solid": lambda s, t, noise: np.zeros_like(s),
    "speckle": lambda s, t, noise: noise < 0.4,
    "zigzag": lambda s, t, noise: _frac(s + np.abs(_frac(0.7 * t) - 0.5)) < 0.5,
    "stripes": lambda s, t, noise: _frac(s) < 0.5,
}
_KINDS: dict[str, tuple[Callable[[Array, Array, float], Array], str]] = {
    "disk": (_disk, "gradient"),
    "ring": (_ring, "grid"),
    "square": (_square, "checks"),
    "triangle": (_triangle, "dots"),
    "cross": (_cross, "solid"),
    "star": (_star, "speckle"),
    "crescent": (_crescent, "zigzag"),
    "hexagon": (_hexagon, "stripes"),
}


class _Light(NamedTuple):
    """What a domain does to a scene: gain, a share `veiled` of the colour `veil`, contrast, and noise."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    veil: tuple[float, float, float] = (0.0, 0.0, 0.0)
    veiled: float = 0.0
    contrast: float = 1.0
    noise: float = 0.06


_LIGHTS = {
    "day": _Light(),
    "dusk": _Light(gain=(1.0, 0.75, 0.6), veil=(0.6, 0.3, 0.2), veiled=0.15),
    "night": _Light(gain=(0.4, 0.45, 0.65), noise=0.09),
    "fog": _Light(veil=(0.75, 0.77, 0.8), veiled=0.5),
    "neon": _Light(gain=(-1.0, -0.6, -1.0), veil=(1.5, 1.1, 1.5), veiled=0.5, contrast=3.0),
}


class _Scene(NamedTuple):
    image: Array  # uint8 [64, 64, 3]
    label: Array  # uint8 [64, 64]


def _tilted(rng: np.random.Generator, y: float, x: float, scale: float = 1.0) -> tuple[Array, Array]:
    """The pixel grid about (y, x), turned by up to ±44° and divided by `scale`: two arrays [64, 64]."""
    t = 0.8 * rng.random() - 0.4  # tangent of half the angle: a rotation without sine and cosine
    c, s = (1 - t * t) / (1 + t * t) / scale, 2 * t / (1 + t * t) / scale
    return (_X - x) * c + (_Y - y) * s, (_Y - y) * c - (_X - x) * s


def _paint(rng: np.random.Generator, surface: str, y: float, x: float) -> Array:
    """A surface in two random colours, different in every channel: [3, 64, 64] in 0 … 1."""
    first = rng.random((3, 1, 1), _FLOAT)
    second = _frac(first + 0.3 + 0.4 * rng.random((3, 1, 1), _FLOAT))
    s, t = _tilted(rng, y, x, scale=5.5 + 1.5 * rng.random())
    noise = rng.random((SIZE // 2, SIZE // 2), _FLOAT).repeat(2, axis=0).repeat(2, axis=1)
    return first + _SURFACES[surface](s + rng.random(), t + rng.random(), noise) * (second - first)


def _background(rng: np.random.Generator) -> Array:
    """A gradient with irregular patches of some class's surface and two lines, all faint: [3, 64, 64]."""
    image = _paint(rng, "gradient", SIZE / 2, SIZE / 2)
    waves = [_tilted(rng, SIZE * rng.random(), 0.0, scale=24 + 24 * rng.random()) for _ in range(2)]
    height = sum(np.abs(_frac(wave) - 0.5) for pair in waves for wave in pair)  # four crossing waves: 0 … 2
    patches = _paint(rng, list(_SURFACES)[int(len(_SURFACES) * rng.random())], 0.0, 0.0)
    image = np.where(height > 1.15, patches, image)
    for _ in range(2):
        across = _tilted(rng, SIZE * rng.random(), SIZE * rng.random())[int(2 * rng.random())]
        image = np.where(np.abs(across) < 0.5 + rng.random(), rng.random((3, 1, 1), _FLOAT), image)
    return 0.35 + 0.3 * image


def _places(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Two to four places (y, x, radius), so far apart that a later object hides little of an earlier one."""
    wanted = 2 + int(3 * rng.random())
    places: list[tuple[float, float, float]] = []
    for _ in range(40):  # as many tries, then the scene has to do with fewer objects
        r = 11 + 5 * rng.random()
        y, x = (0.8 * r + (SIZE - 1.6 * r) * rng.random() for _ in range(2))
        if all((y - b) * (y - b) + (x - a) * (x - a) > (0.85 * (r + q)) ** 2 for b, a, q in places):
            places.append((y, x, r))
        if len(places) == wanted:
            break
    return places


def _draw(split: str, domain: str, index: int) -> _Scene:
    """The scene of an id."""
    entropy = [VERSION, _SPLITS.index(split), list(_LIGHTS).index(domain), index]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
    image, label = _background(rng), np.zeros((SIZE, SIZE), np.uint8)
    order = np.argsort(rng.random(len(_KINDS))).tolist()
    for kind, (y, x, r) in zip(order, _places(rng), strict=False):
        outline, surface = list(_KINDS.values())[kind]
        distance = outline(*_tilted(rng, y, x), r)
        image += np.clip(0.5 - distance, 0, 1) * (_paint(rng, surface, y, x) - image)
        label[distance < 0.5] = IGNORE  # a border of mixed pixels, as in VOC
        label[distance <= -0.5] = kind + 1
    light = _LIGHTS[domain]
    gain, veil = (np.array(rgb, _FLOAT).reshape(3, 1, 1) for rgb in (light.gain, light.veil))
    image = (1 - light.veiled) * gain * image + light.veiled * veil
    image = 0.5 + light.contrast * (image - 0.5) + light.noise * (2 * rng.random(image.shape, _FLOAT) - 1)
    pixels = np.floor(255 * np.clip(image, 0, 1) + 0.5).astype(np.uint8)
    return _Scene(np.ascontiguousarray(pixels.transpose(1, 2, 0)), label)


class Shapes(Dataset):
    """Scenes of 64 × 64 pixels with two to four objects of different classes."""

    name = "shapes"
    classes = tuple(_KINDS)
    published_splits = ("4-4", "4-2", "4-1", "1-1")
    recipe = {
        "epochs": 5, "first_epochs": 15, "lr": 0.02, "first_lr": 0.05, "batch": 16, "crop": 64,
        "scale_min": 0.8, "scale_max": 1.2, "backbone": "tiny", "weights": "none", "output_stride": 8,
        "aspp_channels": 64,
    }  # fmt: skip
    in_memory = True
    obtain = "It needs no files: its scenes are drawn when they are read."

    def __init__(self, root: str | Path | None = None, domains: bool = False):
        """`root` is ignored. Without `domains`, all scenes are of the first one, "day"."""
        self.domains = tuple(_LIGHTS) if domains else ()
        counts = {"train": 250, "test": 60} if domains else {"train": 1000, "test": 200}
        self._ids = {
            split: tuple(f"{split}/{light}/{i:05}" for light in self.domains or ["day"] for i in range(count))
            for split, count in counts.items()
        }
        self._known = frozenset(self._ids["train"] + self._ids["test"])
        self._scenes: dict[str, _Scene] = {}

    def ids(self, split: Split) -> tuple[str, ...]:
        return self._ids[split]

    def image(self, sample: str) -> Image.Image:
        return Image.fromarray(self._scene(sample).image.copy())

    def label(self, sample: str) -> Array:
        return self._scene(sample).label.copy()

    def files(self, sample: str) -> tuple[Path, ...]:
        return ()

    def domain(self, sample: str) -> str:
        return sample.split("/")[1] if self.domains else super().domain(sample)

    def with_domains(self) -> Shapes:
        return self if self.domains else Shapes(domains=True)

    def _scene(self, sample: str) -> _Scene:
        """The scene of an id, drawn once and then kept (16 KB)."""
        if sample not in self._scenes:
            if sample not in self._known:
                raise unknown_name("sample of shapes", sample, self.ids("train") + self.ids("test"))
            split, domain, index = sample.split("/")
            self._scenes[sample] = _draw(split, domain, int(index))
        return self._scenes[sample]
