"""Profiles: TOML and command line, and what a wrong key or value says."""

import pytest
from typer.testing import CliRunner

from issbench.bench.commands.app import app
from issbench.bench.launching.profile import Profile, make_profile, minutes, profile_of
from issbench.errors import UsageError

TOML = """
partition = "gpu"
gpus = 4
max-parallel = 16
mem = "64G"
setup = ["module load cuda", "source env.sh"]
extra = { licenses = "data" }
"""


@pytest.fixture
def cluster(tmp_path):
    path = tmp_path / "cluster.toml"
    path.write_text(TOML)
    return path


def test_the_command_line_stands_over_the_file(cluster):
    profile = make_profile(cluster, {"gpus": 2, "qos": "long", "partition": None, "setup": ["echo"]})
    assert profile == Profile(
        partition="gpu", gpus=2, max_parallel=16, mem="64G", qos="long", setup=("echo",),
        extra={"licenses": "data"},
    )  # fmt: skip


def test_a_profile_is_read_back_from_its_description(cluster):
    profile = make_profile(cluster, {})
    assert profile_of(profile.describe()) == profile


@pytest.mark.parametrize(
    ("text", "whole"),
    [("8h", 480), ("1d12h", 2160), ("90m", 90), ("90", 90), ("00:30:00", 30), ("1-00:00:01", 1441), ("61s", 2)],
)
def test_times(text, whole):
    assert minutes(text) == whole


@pytest.mark.parametrize("text", ["", "0", "soon", "8 hours", "1:2", "-5", "h"])
def test_what_is_not_a_time_is_refused(text):
    with pytest.raises(UsageError, match="write 8h, 1d12h"):
        minutes(text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("partitoin = 'gpu'", "unknown key 'partitoin'; did you mean partition?"),
        ("colour = 1", "it may hold partition, gpus"),
        ("gpus = 'two'", "gpus = 'two': it takes a whole number"),
        ("setup = [1]", "it takes a list of texts"),
        ("extra = 1", "it takes a table"),
        ("gpus = -1", "--gpus -1: it must be at least 0"),
        ("nodes = 0", "--nodes 0: it must be at least 1"),
        ("time = '1m'", "longer than the grace time, 120 seconds"),
        ("gpus =", "is not a valid TOML file"),
    ],
)
def test_a_wrong_profile_is_refused(tmp_path, line, words):
    path = tmp_path / "c.toml"
    path.write_text(line)
    with pytest.raises(UsageError) as told:
        make_profile(path, {})
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--partition", "gpu"], "--partition is for a cluster; add --slurm"),
        (["--gpus", "0"], "--gpus is for a cluster; add --slurm"),
        (["--slurm", "--local"], "two launchers, slurm and local, are asked for; give one of them"),
        (["--slurm", "--jobs", "2"], "--jobs is for processes on this machine"),
        (["--local", "--device", "cuda:1"], "choose which with CUDA_VISIBLE_DEVICES"),
        (["--slurm", "--time", "soon"], "--time soon: write 8h"),
        (["--slurm-profile", "nowhere.toml"], "nowhere.toml cannot be read"),
        (["--launcher", "slrum"], "unknown launcher 'slrum'; did you mean slurm?"),
        (["--launcher", "local", "--slurm"], "two launchers, slurm and local, are asked for"),
    ],
)
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_options_that_do_not_belong_together(command, arguments, words):
    asked = [command, "--methods", "ft", "--scenario", "shapes_4-1", *arguments]
    error = CliRunner().invoke(app, asked).exception
    assert getattr(error, "exit_code", None) == 2, error
    assert words in str(error)


def test_a_machine_without_slurm_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = ["run", "--methods", "ft", "--scenario", "shapes_4-1", "--slurm"]
    error = CliRunner().invoke(app, asked).exception
    assert getattr(error, "exit_code", None) == 1, error
    assert "this machine has no sbatch; submit from a login node of the cluster, or use --local" in str(error)
