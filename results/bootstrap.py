"""Paired bootstrap: how sure the mIoU difference of two methods is, given that the test images are a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from issbench.results.counts import ClassGroup, mean_iou
from issbench.results.image_counts import ImageCounts, group_of, load_image_counts
from issbench.results.runs import RecordError, Run

RESAMPLES = 10_000
_CHUNK = 250
"""Resamples at a time, so that memory stays below 10 MB for 2,000 images."""


@dataclass(frozen=True)
class Interval:
    """The mIoU (%) of two methods on the same images, and the interval of the difference in points."""

    group: str
    a: float
    b: float
    low: float
    high: float
    level: float
    images: int
    resamples: int

    @property
    def difference(self) -> float:
        """a − b in points."""
        return self.a - self.b

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    def sentence(self, a: str, b: str) -> str:
        """What this says about the methods named `a` and `b`."""
        range_ = f"{self.level:.0%} interval {self.low:+.2f} to {self.high:+.2f} over {self.images} test images"
        if not self.significant:
            return f"{a} and {b} cannot be told apart ({self.difference:+.2f} points; the {range_} includes 0)."
        better, worse = (a, b) if self.low > 0 else (b, a)
        return f"{better} is better than {worse} ({self.difference:+.2f} points; the {range_} excludes 0)."


def paired_interval(
    a: Run, b: Run, group: str = "all", *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The percentile interval of mIoU(a) − mIoU(b) after the last step.

    Test images are drawn with replacement, the same for both runs (Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993, ch. 13); the counts of the drawn images are added up, as those of the test set are. It tells
    how much depends on the choice of test images, not on that of seeds. Raises RecordError where a run lacks
    the counts of single images, or the two were tested on different images.
    """
    counts_a, counts_b = load_image_counts(a), load_image_counts(b)
    if counts_a.evaluation != counts_b.evaluation:
        raise RecordError(f"{a.name} and {b.name} were tested on different images, labels or crops")
    found, other = group_of(a, group), group_of(b, group)
    if found != other:
        raise RecordError(f"group {group} has other classes in {a.name} than in {b.name}")
    return interval(counts_a, counts_b, found, group, level=level, resamples=resamples, seed=seed)


def interval(
    a: ImageCounts, b: ImageCounts, group: ClassGroup, name: str, *, level: float, resamples: int, seed: int
) -> Interval:
    """The interval from the counts themselves. Raises RecordError for a group without a labelled class."""
    point_a, point_b = (float(mean_iou(counts.counts.sum(axis=0), group)) for counts in (a, b))
    differences = _differences(a.counts, b.counts, group, resamples, seed)
    defined = differences[~np.isnan(differences)]
    if np.isnan(point_a) or np.isnan(point_b) or not len(defined):
        raise RecordError(f"group {name} has no labelled class in the test images of {a.evaluation}")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(name, point_a, point_b, float(low), float(high), level, len(a.counts), resamples)


def _differences(a: np.ndarray, b: np.ndarray, group: ClassGroup, resamples: int, seed: int) -> np.ndarray:
    """mIoU differences of the resamples. How often each image is drawn is a matrix `[resamples, images]`, so that
    the sums of all resamples are one product with the counts; sums of pixels stay exact in float64."""
    images = len(a)
    span = slice(group.first, group.last + 1)
    inside = ClassGroup(0, group.last - group.first, group.absent_is_zero)
    tables = [counts[:, :, span].reshape(images, -1).astype(float) for counts in (a, b)]
    generator = np.random.Generator(np.random.PCG64(seed))
    differences = []
    for start in range(0, resamples, _CHUNK):
        drawn = generator.integers(images, size=(min(_CHUNK, resamples - start), images))
        cells = drawn + np.arange(len(drawn))[:, None] * images
        times = np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(float)
        one, other = (mean_iou((times @ table).reshape(len(times), 3, -1), inside) for table in tables)
        differences.append(one - other)
    return np.concatenate(differences)
