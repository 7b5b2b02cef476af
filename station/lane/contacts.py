"""Portals that say all by contacts on the I/O board: what their relays mean, and their health.

A contact counts when it has stood for 50 ms. One that never comes to rest says nothing, which is a fault.
What becomes of the board becomes of its portals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from drivers.readings import Inputs, PortalStatus
from station.domain.view import DeviceView
from station.lane.core import UP_STATES, Core, DeviceFacts

DEBOUNCE_NS = 50_000_000
RESTLESS_NS = 1_000_000_000
"""A contact that has not stood still for so long is no contact."""
CONTACTS = ("occupancy", "alarm_gamma", "alarm_neutron", "fault", "tamper")


@dataclass(slots=True)
class Contact:
    """One contact, without its bounces."""

    is_so: bool | None = None
    """``None`` before it has stood still for the first time."""
    _seen: bool | None = None
    _since_ns: int = 0
    _rested_ns: int | None = None

    def see(self, now: bool, mono_ns: int) -> None:
        """Take what one poll read."""
        if now != self._seen:
            self._seen, self._since_ns = now, mono_ns
        self._rested_ns = mono_ns if self._rested_ns is None else self._rested_ns
        if mono_ns - self._since_ns >= DEBOUNCE_NS:
            self.is_so, self._rested_ns = now, mono_ns

    def restless(self, mono_ns: int) -> bool:
        """Whether it has been changing for so long that nobody can say what it means."""
        return self._rested_ns is not None and mono_ns - self._rested_ns >= RESTLESS_NS


@dataclass(slots=True)
class _Portal:
    facts: DeviceFacts
    contacts: dict[str, Contact] = field(default_factory=dict)
    fault: bool = False


class Contacts:
    """All portals of contacts."""

    def __init__(self, core: Core) -> None:
        """Know of no board yet."""
        self._core = core
        self._portals = {device.name: _Portal(device) for device in core.facts.devices if device.board}
        for portal in self._portals.values():
            core.devices[portal.facts.name] = self._view(portal, "starting", None)

    def inputs(self, board: str, inputs: Inputs) -> Iterator[tuple[str, PortalStatus]]:
        """Take one poll of a board; yield what it says of each portal on it, once every contact stands."""
        for name, portal in self._portals.items():
            if portal.facts.board == board:
                status = _status(portal, inputs)
                if status is not None:
                    portal.fault = bool(status.fault)
                    yield name, status

    def health(self) -> Iterator[tuple[DeviceView, str]]:
        """Yield each portal whose health is another one now, with what it was."""
        for name, portal in self._portals.items():
            board = self._core.devices.get(portal.facts.board)
            if board is None:
                continue
            if board.state not in UP_STATES:
                portal.contacts.clear()
                portal.fault = False
            causes = [*(["device_fault"] if portal.fault else []), *(board.cause or "").split(",")]
            ill = board.state == "online" and portal.fault
            state, cause = "degraded" if ill else board.state, ",".join(filter(None, causes)) or None
            known = self._core.devices[name]
            if (state, cause) != (known.state, known.cause):
                yield self._view(portal, state, cause), known.state

    def _view(self, portal: _Portal, state: str, cause: str | None) -> DeviceView:
        facts = portal.facts
        return DeviceView.model_validate(
            {
                "name": facts.name,
                "role": facts.role,
                "mode": facts.mode,
                "required": "rpm" in self._core.facts.required,
                "state": state,
                "cause": cause,
            }
        )


def _status(portal: _Portal, inputs: Inputs) -> PortalStatus | None:
    mono_ns = inputs.stamp.mono_ns
    for contact in CONTACTS:
        value = inputs.values.get(f"{portal.facts.name}.{contact}")
        if value is not None:
            portal.contacts.setdefault(contact, Contact()).see(value, mono_ns)
    restless = any(contact.restless(mono_ns) for contact in portal.contacts.values())
    is_so = {name: contact.is_so for name, contact in portal.contacts.items()}
    if not restless and (not is_so or None in is_so.values()):
        return None
    return PortalStatus(
        inputs.stamp,
        occupied=is_so.get("occupancy"),
        gamma_alarm=is_so.get("alarm_gamma"),
        neutron_alarm=is_so.get("alarm_neutron"),
        fault=restless or is_so.get("fault"),
        tamper=is_so.get("tamper"),
    )
