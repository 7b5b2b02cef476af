"""A right lane file of four drivers that nobody sells, and what is said of a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, SecretStr

from drivers.api import Driver, DriverContext, DriverSpec, Options, Role
from station import plugins
from station.lanefile import (
    LaneFileError,
    UnknownName,
    load_lane,
)


class NetOptions(Options):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 1
    unit_id: int = 1
    panels: Annotated[tuple[str, ...], Field(min_length=1)] = ("A",)
    password: Annotated[SecretStr, Field(max_length=16)] = SecretStr("")


class SerialOptions(Options):
    host: str = "127.0.0.1"
    port: int = 1
    serial_port: str = ""


class FileOptions(Options):
    folder: str = ""


def never(options: Any, context: DriverContext) -> Driver:
    raise AssertionError("a check makes no driver")


SPECS = {
    spec.name: spec
    for spec in (
        DriverSpec("portal_a", Role.PORTAL_MONITOR, NetOptions, never, "x:X"),
        DriverSpec("plates_serial", Role.CAMERA, SerialOptions, never, "x:X"),
        DriverSpec("lines", Role.LINE_SCANNER, NetOptions, never, "x:X"),
        DriverSpec("plates", Role.CAMERA, NetOptions, never, "x:X"),
        DriverSpec("board", Role.DIGITAL_IO, NetOptions, never, "x:X"),
        DriverSpec("text", Role.TEXT_READER, NetOptions, never, "x:X"),
        DriverSpec("plates_folder", Role.CAMERA, FileOptions, never, "x:X"),
    )
}


def find(name: str) -> DriverSpec:
    if name == "broken":
        raise plugins.BadPlugin("its package cannot be imported (broken:SPEC: no module); reinstall it")
    if name not in SPECS:
        raise UnknownName(f"no driver of this name is installed; there are {', '.join(SPECS)}", name, SPECS)
    return SPECS[name]


LANE = """
[lane]
id = "LAR-01"
direction = "in"
time_zone = "America/Chicago"
officer = "DEMO-1"
required = ["rpm", "scanner", "lpr"]
[[consumer]]
name = "central"
[geometry]
entry_loop_m = -2
portal_beams_m = [3.5, 4.5]
portal_m = 4.0
lpr_m = 5.0
scan_plane_m = 8.0
booth_loop_m = 19.0
stop_line_m = 21.0
barrier_m = 22.0
exit_loop_m = 24.0
[[device]]
name = "rpm1"
driver = "portal_a"
mode = "emulated"
[device.options]
panels = ["ML", "MU"]
[[device]]
name = "scanner1"
driver = "lines"
mode = "emulated"
[[device]]
name = "lpr1"
driver = "plates"
mode = "emulated"
[[device]]
name = "io1"
driver = "board"
mode = "emulated"
"""

Write = Callable[[str], Path]


def sentences(path: Path) -> list[str]:
    """Every problem of a lane file."""
    with pytest.raises(LaneFileError) as caught:
        load_lane(path, find)
    assert str(caught.value) == "\n".join(f"{path}: {problem}" for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def changed(*changes: tuple[str, str]) -> str:
    text = LANE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text
