"""`bench speed`: floor and step of a method are what they claim; how long they take is not tested."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from statistics import median

import pytest
import torch
from commands import bench
from torch import Tensor, nn
from typer.testing import CliRunner

from issbench.bench.commands.app import app
from issbench.bench.engine.speed import (
    Operation,
    Pair,
    Speed,
    Workload,
    _held,
    _peak,
    make_batch,
    measure,
    resolve,
    set_up,
)
from issbench.bench.recipe import Recipe
from issbench.methods.method import IGNORE, Batch, Method, NoOptions

SMALL = ["--backbone", "tiny", "--crop", "64", "--batch", "2", "--device", "cpu"]


@pytest.fixture
def workload() -> Workload:
    recipe = Recipe(backbone="tiny", weights="none", crop=64, batch=2)
    return Workload(recipe=recipe, classes=9, new=3, device=torch.device("cpu"))


class Counting(Method):
    """Counts its own calls, learns a parameter of its own, and needs what the hooks before training gave it."""

    name = "counting"
    uses_stages = True

    def __init__(self, options, step):
        super().__init__(options, step)
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("seen", torch.zeros(()))
        self.calls: list[str] = []

    def begin(self, network, batches, previous):
        assert not torch.is_grad_enabled()
        for batch in batches():
            assert len(batch.teacher.stages) == 4
            with pytest.raises(RuntimeError, match="no output of the student"):
                _ = batch.student
        self.seen = previous["seen"]
        network.eval()

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        self.calls.append("terms")
        return {"extra": self.scale * (batch.student.stages[0] - batch.teacher.stages[0]).square().mean()}

    def after_backward(self, network):
        self.calls.append("after_backward")

    def after_first_step(self, network, batches):
        assert self.step.index == 0 and not network.training
        for batch in batches():
            known = batch.labels[batch.labels != IGNORE]
            with pytest.raises(RuntimeError, match="no output of the teacher"):
                _ = batch.teacher
            assert 0 < known.max() < batch.student.logits.shape[1]
            batch.student.logits.sum().backward()
            self.seen += 1


class Widening(Method):
    """Gives the student's ASPP a second branch, as methods that change the architecture do."""

    name = "widening"

    def prepare(self, network):
        network.aspp.project = TwoBranches(network.aspp.project)


