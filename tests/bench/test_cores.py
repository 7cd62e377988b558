"""The cores that a process may use are not those of the machine."""

from __future__ import annotations

import os

import pytest

from issbench.bench import cores as module
from issbench.bench.cores import cores


@pytest.fixture
def quota(tmp_path, monkeypatch):
    """Eight cores by affinity, and what a control group's `cpu.max` says (nothing: there is none)."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {*range(8)}, raising=False)
    monkeypatch.setattr(module, "_QUOTA", tmp_path / "cpu.max")
    return (tmp_path / "cpu.max").write_text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("20000 100000\n", 1),
        ("6400000 100000\n", 8),
        ("", 8),
        ("100000 0\n", 8),
        ("nonsense\n", 8),
    ],
)
def test_a_quota_counts_where_it_is_less_than_the_affinity(quota, text, number):
    quota(text)
    assert cores() == number


def test_without_a_control_group_affinity_counts(quota):
    assert cores() == 8


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a system without affinity")
def test_affinity_is_this_process_own(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_QUOTA", tmp_path / "cpu.max")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cores() == len(before)
