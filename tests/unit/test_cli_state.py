"""Without --state every command means the same folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from station.cli.state import likely_state, state_home
from tests.support.station import ROOT


def test_the_folder_of_make_run_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".state").mkdir()
    assert likely_state() == Path(".state")


def test_elsewhere_it_is_the_folder_of_the_shipped_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert 'id = "DEMO-01"' in (ROOT / "config/lanes/demo.toml").read_text()
    assert likely_state() == state_home("DEMO-01")
