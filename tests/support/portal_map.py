"""A map that has almost everything: four gamma panels, neutrons, each kind of register and of bit."""

from __future__ import annotations

from typing import Any

Entry = dict[str, Any]


def entry(field: str, function: int, address: int, kind: str, **more: Any) -> Entry:
    return {"field": field, "function": function, "address": address, "type": kind, **more}


WHOLE: list[Entry] = [
    entry("occupied", 2, 10, "bit"),
    entry("gamma_alarm", 2, 11, "bit"),
    entry("neutron_alarm", 1, 3, "bit", inverted=True),
    entry("fault", 3, 40, "bit", bit=2),
    entry("tamper", 3, 40, "bit", bit=15, inverted=True),
    entry("gamma_counts", 3, 20, "u16"),
    entry("gamma_counts", 3, 21, "i16"),
    entry("gamma_counts", 3, 22, "u32"),
    entry("gamma_counts", 3, 24, "i32", word_order="low_first"),
    entry("gamma_background", 4, 100, "f32", word_order="low_first"),
    entry("neutron_counts", 4, 102, "f32"),
    entry("neutron_background", 4, 104, "u16", scale=0.01),
    entry("speed", 3, 30, "u16", scale=0.001),
    entry("counter", 4, 7, "u16", unit_id=9),
]
KNOWN: dict[str, Any] = {"count_interval_s": 0.2, "bg_averaging_s": 20.0}
"""Counting times, where the test's site knows them."""
WINDOWED: list[Entry] = [
    entry("occupied", 2, 10, "bit"),
    entry("gamma_alarm", 2, 11, "bit"),
    entry("gamma_counts", 3, 24, "u32"),
    entry("window_low", 3, 26, "u32"),
    entry("window_high", 3, 28, "u32"),
]
"""A portal with two energy windows: their background is learnt from the empty portal."""
