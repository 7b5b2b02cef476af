"""Whatever a lane file holds, the answer is a checked lane or sentences: never another exception."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.geometry import LaneGeometry
from station import plugins
from station.lanefile import LaneFile, LaneFileError, config_folder, load_lane
from station.lanefile.models import Document

DEMO = (config_folder() / "lanes" / "demo.toml").read_text(encoding="utf-8")
LINES = DEMO.splitlines(keepends=True)
VALUES = (
    "1",
    "-1",
    "1e400",
    "nan",
    "true",
    '""',
    '"x"',
    "[]",
    "[1]",
    "{}",
    "{ credential = 1 }",
    "1979-05-27",
)
KEYS = sorted(
    {*Document.model_fields, *LaneGeometry.__dataclass_fields__, "name", "driver", "mode", "options", "port"}
)

edits = st.one_of(
    st.tuples(st.just("drop"), st.integers(0, len(LINES) - 1), st.just("")),
    st.tuples(st.just("value"), st.integers(0, len(LINES) - 1), st.sampled_from(VALUES)),
    st.tuples(
        st.just("insert"),
        st.integers(0, len(LINES) - 1),
        st.builds("{} = {}\n".format, st.sampled_from(KEYS), st.sampled_from(VALUES)),
    ),
    st.tuples(st.just("insert"), st.integers(0, len(LINES) - 1), st.text(max_size=20)),
)


def edited(changes: list[tuple[str, int, str]]) -> str:
    lines = list(LINES)
    for kind, at, text in changes:
        key, equals, _ = lines[at].partition("=")
        replaced = f"{key}= {text}\n" if equals and kind == "value" else ""
        lines[at] = {"drop": "", "value": replaced, "insert": lines[at] + text}[kind]
    return "".join(lines)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lane") / "lane.toml"


def answer(path: Path, content: bytes) -> LaneFile | list[str]:
    path.write_bytes(content)
    try:
        return load_lane(path, plugins.find)
    except LaneFileError as error:
        return [str(problem) for problem in error.problems]


@given(st.lists(edits, min_size=1, max_size=4))
def test_a_damaged_lane_file_is_answered_in_sentences(
    path: Path, changes: list[tuple[str, int, str]]
) -> None:
    text = edited(changes)
    result = answer(path, text.encode("utf-8", "surrogatepass"))
    if isinstance(result, LaneFile):
        assert result.devices
    else:
        assert result
        assert all(sentence and "Traceback" not in sentence for sentence in result)


@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_answered_in_sentences(path: Path, content: bytes) -> None:
    assert isinstance(answer(path, content), list)
