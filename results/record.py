"""What a run's record (`run.json`) holds, as types. The engine and `bench import` write it, this room reads it.

`schema.json` says the same to those who read records with other tools. IoU, mIoU and accuracies are in %. A list
over channels is in learning order, the background first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

FORMAT = 3
"""Raised when the meaning of a record changes; readers refuse what they do not know."""

Setting = str | int | float | bool | None
Score = float | None
"""In %; None where no class of a group counts, or the test images have no labelled pixel of a class."""


class Source(TypedDict):
    """The file that a run was imported from."""

    format: str
    file: str
    """Its name without folders."""
    sha256: str


class Experiment(TypedDict):
    """What was asked for. `recipe` is None in imported runs, where it is unknown."""

    method: str
    """The name, and after a colon the options that differ from the dataset's defaults: `gsc:sg=off`."""
    scenario: str
    setting: str
    order: str
    """`natural`, `A` … `E`, `random:N`, or the permutation itself, such as `3,1,2`."""
    classes: list[str]
    """The subset of classes that was chosen; empty for all."""
    seed: int
    protocol: dict[str, Setting]
    recipe: dict[str, Setting] | None
    data: str | None
    """Directory of the dataset when the run was made."""
    images: NotRequired[str]
    """The fraction of each step's training images that was used, 1 where it is absent; `0.3:7` is the draw 7."""
    allow_leak: NotRequired[bool]
    """Whether training images may be test images, too."""
    dataset: str
    metrics: list[str]
    """The metrics asked for besides the standard ones."""
    differs: dict[str, dict[str, Setting]]
    """Of `protocol` and `recipe` what differs from the defaults: equal for equal settings, also where one version
    knows more of them than another."""


class MethodFacts(TypedDict):
    """The method as its class declares it, so that tables and figures know no method's name."""

    name: str
    title: str
    options: dict[str, Setting]
    """All of them with the values that were used, the defaults too."""
    parts: list[str]
    order: int | None
    """Its place in tables; None: after those that have one."""
    colour: str
    marker: str
    dashes: str
    """How figures draw it; empty: chosen freely."""
    cite: str
    """Its key in references.bib, or empty."""
    upper_bound: bool
    """Trained on all data: it does not compete for best and second."""


class GroupSpans(TypedDict):
    """First and last channel of the groups under `miou` (named) and `groups` (printed) of each step."""

    named: Mapping[str, Sequence[int]]
    printed: Mapping[str, Sequence[int]]


class StepMetrics(TypedDict):
    """What the metrics give after a step. Those that were asked for stand beside these under their own names."""

    iou: list[Score]
    """Of each channel so far."""
    miou: dict[str, Score]
    """Of the groups base, new and all."""
    groups: dict[str, Score]
    """mIoU of the groups as published tables print them, such as `0-15`."""
    pixel_accuracy: NotRequired[Score]
    hiou: NotRequired[Score]
    """Harmonic mean of the mIoU of base and new classes."""


class Counts(TypedDict):
    """Pixels of each channel over all test images."""

    tp: list[int]
    fp: list[int]
    fn: list[int]


class EvaluationFile(TypedDict):
    """Where what was counted for single test images lies."""

    name: str
    """Equal for the same test images in the same order with the same labels."""
    images: str
    """The file, relative to the run store."""


class Environment(TypedDict):
    """What a step was trained with. It can change the last bit of a number, and is no part of the experiment."""

    versions: dict[str, str]
    git: str
    cpu: str
    gpu: str
    threads: int
    deterministic: bool
    precision: str


class ExemplarFacts(TypedDict):
    """The images of earlier steps that a step saw again."""

    images: list[list[str | int]]
    """Id, and the step in which it was drawn, of each."""
    bytes: int | None
    """What their files take on the disk; None where they have none."""


class PseudoLabels(TypedDict):
    """Pixels that a step labels as background, for each old class: those that get it as their label, those of them
    that truly are of it, and all that truly are of it."""

    given: list[int]
    right: list[int]
    hidden: list[int]


class Diagnosis(TypedDict):
    """A look at some of a step's images in training (`--diagnose`). What does not apply to a method is None or
    absent."""

    epoch: int
    """Epochs before it."""
    pseudo_labels: PseudoLabels | None
    gradients: dict[str, float | None]
    """Mean |G|, 0 … 1, of the background and of the classes of each step (`step 0`)."""
    confidence: float | None
    """Mean of the largest probability, 0 … 1."""
    entropy: float | None
    """Mean entropy as a share of that of equal probabilities, 0 … 1."""
    losses: dict[str, float | None]
    """Each term of the loss."""
    logit_gradients: dict[str, float | None]
    """L2 norm of the gradient of each term on the student's logits."""


class Training(TypedDict):
    """How the training of a step went."""

    seconds: float
    images: int
    """Images that were trained on, each epoch's counted."""
    train_images: int
    history: list[dict[str, float | None]]
    """The mean of each term of the loss, per epoch."""
    peak_memory_bytes: int | None
    device: str
    processes: int
    """How many trained together."""
    environment: Environment
    exemplars: NotRequired[ExemplarFacts]
    """Absent where the method keeps none."""
    diagnosis: NotRequired[list[Diagnosis]]
    """Absent where nobody looked."""


class StepRecord(TypedDict):
    """A step. In imported runs all but `step` and `metrics` is None."""

    step: int
    key: str | None
    metrics: StepMetrics
    counts: Counts | None
    evaluations: dict[str, EvaluationFile] | None
    """By what was counted, such as `confusion`."""
    test_images: int | None
    test_seconds: float | None
    recipe: dict[str, Setting] | None
    training: Training | None


class RunMetrics(TypedDict, total=False):
    """What the metrics give of the whole run; empty until it is complete."""

    mean_over_steps: Score
    """Mean over the steps of the mIoU of all classes; None where a step was skipped."""
    forgetting: list[float | None]
    """IoU of each channel when first learned minus after the last step, in points; of the classes of the last step,
    which have had no time to be forgotten, see `Run.forgotten`."""


class Record(TypedDict):
    """A run, as far as it is."""

    format: int
    source: Source | None
    experiment: Experiment
    data: str | None
    """The identity of all images and labels that the run's scenario reads; None in imported runs."""
    dataset_content: str | None
    """The identity of the whole dataset, by which runs of different scenarios are on the same data."""
    leaks: NotRequired[int]
    """Training images of the dataset that are test images, too; absent where there are none."""
    method: MethodFacts
    protocol: str
    """The evaluation protocol in words."""
    class_names: list[str]
    group_spans: GroupSpans
    classes_per_step: list[int]
    """New classes (or domains) of each step."""
    num_steps: int
    complete: bool
    """Whether every step that the method trains is in `steps`."""
    steps: list[StepRecord]
    metrics: RunMetrics
