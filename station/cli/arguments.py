"""Numbers that several commands take, refused with a sentence."""

from __future__ import annotations

import argparse

HIGHEST_PORT = 65_535
LONGEST_S = 3600.0


def port(text: str) -> int:
    """Return the number of a port."""
    if not text.isdecimal() or not 0 < int(text) <= HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text}: a port is a number from 1 to 65,535")
    return int(text)


def port_or_free(text: str) -> int:
    """Return the number of a port; 0 means any that is free."""
    return 0 if text == "0" else port(text)


def seconds(text: str) -> float:
    """Return a time in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text}: give a number above 0, at most 3,600 seconds")
    return value
