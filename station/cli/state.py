"""Where a station keeps what it records: what ``--state`` may name, and what is meant without it."""

from __future__ import annotations

import os.path
from pathlib import Path

from station.cli.errors import UserError
from station.lanefile import shipped

LOCAL = Path(".state")
"""What ``make run`` uses."""
LAST_GOOD = "lane-last-good.toml"
"""In a state folder: the lane file that ran last."""


def state_folder(text: str) -> Path:
    """Return the folder that ``--state`` names, there or not; raises ``UserError`` where a file stands."""
    folder = Path(text)
    for place in (folder, *folder.parents):
        if os.path.exists(place) and not os.path.isdir(place):  # unlike pathlib's, these never raise
            raise UserError(
                f"{folder} cannot be used ({place} is a file); give a folder that may be written with --state"
            )
    return folder


def keep_last_good(state: Path, content: bytes) -> None:
    """Keep the lane file that runs now: whole or not at all, whatever happens meanwhile."""
    from station.store.files import replace_synced

    path = state / LAST_GOOD
    if not path.is_file() or path.read_bytes() != content:
        replace_synced(path, content)


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