class TwoBranches(nn.Module):
    def __init__(self, old: nn.Module):
        super().__init__()
        self.old, self.new = old, nn.Conv2d(old[0].in_channels, old[0].out_channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.old(maps) + self.new(maps)


def same_networks(pair: Pair) -> bool:
    floor, step = pair.floor, pair.step
    return all(getattr(floor, part) is getattr(step, part) for part in ("student", "teacher", "optimizer"))


def test_floor_has_the_model_but_not_the_loss_of_the_method(workload):
    pair = set_up(Counting, NoOptions(), workload)
    method = pair.step.method
    assert same_networks(pair) and pair.floor.student.training and not pair.floor.teacher.training
    assert method.seen == 2
    before = [parameter.detach().clone() for parameter in pair.floor.student.parameters()]
    assert set(pair.iterate(pair.floor)) == {"classification"}
    assert method.calls == [] and method.scale.grad is None
    assert set(pair.iterate(pair.step)) == {"classification", "extra"}
    assert method.calls == ["terms", "after_backward"] and method.scale.grad is not None
    assert len(pair.step.optimizer.state) == len(before) + 1
    for old, new in zip(before, pair.step.student.parameters(), strict=True):
        torch.testing.assert_close(old, new.detach(), rtol=0, atol=1e-6)


def test_floor_sees_stages_only_where_the_method_does_and_a_teacher_only_where_it_has_one(workload):
    pair = set_up(Counting, NoOptions(), workload)
    asked = []
    pair.floor.teacher.register_forward_pre_hook(lambda module, inputs: asked.append(inputs[1]))
    pair.iterate(pair.floor)
    pair.iterate(pair.step)
    assert asked == [False, True]
    for name in ("ft", "joint"):
        assert set_up(*resolve(name), workload).floor.teacher is None


def test_changed_architecture_is_in_both(workload):
    pair = set_up(Widening, NoOptions(), workload)
    assert same_networks(pair)
    branch = pair.floor.student.aspp.project.new
    assert not any("project.new" in name for name in pair.floor.plain_tensor_names)
    for training in (pair.floor, pair.step):
        branch.zero_grad()
        pair.iterate(training)
        assert branch.weight.grad is not None and branch.weight in training.optimizer.state


def test_floor_is_fine_tuning(workload):
    losses = []
    for _ in range(2):
        pair = set_up(*resolve("ft"), workload)
        losses.append([pair.iterate(each)["classification"].item() for each in (pair.floor, pair.step)])
    assert losses[0] == losses[1]
    assert losses[0][0] == pytest.approx(losses[0][1], abs=1e-5)


def test_batch(workload):
    images, labels = make_batch(workload, 1)
    assert images.shape == (2, 3, 64, 64) and labels.shape == (2, 64, 64) and labels.dtype == torch.int64
    assert set(labels.unique().tolist()) == {0, 6, 7, 8, IGNORE}
    assert (labels.view(2, 8, 8, 8, 8) == labels[:, ::8, ::8].view(2, 8, 1, 8, 1)).all()
    assert torch.equal(images, make_batch(workload, 1)[0])
    assert set(make_batch(workload, 0)[1].unique().tolist()) <= {0, 1, 2, 3, 4, 5, IGNORE}


def test_measurement_is_consistent(workload):
    row = measure("counting", Counting, NoOptions(), workload, rounds=3, with_operations=True)
    assert len(row.floor) == len(row.step) == len(row.ratios) == 3
    assert all(seconds > 0 for seconds in (*row.floor, *row.step))
    assert min(row.ratios) <= row.quartiles[0] <= row.ratio <= row.quartiles[1] <= max(row.ratios)
    assert row.images_per_second == pytest.approx(2 / median(row.step))
    assert row.memory[0] < row.memory[1]
    extra = [operation.step - operation.floor for operation in row.operations]
    assert extra == sorted(extra, reverse=True)
    names = {operation.name for operation in row.operations if operation.floor and operation.step}
    assert any("convolution_backward" in name for name in names)


def test_ratio_compares_times_of_the_same_round():
    row = Speed("mine", 4, (1.0, 2.0, 4.0), (1.5, 3.0, 6.0), (None, None), (Operation("add", 0.0, 1.0),))
    assert row.ratio == 1.5 and row.quartiles == (1.5, 1.5)
    assert row.images_per_second == 4 / 3.0


def test_memory_on_the_cpu(workload):
    class Hungry(Method):
        def terms(self, batch, targets):
            return {"zeros": torch.zeros(50_000_000).sum()}  # 200 MB, more than all else

    pair = set_up(Hungry, NoOptions(), workload)
    for training in (pair.floor, pair.step):
        pair.iterate(training)
    weights = sum(p.numel() * 4 for p in pair.step.student.parameters())
    assert _held(pair) > 3 * weights - 100_000  # student, momentum, teacher (which lacks the new classes)
    floor, step = _peak(pair, pair.floor), _peak(pair, pair.step)
    assert _held(pair) + weights < floor < step  # the gradients come on top
    assert 2e8 < step < 2e8 + floor


def test_command_as_csv():
    arguments = ["speed", "--methods", "ft,gsc:sr=off,sc=off,plop", *SMALL, "--rounds", "2", "--format", "csv"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["method"] for row in rows] == ["ft", "gsc:sr=off,sc=off", "plop"]
    for row in rows:
        assert row["table"].startswith("tiny, crop 64, batch 2, 21 classes (5 new), cpu, fp32")
        assert float(row["25 %"]) <= float(row["ratio"]) <= float(row["75 %"])
        assert float(row["img/s"]) == pytest.approx(2000 / float(row["step ms"]), rel=0.01)
        assert float(row["step MiB"]) > float(row["floor MiB"]) * 0.9 > 0


def test_profile_lists_operations():
    arguments = ["speed", "--methods", "plop", *SMALL, "--rounds", "1", "--profile", "--format", "markdown"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    table = result.stdout.partition("plop: time beyond the floor")[2]
    assert "aten::" in table and "all operations" in table
    assert "Rounds: plop 1." in result.stdout
    assert sum(line.startswith("| ") for line in table.splitlines()) == 1 + 12 + 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "plob"], ["plob", "did you mean plop"]),
        (["--methods", "ft,gsc:lamda1=1"], ["lamda1", "did you mean lambda1"]),
        (["--methods", ","], ["names no method"]),
        (["--classes", "5"], ["--classes 5 --new 5", "no old class"]),
        (["--batch", "1"], ["batch=1"]),
        (["--methods", "ft", "--backbone", "resnet5o"], ["resnet5o", "did you mean"]),
        (["--methods", "ft", "--device", "gpu"], ["gpu"]),
        (["--methods", "ft", "--set", "output_strid=8"], ["output_strid", "did you mean output_stride"]),
        (["--methods", "ft", "--set", "crop=64"], ["--set crop is given twice"]),
    ],
)
def test_wrong_command(arguments, words):
    message = bench("speed", *arguments, code=2)
    for word in words:
        assert word in message


def test_help_and_wrong_names_need_no_torch():
    for arguments in (["speed", "--help"], ["speed", "--methods", "plob"]):
        code = (
            f"import sys; sys.argv = ['bench', *{arguments!r}]\nfrom issbench.bench.commands.app import app\n"
            "try: app(standalone_mode=False)\nexcept ValueError: pass\nsys.exit('torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_all_methods_by_default():
    from issbench.bench.commands.speed import _specs_and_recipe
    from issbench.bench.commands.support.speed_options import SpeedOptions
    from issbench.methods.interface.registry import available, load_method

    specs, _ = _specs_and_recipe(SpeedOptions())
    assert {"ft", "mib", "plop", "gsc", "joint"} <= set(specs)
    assert set(available()) - set(specs) == {name for name, info in available().items() if info.part}
    for spec in specs:
        assert issubclass(load_method(spec), Method)
