"""Bootstrap over test images: how far the mIoU difference of networks depends on the choice of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from issbench.results.counts import ClassGroup, mean_iou
from issbench.results.image_counts import ImageCounts, group_of, load_image_counts
from issbench.results.runs import RecordError, Run

RESAMPLES = 10_000
_CHUNK = 250
"""Resamples at a time, so that memory stays below 10 MB for 2,000 images."""


@dataclass(frozen=True, eq=False)
class Resampled:
    """mIoU (%) of a network on its test images, and `draws` `[resamples]`, that on images drawn from them.

    Networks with the same number of images have the same draws, image for image. NaN where no class of the group is
    labelled in the images drawn.
    """

    name: str
    evaluation: str
    group: ClassGroup
    images: int
    score: float
    draws: np.ndarray


@dataclass(frozen=True)
class Interval:
    """mIoU (%) of two networks on the same images, and the interval of their difference over other images."""

    a: float
    b: float
    low: float
    high: float
    level: float
    images: int

    @property
    def difference(self) -> float:
        """a − b in points."""
        return self.a - self.b


def resample(run: Run, group: str = "all", *, resamples: int = RESAMPLES, seed: int = 0) -> Resampled:
    """The mIoU of a group of classes after the last step, on images drawn with replacement (Efron & Tibshirani, An
    Introduction to the Bootstrap, 1993, ch. 13): the counts of the drawn images are added up, as those of the test
    set are. Raises RecordError where a run lacks the group, or the counts of single images.
    """
    return resample_counts(load_image_counts(run), group_of(run, group), run.name, resamples=resamples, seed=seed)


def resample_counts(
    images: ImageCounts, group: ClassGroup, name: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> Resampled:
    """The same from the counts themselves. Raises RecordError for a group without a labelled class."""
    score = float(mean_iou(images.counts.sum(axis=0), group))
    if np.isnan(score):
        raise RecordError(f"no class of the group is labelled in the test images of {name}")
    draws = _draws(images.counts, group, resamples, seed)
    return Resampled(name, images.evaluation, group, len(images.counts), score, draws)


def check_pair(a: Resampled, b: Resampled) -> None:
    """RecordError where two networks were not tested on the same images, classes and labels."""
    if a.evaluation != b.evaluation:
        raise RecordError(f"{a.name} and {b.name} were tested on different images, labels or crops")
    if a.group != b.group:
        raise RecordError(f"the group has other classes in {a.name} than in {b.name}")


def paired_interval(a: Resampled, b: Resampled, level: float = 0.95) -> Interval:
    """The percentile interval of mIoU(a) − mIoU(b) of two networks over test images; other seeds are not in it.

    The quantiles are those of Hesterberg, What teachers should know about the bootstrap, The American Statistician
    69 (2015): as much farther out as a t interval of so few images is wider than a normal one. Raises RecordError
    as `check_pair`.
    """
    from scipy.special import ndtr, stdtrit

    check_pair(a, b)
    differences = a.draws - b.draws
    tail = (1 - level) / 2
    if a.images > 1:
        tail = float(ndtr(stdtrit(a.images - 1, tail) * np.sqrt(a.images / (a.images - 1))))
    low, high = np.quantile(differences[~np.isnan(differences)], [tail, 1 - tail])
    return Interval(a.score, b.score, float(low), float(high), level, a.images)


def shared_deviation(pairs: Sequence[tuple[Resampled, Resampled]]) -> float:
    """The standard deviation, in points, of the mean difference of pairs of networks by the choice of test images.

    Only what all pairs share counts: the mean covariance of their differences over the draws. What the images do to
    each pair in its own way is in the spread between the pairs already. Raises RecordError as `check_pair`, and for
    less than two pairs or pairs on different images.
    """
    for a, b in pairs:
        check_pair(a, b)
    if len(pairs) < 2 or len({a.evaluation for a, _ in pairs}) > 1:
        raise RecordError("the pairs were not tested on the same images")
    draws = np.array([a.draws - b.draws for a, b in pairs])
    covariance = np.cov(draws[:, ~np.isnan(draws).any(axis=0)])
    others = ~np.eye(len(pairs), dtype=bool)
    images = pairs[0][0].images
    return float(np.sqrt(max(covariance[others].mean(), 0.0) * images / max(images - 1, 1)))


def _draws(counts: np.ndarray, group: ClassGroup, resamples: int, seed: int) -> np.ndarray:
    """mIoU of the resamples. How often each image is drawn is a matrix `[resamples, images]`, so that the sums of
    all resamples are one product with the counts; sums of pixels stay exact in float64."""
    images = len(counts)
    inside = ClassGroup(0, group.last - group.first, group.absent_is_zero)
    table = counts[:, :, group.first : group.last + 1].reshape(images, -1).astype(float)
    generator = np.random.Generator(np.random.PCG64(seed))
    found = []
    for start in range(0, resamples, _CHUNK):
        drawn = generator.integers(images, size=(min(_CHUNK, resamples - start), images))
        cells = drawn + np.arange(len(drawn))[:, None] * images
        times = np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(float)
        found.append(mean_iou((times @ table).reshape(len(times), 3, -1), inside))
    return np.concatenate(found)
