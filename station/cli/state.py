"""Where a station keeps what it records, for every command that is given no ``--state``."""

from __future__ import annotations

from pathlib import Path

from station.lanefile import shipped

LOCAL = Path(".state")
"""What ``make run`` uses."""


def state_home(lane_id: str) -> Path:
    """Return the folder of a lane that was started without ``--state``."""
    from platformdirs import user_state_path

    return user_state_path("carril") / lane_id


def likely_state() -> Path:
    """Return the folder that is meant by nothing: that of ``make run`` here, else of the shipped lane."""
    if LOCAL.is_dir():
        return LOCAL
    import tomllib

    lane = tomllib.loads(shipped("lanes", "demo").read_text(encoding="utf-8"))["lane"]
    return state_home(str(lane["id"]))
