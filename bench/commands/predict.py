"""`bench predict`: a finished network on a user's own images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from issbench.bench.commands.support.options import Force

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from issbench.bench.engine.predict import Predictor
    from issbench.results.runs import Run

_OVERLAY = 0.6
"""How much of an overlay is the class's colour; the background stays as it is."""


def predict(
    checkpoint: Annotated[
        str, typer.Argument(help="A folder runs/RUN or steps/KEY of a run store, or the name of a run in --out.")
    ],
    images: Annotated[list[Path], typer.Argument(help="Image files, of any size.")],
    output: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("predictions"),
    step: Annotated[int | None, typer.Option(help="The step of a run.", show_default="its last")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto",
    out: Annotated[Path, typer.Option(help="The run store, for the name of a run.")] = Path("runs"),
    force: Force = False,
) -> None:
    """Predict the classes in your own images.

    Writes NAME-mask.png (colours, and as values the labels), NAME-overlay.png, both of the image's own size, and
    legend.png with the names of the classes.
    """
    folder, run = find_step(checkpoint, step, out)
    targets = _targets(images, output, force)
    from issbench.bench.engine.environment import choose_device
    from issbench.bench.engine.predict import load_predictor, read_photo
    from issbench.outputs import write_output
    from issbench.results.figures import save_figure
    from issbench.results.figures.images import legend_figure
    from issbench.text import one_line

    for path in targets:  # one that cannot be read is told before the first is predicted
        read_photo(path)
    predictor = load_predictor(folder, choose_device(device))
    table, names = _labels(predictor, run)
    _make(output)
    for path, stem in targets.items():
        image = read_photo(path)
        labels = table[predictor.predict(image)]
        for kind, picture in {"mask": mask(labels), "overlay": overlay(image, labels)}.items():
            write_output(output / f"{stem}-{kind}.png", _png(picture), force)
        typer.echo(one_line(f"{path}: {_found(labels, names)}"))
    save_figure(legend_figure(names), output / "legend.png", force)
    typer.echo(one_line(f"wrote masks, overlays and legend.png to {output}"))


def find_step(checkpoint: str, step: int | None, out: Path) -> tuple[Path, Run | None]:
    """The folder of a finished step, and a run that it belongs to (None where the store has no such run)."""
    from issbench.results.runs import RecordError, load_run

    path = Path(checkpoint)
    if (path / "identity.json").is_file():
        if step is not None:
            raise RecordError(f"{path} is a step itself; leave --step out, or name a run")
        return path, _run_with(path)
    if (path / "run.json").is_file():
        run = load_run(path.resolve().parent.parent, path.resolve().name)
    elif path.is_dir():
        raise RecordError(f"{path} is neither a step (steps/KEY) nor a run (runs/RUN) of a run store")
    elif not (out / "runs").is_dir():
        raise RecordError(f"no checkpoint {checkpoint}: there is no such folder, nor a run store {out} (see --out)")
    else:
        run = load_run(out, checkpoint)
    if run.imported:
        raise RecordError(f"{run.name} was imported: it has no network")
    keys = {each["step"]: each["key"] for each in run.record["steps"]}
    wanted = run.last["step"] if step is None else step
    if wanted not in keys:
        raise RecordError(f"{run.name} has no step {wanted}; it has {', '.join(map(str, keys))}")
    return run.store / "steps" / str(keys[wanted]), run


def _run_with(folder: Path) -> Run | None:
    """A run of the same store that holds this step, for the names of its classes."""
    from issbench.results.runs import load_runs

    folder = folder.resolve()
    store, key = folder.parent.parent, folder.name
    runs = load_runs(store) if (store / "runs").is_dir() else []
    return next((run for run in runs if any(each.get("key") == key for each in run.record["steps"])), None)


def _targets(images: list[Path], output: Path, force: bool) -> dict[Path, str]:
    """The beginning of the output's name for each image. FigureError where two would write the same file, or masks
    would lie among images; UsageError where a file is there that bench did not write."""
    from issbench.outputs import refuse_foreign
    from issbench.results.figures import FigureError

    stems: dict[str, Path] = {}
    for path in images:
        if path.stem in stems:
            raise FigureError(
                f"{stems[path.stem]} and {path} would both write {output / path.stem}-mask.png; predict them "
                "apart, each with its own --output"
            )
        if path.parent.resolve() == output.resolve():
            raise FigureError(
                f"--output {output} is the folder of {path}, where masks would look like images; choose another"
            )
        stems[path.stem] = path
    written = [output / f"{stem}-{kind}.png" for stem in stems for kind in ("mask", "overlay")]
    refuse_foreign([*written, output / "legend.png"], force)
    return {path: stem for stem, path in stems.items()}


def _labels(predictor: Predictor, run: Run | None) -> tuple[np.ndarray, dict[int, str]]:
    """From channels to the dataset's labels, and the names of the labels that this network knows."""
    from issbench.bench.engine.pictures import channel_labels
    from issbench.scenarios.datasets import dataset_class

    count = predictor.num_channels
    if run is None:
        names = ["background", *(f"class {channel}" for channel in range(1, count))]
        typer.echo("no run of this store holds the step: its classes are numbered as they were learned", err=True)
        table = channel_labels(names, ())
    else:
        names = run.record["class_names"][:count]
        dataset = dataset_class(run.experiment["dataset"])
        table = channel_labels(names, getattr(dataset, "classes", ()))
    return table, {int(table[channel]): name for channel, name in enumerate(names)}


def _make(folder: Path) -> None:
    from issbench.results.figures import FigureError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FigureError(f"--output {folder} cannot be made ({error.strerror}); choose another place") from None


def _png(picture: Image.Image) -> bytes:
    import io

    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def mask(labels: np.ndarray) -> Image.Image:
    """Labels [H, W] as a palette image: its values are the labels, its colours VOC's."""
    from PIL import Image

    from issbench.results.figures.palette import class_colours

    image = Image.fromarray(labels)
    image.putpalette(class_colours().tobytes())  # makes it mode P
    return image


def overlay(image: Image.Image, labels: np.ndarray) -> Image.Image:
    """The image with its classes' colours over it, but for the background."""
    import numpy as np
    from PIL import Image

    from issbench.results.figures.palette import coloured

    pixels = np.asarray(image, float)
    share = np.where(labels == 0, 0.0, _OVERLAY)[..., None]
    return Image.fromarray(np.round((1 - share) * pixels + share * coloured(labels)).astype(np.uint8))


def _found(labels: np.ndarray, names: dict[int, str]) -> str:
    """The classes of an image with their shares, the largest first."""
    import numpy as np

    found, counts = np.unique(labels, return_counts=True)
    pairs = sorted(zip(counts.tolist(), found.tolist(), strict=True), reverse=True)
    return ", ".join(f"{names.get(label, label)} {count / labels.size:.1%}" for count, label in pairs)
