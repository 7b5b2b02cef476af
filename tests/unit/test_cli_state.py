"""A state folder is a folder, and without --state every command means the same one."""

from __future__ import annotations

from pathlib import Path

import pytest

from station.cli.errors import UserError
from station.cli.state import likely_state, state_folder, state_home
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


def test_a_file_is_no_state_folder_nor_has_it_one_below(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below"):
        with pytest.raises(UserError) as caught:
            state_folder(str(place))
        assert caught.value.exit_code == 2
        assert str(caught.value) == (
            f"{place} cannot be used ({file} is a file); give a folder that may be written with --state"
        )


def test_a_state_folder_may_not_be_there_yet(tmp_path: Path) -> None:
    assert state_folder(str(tmp_path / "new" / "state")) == tmp_path / "new" / "state"
