"""The options of `bench speed`. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from issbench.bench.commands.support.options import RecipeSettings

Part = Literal["step", "engine", "loader", "suite", "start"]


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """What is measured, and how long."""

    methods: Annotated[
        str | None,
        typer.Option(help="Methods with options, separated by commas (step, engine).", show_default="all"),
    ] = None
    backbone: Annotated[str, typer.Option(help="A timm model; its weights are random.")] = "resnet50"
    crop: Annotated[
        int | None,
        typer.Option(max=8192, help="Side of the images, in pixels.", show_default="256; loader: 128, 256, 512"),
    ] = None
    batch: Annotated[int, typer.Option(max=4096, help="Images of a batch.")] = 4
    settings: RecipeSettings = None
    classes: Annotated[int, typer.Option(max=4096, help="Classes after the step, with the background.")] = 21
    new: Annotated[int, typer.Option(min=1, help="Classes that the step adds.")] = 5
    data: Annotated[
        Path | None, typer.Option(help="loader: read these images.", show_default="made photographs")
    ] = None
    dataset: Annotated[str, typer.Option(help="loader: what lies in --data.")] = "voc"
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="auto is bf16 on GPUs that have it.")
    ] = "auto"
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the CPU.", show_default="OMP_NUM_THREADS, or 1")
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(min=0, max=1024, help="engine: processes that read images.", show_default="as in run"),
    ] = None
    jobs: Annotated[
        int | None, typer.Option(min=2, max=1024, help="suite: runs at once at most.", show_default="the cores")
    ] = None
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds to measure.", show_default="as many as there is time for")
    ] = None
    seconds: Annotated[
        float | None,
        typer.Option("--for", min=0, help="Seconds for all rows together.", show_default="5 a method, else 60"),
    ] = None
    profile: Annotated[
        bool, typer.Option("--profile", help="step: in which operations the time beyond the floor goes.")
    ] = False

    def of_recipe(self) -> dict[str, object]:
        """What these options say of the recipe."""
        sizes = {"crop": 256 if self.crop is None else self.crop, "batch": self.batch}
        return {"backbone": self.backbone, "weights": "none", **sizes, "precision": self.precision}
