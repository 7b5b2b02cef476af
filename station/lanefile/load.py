"""Reading a lane file: the tables, then each driver's own options, then what must fit together."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drivers.api import DriverSpec
from drivers.geometry import LaneGeometry
from station.lanefile import credentials, fit
from station.lanefile.models import (
    Consumer,
    Document,
    FittedDevice,
    Issuer,
    LaneTable,
    Radiation,
    Simulation,
    Ui,
)
from station.lanefile.problems import LaneFileError, Problem, UnknownName, nearest, shown, translate

LARGEST_BYTES = 1 << 20

FindDriver = Callable[[str], DriverSpec]
"""Returns the driver of that name, or raises ``LookupError`` with a sentence."""


@dataclass(frozen=True, slots=True)
class LaneFile:
    """A lane file that has passed every check.

    ``content`` are the bytes as read and ``sha256`` their hash (hex), which every event of an inspection
    carries. ``warnings`` are for the person who starts the lane; they stop nothing.
    """

    path: Path
    content: bytes
    sha256: str
    lane: LaneTable
    consumers: tuple[Consumer, ...]
    issuers: tuple[Issuer, ...]
    geometry: LaneGeometry
    simulation: Simulation
    radiation: Radiation
    ui: Ui
    devices: tuple[FittedDevice, ...]
    warnings: tuple[Problem, ...]

    @property
    def simulated(self) -> bool:
        """Whether any device is not real: then every inspection is marked as simulated."""
        return any(device.mode != "real" for device in self.devices)


def load_lane(path: Path, find: FindDriver) -> LaneFile:
    """Read and check a lane file; ``find`` knows the installed drivers.

    Raises ``LaneFileError`` with every problem that was found.
    """
    content = _read(path)
    raw = _parse(path, content)
    problems: list[Problem] = []
    document: Document | None = None
    told = dict(raw)
    if isinstance(raw.get("lane"), dict):
        told["lane"], problems = credentials.resolve(raw["lane"], LaneTable, "lane")
        if problems:  # a secret that was not found is none of which to say more
            told["lane"].pop("port_salt", None)
    try:
        document = Document.model_validate_json(_json(told))
    except ValidationError as error:
        problems += translate(error, Document, raw)
    devices: list[FittedDevice] = []
    for table in _device_tables(raw):
        found, wrong = _fit_device(table, find)
        problems += wrong
        devices += [found] if found else []
    if document is None or problems:
        raise LaneFileError(path, problems)
    if wrong := list(fit.problems(document, devices)):
        raise LaneFileError(path, wrong)
    return LaneFile(
        path=path,
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        lane=document.lane,
        consumers=document.consumer,
        issuers=document.issuer,
        geometry=document.geometry,
        simulation=document.simulation,
        radiation=document.radiation,
        ui=document.ui,
        devices=tuple(devices),
        warnings=tuple(fit.warnings(devices)),
    )


# --- the file -------------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        rule = f"cannot be read ({reason}); give the path of a lane file"
        raise LaneFileError(path, [Problem("", None, rule, _nearest_lane(path))]) from error
    if len(content) > LARGEST_BYTES:
        rule = f"is larger than {LARGEST_BYTES:,} bytes; a lane file has a few thousand"
        raise LaneFileError(path, [Problem("", None, rule)])
    return content


def _nearest_lane(path: Path) -> str | None:
    """Return the lane file beside ``path`` that was probably meant; other TOML files do not count."""
    try:
        beside = [each for each in path.parent.glob("*.toml") if each.is_file()]
        stems = [each.stem for each in beside if re.search(rb"(?m)^\[lane\]", each.read_bytes())]
    except OSError:
        return None
    close = nearest(path.stem, stems)
    return f"{close}.toml" if close else None


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))  # some editors of Windows begin a file with a mark
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        rule = f"is not UTF-8 text from line {line} on; save it as UTF-8"
        raise LaneFileError(path, [Problem("", None, rule)]) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        rule = f"is not TOML: {error}"
        raise LaneFileError(path, [Problem("", None, rule)]) from error


def _json(table: Mapping[str, Any]) -> str:
    """Write a TOML table as JSON: pydantic is strict about JSON without refusing a list for a tuple."""
    return json.dumps(table, default=str)


# --- one device -----------------------------------------------------------------------------------


def _device_tables(raw: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the [[device]] tables that are sound enough to look for their driver."""
    tables = raw.get("device")
    for table in tables if isinstance(tables, list) else []:
        named = isinstance(table, dict) and all(isinstance(table.get(key), str) for key in ("name", "driver"))
        if named and isinstance(table.get("options", {}), dict):
            yield table


def _fit_device(table: Mapping[str, Any], find: FindDriver) -> tuple[FittedDevice | None, list[Problem]]:
    name, driver = table["name"], table["driver"]
    place = f"device.{name}"
    try:
        spec = find(driver)
    except LookupError as error:
        close = error.nearest if isinstance(error, UnknownName) else None
        rule = error.rule if isinstance(error, UnknownName) else str(error)
        return None, [Problem(f"{place}.driver", shown(driver), rule, close)]
    written = table.get("options", {})
    options, wrong = credentials.resolve(written, spec.options, f"{place}.options")
    mode = table.get("mode")
    wrong += fit.address_problems(written, spec, mode, place)
    try:
        checked = spec.options.model_validate_json(_json(options))
    except ValidationError as error:
        wrong += translate(error, spec.options, written, f"{place}.options")
    else:
        wrong += fit.map_problems(spec.role, checked, place)
    if wrong or mode not in ("real", "emulated"):
        return None, wrong
    return FittedDevice(name, spec, mode, checked, table.get("stale_after_s")), []
