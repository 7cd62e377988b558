"""`bench data`: prepare, check and count a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from issbench.bench.commands.support.once import App
from issbench.bench.commands.support.options import SETTING, Images, names
from issbench.errors import UsageError
from issbench.scenarios.datasets import dataset_names
from issbench.scenarios.protocol import PROTOCOLS
from issbench.text import printable

app = App(help="Prepare, check and count datasets.", no_args_is_help=True)

_ROOT = typer.Option("--root", "--data", help="Directory of the dataset.")
_DATASET = typer.Argument(help=f"{', '.join(dataset_names())}.")


@app.command()
def prepare(
    dataset: Annotated[str, _DATASET],
    root: Annotated[Path, _ROOT],
    download: Annotated[bool, typer.Option("--download", help="Fetch VOC 2012 and SBD first.")] = False,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="folder: your images and labels: masks, COCO's or labelme's JSON files."),
    ] = None,
    colours: Annotated[
        Path | None, typer.Option(help="folder: a class and its colour a line, as in: sky 70,130,180.")
    ] = None,
) -> None:
    """Make what a dataset needs before its first use (VOC: SegmentationClassAug and the list train_aug).

    `bench data prepare folder --from DIR --root NEW` makes a data set of your own images in NEW, and checks it.
    """
    from issbench.scenarios.datasets import dataset_class
    from issbench.scenarios.prepare import how_to_obtain, prepare_voc

    dataset_class(dataset)
    if dataset == "folder" and source is not None:
        _prepare_folder(source, root, colours)
        return
    if source is not None or colours is not None:
        raise UsageError(
            "--from and --colours make a data set of your own images: bench data prepare folder --from DIR"
        )
    if dataset != "voc":
        typer.echo(how_to_obtain(dataset))
        return
    with _bar("masks") as advance:
        made = prepare_voc(root, download, advance)
    typer.echo(f"{made.directory}: {made.train} training and {made.test} test images, {made.written} masks written")
    if made.warning:
        typer.echo(f"warning: {made.warning}", err=True)


def _prepare_folder(source: Path, root: Path, colours: Path | None) -> None:
    """Make a `folder` data set, and check it."""
    from issbench.scenarios.own_images import find, refuse_filled, write_folder

    refuse_filled(root)
    found = find(source, colours)
    typer.echo(printable(f"{source}: {len(found.samples)} images, labelled by {found.layout}"))
    for remark in found.remarks:
        typer.echo(printable(f"note: {remark}"))
    with _bar("masks") as advance:
        write_folder(found, root, advance)
    names = ", ".join(found.classes[1:])
    typer.echo(printable(f"{root}: {found.classes[0]} and {len(found.classes) - 1} classes: {names}"))
    check("folder", root)


@app.command()
def check(dataset: Annotated[str, _DATASET], root: Annotated[Path | None, _ROOT] = None) -> None:
    """Read every image and label, and report every defect; exit code 1 if there is one."""
    from issbench.scenarios.check import check_dataset
    from issbench.scenarios.datasets import load_dataset
    from issbench.scenarios.datasets.base import SPLITS

    loaded = load_dataset(dataset, root)
    with _bar("samples") as advance:
        found = check_dataset(loaded, advance)
    for defect in found.defects:
        typer.echo(printable(defect))
    for remark in found.remarks:
        typer.echo(printable(f"note: {remark}"))
    if found.defects:
        typer.echo(f"{len(found.defects)} defect" + "s" * (len(found.defects) > 1))
        raise typer.Exit(1)
    images = sum(len(loaded.ids(split)) for split in SPLITS)
    typer.echo(f"{dataset}: all {images} samples are sound")


@app.command()
def stats(
    scenario: Annotated[str, typer.Argument(help="A scenario, such as voc_15-1.")],
    root: Annotated[Path | None, _ROOT] = None,
    setting: Annotated[str | None, typer.Option(help=f"{SETTING}.")] = None,
    order: Annotated[str, typer.Option(help="Class order, as for `bench run`.")] = "natural",
    classes: Annotated[str | None, typer.Option(help="Use these classes only.")] = None,
    protocol: Annotated[str | None, typer.Option(help=f"Evaluation protocol: {', '.join(PROTOCOLS)}.")] = None,
    images: Images = "1",
) -> None:
    """Images of each step, and of each class in them, without training anything."""
    from issbench.scenarios.stats import scenario_stats

    with _bar("files") as advance:
        lines = scenario_stats(scenario, root, setting, order, names(classes), protocol, images, advance)
    for line in lines:
        typer.echo(line)


class _bar:
    """A progress bar on standard error; `with _bar("masks") as advance: … advance(done, total)`."""

    def __init__(self, what: str):
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._progress = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(what, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self._progress.start()
        return lambda done, total: self._progress.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
