"""`bench import`: results of other code bases beside ours."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from issbench.bench.commands.support.printing import print_tables

if TYPE_CHECKING:
    from issbench.results.importing import Layout
    from issbench.scenarios.datasets.base import Dataset
    from issbench.scenarios.protocol import Protocol


def import_results(
    format: Annotated[
        Literal["plop"], typer.Argument(help="plop: the CSV per step and class that PLOP and RCIL write.")
    ],
    file: Annotated[Path, typer.Argument(help="The file with the results.")],
    method: Annotated[str, typer.Option(help="The method's name in tables; it is marked as imported.")],
    scenario: Annotated[str, typer.Option(help="DATASET_BASE-INC, such as voc_10-1.")],
    setting: Annotated[str, typer.Option(help="overlapped, disjoint or domain; the file does not say.")],
    order: Annotated[str, typer.Option(help="Class order, as for `bench run`.")] = "natural",
    seed: Annotated[int, typer.Option(min=0, help="Its number among several runs of one method.")] = 0,
    protocol: Annotated[
        str | None,
        typer.Option(help="Evaluation protocol of the numbers.  [default: the format's own: plop, or released]"),
    ] = None,
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """Make a run of the results of another code base, and print its table."""
    from issbench.results.importing import imported_record, read_plop, save_imported, source_of
    from issbench.results.runs import RecordError, load_run
    from issbench.scenarios.protocol import get_protocol
    from issbench.scenarios.scenario import check_setting, parse_name

    if not re.fullmatch(r"[\w.*+-]+", method):
        raise RecordError(f"--method {method!r}: give a name of letters, digits and . * + - _, such as RCIL")
    check_setting(setting)
    # The released code's domains come with its own 80/20 split of the images.
    found = get_protocol(protocol or ("released" if setting == "domain" else "plop"), setting)
    layout = _layout(scenario, setting, order, found)
    experiment: dict[str, Any] = {
        "method": f"{method.lower()}-imported",
        "scenario": scenario,
        "setting": setting,
        "order": order,
        "classes": [],
        "seed": seed,
        "protocol": dataclasses.asdict(found),
        "recipe": None,
        "data": None,
        "dataset": parse_name(scenario)[0],
    }
    steps = read_plop(file, layout.channels_per_step)
    record = imported_record(
        steps, layout, experiment, f"{method} (imported)", found.summary(), source_of(file, format)
    )
    folder = save_imported(out, record)
    typer.echo(f"imported {len(steps)} steps of {file.name} as {folder}")
    print_tables([load_run(out, folder.name)], "terminal")


def _layout(scenario: str, setting: str, order: str, protocol: Protocol) -> Layout:
    """The scenario's steps, classes and groups; none of it needs the dataset's files."""
    from issbench.results.importing import Layout
    from issbench.scenarios.groups import channel_names, class_groups
    from issbench.scenarios.scenario import make_scenario, parse_name

    dataset = _without_files(parse_name(scenario)[0])
    found = make_scenario(scenario, dataset, setting, order)
    names = channel_names(found, dataset)
    sizes = [len(step) for step in found.steps]
    channels = [1 + sum(sizes[: t + 1]) for t in range(len(sizes))]
    return Layout(
        classes_per_step=tuple(sizes),
        channels_per_step=(len(names),) * len(sizes) if setting == "domain" else tuple(channels),
        class_names=names,
        group_spans=class_groups(found, dataset, protocol),
        absent_is_zero=protocol.absent == "zero",
    )


def _without_files(name: str) -> Dataset:
    """A dataset that knows its classes and domains, and lists no image."""
    from issbench.results.runs import RecordError
    from issbench.scenarios.datasets import dataset_class

    found = dataset_class(name)
    if not getattr(found, "classes", ()):
        raise RecordError(f"dataset {name} has the classes of its files; results on it cannot be imported")
    return object.__new__(found)
