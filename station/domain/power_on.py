"""Whether a portal has just been switched on: its set-up lines, and the silence before them.

The same lines come when a setting is changed and after a connect, so a line by itself proves little.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.readings import PortalReading, PortalSetup

S = 1_000_000_000
BURST = ("SG1", "SG2", "SG3", "SN1", "SN2")
"""What a portal says when it is switched on, in this order."""
SETUP_AFTER_CONNECT_NS = 5 * S
RESTART_SILENCE_NS = 1 * S
POWER_OFF_NS = 12 * S
"""Longer than a vacant portal is ever silent (its background comes every 5 s)."""


@dataclass(slots=True)
class PowerOn:
    """What one portal's records and its link say of its power."""

    last_ns: int = 0
    """When the last record came."""
    _connected_ns: int | None = None
    _heard: int = 0
    """Lines of a whole burst so far."""
    _settings: str = ""
    """Hash of the set-up before the burst."""

    def connected(self, now_ns: int) -> None:
        """Note that the link has come up."""
        self._connected_ns = now_ns

    def restarted(self, now_ns: int) -> bool:
        """Whether set-up now is a restart: after silence on a link that stayed up, never after a connect."""
        return self._silent(now_ns, RESTART_SILENCE_NS)

    def whole(self, reading: PortalReading, known_hash: str) -> bool:
        """Take a record, before ``last_ns`` is moved; whether a whole burst ends with it.

        It follows more silence than a vacant portal makes, no other record stands in it, and its settings
        are those that were known before (``known_hash``): whoever changes them says nothing of the cabinet.
        """
        part = reading.part if isinstance(reading, PortalSetup) else ""
        if part == BURST[0]:
            self._heard = int(self._silent(reading.stamp.mono_ns, POWER_OFF_NS + 1))
            self._settings = known_hash
        else:
            self._heard = self._heard + 1 if self._heard and part == BURST[self._heard] else 0
        if self._heard < len(BURST):
            return False
        self._heard = 0
        return isinstance(reading, PortalSetup) and reading.setup_hash == self._settings

    def _silent(self, now_ns: int, for_ns: int) -> bool:
        connected_ns = self._connected_ns
        link_was_up = connected_ns is None or connected_ns <= self.last_ns
        fresh = connected_ns is not None and now_ns - connected_ns < SETUP_AFTER_CONNECT_NS
        return now_ns - self.last_ns >= for_ns and link_was_up and not fresh
