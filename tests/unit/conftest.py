"""What unit tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.lane_files import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> Path:
        path = tmp_path / "lane.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write
