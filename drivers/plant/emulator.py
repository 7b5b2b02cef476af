"""What every emulator is: a real server (or client) of the device's true wire protocol on loopback.

An emulator never decides what there is to see: it asks the one virtual plant. It serves the healthy
protocol plus the faults that need knowledge of the protocol (a frozen counter, a wrong checksum);
faults of the link itself (refused, half-open, cut in mid-record …) are made by ``drivers.plant.chaos``,
which stands in front of every emulator.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from drivers.api import Clock, Options
from drivers.plant.world import Plant


class Emulator(Protocol):
    """One emulated device.

    One that speaks UDP has a true class attribute ``DATAGRAMS``: the link-fault proxy carries streams only,
    and does not stand in front of it.
    """

    FAULTS: ClassVar[frozenset[str]]
    """Names of the protocol faults it can show."""

    DIALS: ClassVar[bool]
    """True: the device connects to the station's listener (a pushing camera); False: it listens."""

    def __init__(self, options: Options, plant: Plant, clock: Clock, seed: int) -> None:
        """Build it from the *driver's* options; opens nothing."""
        ...

    async def start(self, dial_port: int | None = None) -> int:
        """Serve on an ephemeral loopback port and return it.

        With ``DIALS`` the device connects to ``dial_port`` on loopback instead and returns that. One that
        leaves files in the folder of its options has no port: 0.
        """
        ...

    async def stop(self) -> None:
        """Stop serving; idempotent, at most one second."""
        ...

    def fault(self, name: str, *, on: bool) -> None:
        """Show or end a protocol fault; ``ValueError`` for a name not in ``FAULTS``."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what it believes at the moment, for the technician and for tests (JSON values)."""
        ...
