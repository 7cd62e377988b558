"""Real images through the whole engine, with a network and a recipe that are small but complete."""

from pathlib import Path

from issbench import Experiment, run

SMALL = {
    "first_epochs": 1, "epochs": 1, "batch": 16, "crop": 64, "backbone": "tiny", "weights": "none",
    "output_stride": 8, "aspp_channels": 16,
}  # fmt: skip


def test_drives_of_camvid_as_domains(data_dir: Path, tmp_path: Path) -> None:
    experiment = Experiment("gsc", "camvid_1-1", setting="domain", data=data_dir / "CamVid", recipe=SMALL)
    record = run(experiment, out=tmp_path)[0]
    assert [step["training"]["train_images"] for step in record["steps"]] == [62, 101, 204]
    assert [step["test_images"] for step in record["steps"]] == [233] * 3
    assert record["class_names"][0] == "Sky" and len(record["steps"][-1]["metrics"]["iou"]) == 11
    # Every labelled pixel of the centre crops is counted once: the sky alone is a sixth of them.
    counts = record["steps"][-1]["counts"]
    labelled = sum(counts["tp"]) + sum(counts["fn"])
    assert 0.9 * 233 * 64 * 64 < labelled < 233 * 64 * 64


def test_animals_of_voc_class_by_class(data_dir: Path, tmp_path: Path) -> None:
    """The rarest of the subset's classes last, so that the steps are short."""
    classes = ("cow", "sheep", "sofa")
    experiment = Experiment(
        "plop", "voc_1-1", setting="disjoint", classes=classes, data=data_dir / "VOCdevkit", recipe=SMALL
    )
    record = run(experiment, out=tmp_path)[0]
    assert record["class_names"] == ["background", *classes]
    assert [len(step["metrics"]["iou"]) for step in record["steps"]] == [2, 3, 4]
    # Only images with one of the classes exist for this scenario.
    assert record["steps"][-1]["test_images"] < 445
    assert list(record["steps"][-1]["metrics"]["groups"]) == ["0-1", "2-3", "all"]
