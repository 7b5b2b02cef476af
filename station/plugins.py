"""Drivers found by name, through the entry-point group ``carril.drivers``: nothing here knows any of them."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from drivers.api import API_VERSION, DriverSpec
from station.lanefile import UnknownName

GROUP = "carril.drivers"

BROKEN = (
    ImportError,
    SyntaxError,
    NameError,
    AttributeError,
    TypeError,
    ValueError,
    LookupError,
    OSError,
    RuntimeError,
)
"""What a broken module raises while it is imported; pydantic's own errors are among them."""


class BadPlugin(LookupError):
    """A driver that is installed and cannot be used; the message says why."""


def names() -> tuple[str, ...]:
    """Return the names of all installed drivers, sorted; none of them is imported."""
    return tuple(sorted(_entries()))


@cache
def find(name: str) -> DriverSpec:
    """Import and return the driver called ``name``; no other driver is imported.

    Raises ``UnknownName`` or ``BadPlugin``, both ``LookupError`` with a sentence.
    """
    entries = _entries()
    if name not in entries:
        rule = f"no driver of this name is installed; there are {', '.join(names())}"
        raise UnknownName(rule, name, names())
    first, *others = entries[name]
    if others:
        where = " and ".join(sorted({entry.value for entry in entries[name]}))
        raise BadPlugin(f"two packages bring a driver of this name ({where}); uninstall one")
    try:
        spec = first.load()
    except BROKEN as error:
        what = f"{type(error).__name__}: {error}"
        raise BadPlugin(f"its package cannot be imported ({first.value}: {what}); reinstall it") from error
    if not isinstance(spec, DriverSpec) or spec.name != name:
        raise BadPlugin(f"{first.value} is no driver of this name; the package's entry point is wrong")
    if spec.api_version != API_VERSION:
        raise BadPlugin(
            f"was written for driver interface {spec.api_version}, and this station has {API_VERSION}; "
            "install the version of the driver that fits"
        )
    return spec


def _entries() -> dict[str, list[EntryPoint]]:
    """Return the entry points by name; one that is merely listed twice counts once."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, {})[entry.value] = entry
    return {name: list(by_value.values()) for name, by_value in found.items()}
