"""Memory: a training that cannot fit is refused before it starts, and nothing finished takes any."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import bench
from small_folder import RECIPE, small_folder

from issbench import Experiment, run
from issbench.bench import free_memory
from issbench.bench.engine import memory, network
from issbench.bench.engine.environment import arithmetic, peak_memory, reset_peak_memory
from issbench.bench.engine.speed import Workload, measure, resolve
from issbench.bench.engine.trial import try_step
from issbench.bench.recipe import Recipe
from issbench.errors import RunError
from issbench.methods.method import Method, NoOptions, Step
from issbench.methods.plop import PLOP, PLOPOptions

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("memory") / "data")


def words(data: Path, out: Path, methods: str = "ft", **settings: object) -> list[object]:
    chosen = [word for key, value in (RECIPE | settings).items() for word in ("--set", f"{key}={value}")]
    return ["run", "--methods", methods, "--scenario", "folder_2-1", "--data", data, "--out", out, *chosen]


# Before anything trains


@pytest.mark.parametrize("settings", [{"batch": 10**9}, {"crop": 10**6}, {"crop": 10**9}])
def test_what_cannot_fit_is_refused_before_it_is_allocated(
    settings: dict[str, int], data: Path, tmp_path: Path
) -> None:
    told = bench(*words(data, tmp_path / "out", "gsc", **settings), "--workers", "0", "--device", "cpu", code=1)
    assert "--set crop=…" in told and "Traceback" not in told
    if settings != {"crop": 10**9}:  # of that not even the need can be told
        assert "gsc folder_2-1" in told and "needs at least" in told and "are available" in told
        assert "--set batch=…" in told and "--workers" in told
    assert not list((tmp_path / "out").glob("steps/*"))


def test_the_same_of_speed() -> None:
    told = bench("speed", "--methods", "ft", "--backbone", "tiny", "--crop", "2048", "--batch", "4096", code=1)
    assert "needs at least" in told and told.strip().endswith(
        "lower --batch or --crop, or take a smaller --backbone"
    )


def test_images_read_ahead_count(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch of 1000 of them 16 wait in the queues of 8 workers, unless the training is shorter."""
    need, recipe = memory.Need(0, 0), Recipe(batch=1000, crop=100)
    one = 1000 * 100 * 100 * 4
    memory.check_memory(need, recipe, 8, 100, 16 * one, "x")
    memory.check_memory(need, recipe, 8, 3, 3 * one, "x")
    with pytest.raises(RunError, match="--workers"):
        memory.check_memory(need, recipe, 8, 100, 16 * one - 1, "x")


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux measures anew")
def test_the_estimate_is_a_lower_bound_within_a_factor_of_two() -> None:
    from issbench.bench.engine.assemble import assemble, make_network
    from issbench.bench.engine.update import update

    recipe = Recipe(backbone="resnet18", weights="none", crop=128, batch=8, precision="fp32")
    need = try_step(Step(1, (15, 5)), PLOP, PLOPOptions(), recipe, True)
    estimate = need.fixed + recipe.batch * need.image
    images, labels = torch.randn(8, 3, 128, 128), torch.randint(21, (8, 128, 128))
    gc.collect()
    reset_peak_memory(CPU)
    before = resident()
    old = make_network(recipe, (16,), "none").state_dict()
    training = assemble(Step(1, (15, 5)), PLOP, PLOPOptions(), recipe, old, CPU)
    training.student.train()
    for _ in range(2):
        update(training, images, labels)
    measured = (peak_memory(CPU) or 0) - before
    assert estimate < measured + 50e6 and measured < 2 * estimate


def test_the_estimate_is_below_what_the_tensors_take() -> None:
    """As `bench speed` measures them, without what the process itself takes."""
    recipe = Recipe(backbone="tiny", weights="none", crop=64, batch=4)
    workload = Workload(recipe=recipe, classes=9, new=3, device=CPU)
    chosen, options = resolve("plop")
    need = try_step(workload.place(1), chosen, options, workload.step_recipe, True)
    estimate = need.fixed + recipe.batch * need.image
    _, measured = measure("plop", chosen, options, workload, rounds=1).memory
    assert measured is not None and estimate <= measured < 2 * estimate


def test_the_estimate_grows_with_what_is_kept() -> None:
    recipe = Recipe(backbone="tiny", weights="none", crop=64, batch=4)
    need = try_step(Step(1, (2, 1)), Method, NoOptions(), recipe, True)
    wide = Recipe(backbone="tiny", weights="none", crop=128, batch=4)
    larger = try_step(Step(1, (2, 1)), Method, NoOptions(), wide, True)
    assert larger.fixed == need.fixed and 3.5 * need.image < larger.image < 4.5 * need.image
    assert try_step(Step(1, (2, 1)), Method, NoOptions(), recipe, False).fixed < 0.8 * need.fixed  # no teacher
    distilled = try_step(Step(1, (2, 1)), PLOP, PLOPOptions(), recipe, True)
    assert distilled.image > need.image


