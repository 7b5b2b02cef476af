"""``carril stats``: what a day of the station amounts to, hour by hour."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any
from urllib.parse import urlencode

from station.cli.client import Server, asked, server
from station.cli.errors import UserError
from station.domain.statistics import KINDS

COLUMNS = {
    "occupancies": "occ.",
    "gamma": "γ",
    "neutron": "n",
    "gamma_neutron": "γ+n",
    "faults": "faults",
    "gamma_faults": "γ",
    "neutron_faults": "n",
    "tampers": "tamper",
    "missed": "missed",
    "extended": "long",
}
LACKS = {
    "running": "the day is not over",
    "not_covered": "the station did not run all of it",
    "trimmed": "some of it may have been removed",
}
QUANTILES = {"p50": "median", "p95": "95 %", "most": "most"}
RATES = {
    "alarm_rate": ("alarmed", "occupancies"),
    "real_rate": ("real", "adjudicated alarms"),
    "innocent_rate": ("innocent", "adjudicated alarms"),
    "false_rate": ("false", "adjudicated alarms"),
}


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("stats", help="show what a day of a station amounts to")
    parser.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        type=server,
        default="http://127.0.0.1:8080",
        help="address of the station (%(default)s)",
    )
    parser.add_argument("--day", type=_day, metavar="YYYY-MM-DD", help="which day (UTC); without it today")
    parser.add_argument("--kind", choices=KINDS, default="real", help="what of it (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print what the station answered")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the day; 0 when it is whole, or whole so far, 1 when it is not."""
    wanted = {"kind": arguments.kind} | ({"day": arguments.day} if arguments.day else {})
    day = _asked(arguments.url, f"/v1/stats?{urlencode(wanted)}")
    if arguments.json:
        print(json.dumps(day, indent=1, ensure_ascii=False))
    else:
        for line in lines(day):
            print(line)
    return 1 if set(day["lacks"]) - {"running"} else 0


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: give a day like 2026-11-24") from None


def _asked(station: Server, path: str) -> dict[str, Any]:
    try:
        return asked(station, path).json()
    except ValueError as error:
        raise UserError(
            f"what answers at {station.url} is no Carril station; give the address of one", 1
        ) from error


# --- for people -----------------------------------------------------------------------------------


def lines(day: Mapping[str, Any]) -> Iterator[str]:
    """Yield the day as a person reads it."""
    kind = "" if day["kind"] == "real" else f", {day['kind']}: no evidence"
    yield f"{day['station']}, {day['day']} UTC{kind}"
    lacks = "; ".join(LACKS.get(code, code) for code in day["lacks"])
    yield f"{_duration(day['covered_s'])} of 24 h" + (f": {lacks}" if lacks else "")
    total = day["total"]
    if total is None:
        yield "nothing is known of it"
        return
    yield ""
    hours = [[f"{hour['hour']:02d}", *_cells(hour)] for hour in day["hours"]]
    yield from _table([*hours, ["all", *_cells(total)]])
    yield ""
    for name, (what, of) in RATES.items():
        yield _told(what, _rate(total[name], of))
    yield _told("alarms by code", _pairs(total["codes"]))
    yield _told("opinion disagreed", _pairs(total["disagreed"]))
    yield _told("incomplete", _pairs(total["incomplete"]))
    yield _told("alarm to decision", _spread(total["decision_s"], 1, " s"))
    for device, causes in total["down_s"].items():
        down = (f"{cause} {_duration(down_s)}" for cause, down_s in causes.items())
        yield _told(f"{device} down", ", ".join(down))
    for portal in total["portals"]:
        yield from _portal(portal)


def _told(what: str, told: str) -> str:
    return f"{what + ':':<22} {told}"


def _cells(counts: Mapping[str, Any]) -> list[str]:
    return [str(counts[name]) for name in COLUMNS] + [str(sum(counts["incomplete"].values()))]


def _table(rows: list[list[str]]) -> Iterator[str]:
    head = ["UTC", *COLUMNS.values(), "incomplete"]
    widths = [3, *(max(7, len(name) + 2) for name in head[1:])]
    for row in [head, *rows]:
        yield "".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))


def _portal(portal: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield _told(f"{portal['device']} suppression", _spread(portal["suppression"], 3))
    for panel in portal["panels"]:
        background = "-" if panel["background_cps"] is None else f"{panel['background_cps']:.1f} cps"
        dispersion = "-" if panel["dispersion"] is None else f"{panel['dispersion']:.2f}"
        told = f"background {background}, dispersion {dispersion} ({panel['records']} records)"
        yield _told(f"{portal['device']} {panel['channel']} {panel['panel']}", told)


def _rate(rate: Mapping[str, Any], of: str) -> str:
    if rate["rate"] is None:
        return f"- (no {of})"
    part, low, high = (f"{100 * rate[name]:.2f}" for name in ("rate", "low", "high"))
    return f"{part} % ({low} to {high} % at 95 %): {rate['count']} of {rate['of']} {of}"


def _spread(spread: Mapping[str, Any], digits: int, unit: str = "") -> str:
    if not spread["count"]:
        return "-"
    told = ", ".join(f"{word} {spread[name]:.{digits}f}{unit}" for name, word in QUANTILES.items())
    return f"{told} ({spread['count']})"


def _pairs(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "-"


def _duration(seconds: float) -> str:
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest_s:02d} s" if minutes else f"{rest_s} s"
