"""Which declared goods may themselves be radioactive: dangerous goods of class 7, and natural ones (NORM)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

NORM: Mapping[str, str] = {
    "0803": "bananas",
    "2508": "clay",
    "2510": "fertiliser",
    "2516": "stone",
    "2523": "cement",
    "2615": "zircon",
    "3103": "fertiliser",
    "3104": "fertiliser",
    "3105": "fertiliser",
    "6802": "stone",
    "6902": "bricks",
    "6907": "tiles",
}
"""Headings of the Harmonized System, and the kind of goods: their potassium, uranium or thorium alarms
portals. Kinds: R. T. Kouzes, "Naturally Occurring Radioactive Materials in Cargo at US Borders" (2006)."""
_RADIOACTIVE = ((2908, 2913), (2915, 2917), (2919, 2919), (2977, 2978), (3321, 3333))
"""UN numbers of class 7 [49 CFR 172.101]."""
MOST = 8


def norm_headings(codes: Iterable[str]) -> tuple[str, ...]:
    """Return the headings among these codes of the Harmonized System (4 to 6 digits) that are NORM."""
    return tuple(sorted({code[:4] for code in codes} & NORM.keys()))[:MOST]


def is_class_7(un: str, hazard_class: str | None) -> bool:
    """Whether these dangerous goods are radioactive material, by number or class."""
    number = int(un) if un.isdecimal() else 0
    by_number = any(first <= number <= last for first, last in _RADIOACTIVE)
    return by_number or (hazard_class or "").split(".")[0].strip() == "7"