# What is free


def test_the_limits_of_control_groups_count(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/job/1\n3:cpu,cpuacct:/x\n0::/user/me\n")
    first, second = tmp_path / "memory" / "job", tmp_path / "user" / "me"
    for folder, names in (
        (
            first,
            {
                "memory.limit_in_bytes": "5000",
                "memory.usage_in_bytes": "4000",
                "memory.stat": "total_inactive_file 500",
            },
        ),
        (second, {"memory.max": "3000", "memory.current": "3500", "memory.stat": "inactive_file 100\nanon 7"}),
        (second.parent, {"memory.max": "max", "memory.current": "9000", "memory.stat": "inactive_file 1"}),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in names.items():
            (folder / name).write_text(text + "\n")
    assert list(free_memory._left_in_groups(tmp_path, own)) == [1500, 0]
    assert list(free_memory._left_in_groups(tmp_path, tmp_path / "nowhere")) == []


# Measured


@pytest.fixture
def living(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many networks there are, each time one is made; nothing is collected meanwhile."""
    alive: weakref.WeakSet[network.Network] = weakref.WeakSet()
    counts: list[int] = []
    make = network.Network.__init__

    def count(self: network.Network, *args: Any, **named: Any) -> None:
        make(self, *args, **named)
        alive.add(self)
        counts.append(len(alive))

    monkeypatch.setattr(network.Network, "__init__", count)
    gc.collect()
    gc.disable()
    yield counts
    gc.enable()


def test_networks_of_finished_steps_do_not_live_on(data: Path, tmp_path: Path, living: list[int]) -> None:
    """One that looks back at the first step, a student and its teacher: more are never needed."""
    asked = [Experiment(name, "folder_2-1", data=data, recipe=RECIPE) for name in ("rcil", "sdr")]
    run(asked, out=tmp_path / "out", device="cpu", workers=0)
    assert len(living) > 8 and max(living) <= 3


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="elsewhere a process's peak stays for good")
def test_peak_memory_does_not_depend_on_what_ran_before() -> None:
    reset_peak_memory(CPU)
    before = peak_memory(CPU)
    large = torch.ones(300_000_000, dtype=torch.uint8)
    with_it = peak_memory(CPU)
    del large
    reset_peak_memory(CPU)
    after = peak_memory(CPU)
    assert before is not None and with_it is not None and after is not None
    assert with_it > before + 250e6 and after < before + 50e6


@pytest.mark.parametrize("mode", [(False, False), (True, False), (True, True)])
def test_the_settings_of_torch_come_back(mode: tuple[bool, bool]) -> None:
    def now() -> tuple[bool, bool]:
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    before = now()
    try:
        torch.use_deterministic_algorithms(mode[0], warn_only=mode[1])
        with arithmetic(CPU):
            assert now() == (True, False)
        assert now() == mode
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


# Maps and crops that a method or a backbone cannot work on


@pytest.mark.parametrize(
    "methods, settings, words_of_it",
    [
        ("ft,plop", {"crop": 16}, ["local POD", "--set crop=…", "output stride"]),
        ("ft", {"backbone": "convnext_atto", "crop": 3}, ["crops of 3 × 3", "--set crop=8"]),
        ("rcil", {"backbone": "convnext_atto"}, ["RCIL doubles 3×3 convolutions"]),
        ("ft", {"backbone": "swin_tiny_patch4_window7_224"}, ["output stride 8", "--set output_stride=32"]),
    ],
)
def test_a_map_that_does_not_fit_is_told_before_the_first_step(
    methods: str, settings: dict[str, object], words_of_it: list[str], data: Path, tmp_path: Path
) -> None:
    told = bench(*words(data, tmp_path / "out", methods, **settings), "--workers", "0", "--device", "cpu", code=2)
    assert all(each in told for each in words_of_it) and "Traceback" not in told
    assert not list((tmp_path / "out").glob("steps/*"))


def test_a_method_that_looks_at_values_is_not_refused() -> None:
    class Looking(Method):
        name = "looking"

        def terms(self, batch: object, targets: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"most": targets.float() * float(targets.max())}

    recipe = Recipe(backbone="tiny", weights="none", crop=64, batch=4)
    assert try_step(Step(1, (2, 1)), Looking, NoOptions(), recipe, True).image > 0
