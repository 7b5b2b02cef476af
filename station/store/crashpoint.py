"""Places where a test may end the process at once, as a kill or a power cut would; inert otherwise.

``CARRIL_CRASHPOINT=after_commit`` ends it at that place, ``after_commit:3`` at the third pass. The daemon
does not start real devices while the variable is set.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "CARRIL_CRASHPOINT"

_name = ""
_left = 0


def arm(place: str) -> None:
    """End this process at ``place`` (``NAME`` or ``NAME:PASS``); an empty text disarms."""
    global _name, _left
    _name, _, passes = place.partition(":")
    _left = int(passes) if passes.isdigit() else 1


def crashpoint(name: str) -> None:
    """End the process at once, without any clean-up, if ``name`` is armed and its pass has come."""
    global _left
    if name == _name:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get(VARIABLE, ""))
