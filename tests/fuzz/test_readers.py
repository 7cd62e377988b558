"""Every reader understands an altered input, or refuses it with a message. `python tests/fuzz` tries for longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import READERS, attempt

EDITS = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8) | st.sampled_from([b"\n", b"\0", b"NaN", b"\xff"])
    ),
    max_size=6,
)


@pytest.mark.parametrize("name", READERS)
def test_sound_inputs(name: str, tmp_path: Path) -> None:
    READERS[name].prepare(tmp_path)
    for content in READERS[name].seeds:
        attempt(READERS[name], tmp_path, content)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
@given(choice=st.integers(0, 99), edits=EDITS, length=st.none() | st.floats(0, 1))
def test_altered_inputs(
    name: str, choice: int, edits: list[tuple[float, int, bytes]], length: float | None, tmp_path_factory
) -> None:
    reader = READERS[name]
    folder = tmp_path_factory.mktemp("altered")
    reader.prepare(folder)
    content = reader.seeds[choice % len(reader.seeds)]
    for place, removed, by in edits:
        at = round(place * len(content))
        content = content[:at] + by + content[at + removed :]
    if length is not None:
        content = content[: round(length * len(content))]
    attempt(reader, folder, content)
