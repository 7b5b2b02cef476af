"""What must fit together in a lane file: devices and checks, real and emulated, addresses."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from drivers.api import DriverSpec, Options, Role
from station.lanefile.models import Document, FittedDevice, contact_portals
from station.lanefile.problems import Problem, UnknownName, shown
from station.lanefile.shipped import shipped

ROLE_OF = {"rpm": Role.PORTAL_MONITOR, "scanner": Role.LINE_SCANNER, "lpr": Role.CAMERA, "ocr": Role.CAMERA}
"""Which device does a check; a manifest comes from no device."""
ADDRESS = ("host", "port")
SERIAL = "serial_port"
FOLDER = "folder"
"""What drivers call the address of a device: on the network, on a serial line, where it leaves files."""

NEEDED = {
    "coils": {
        "watchdog": "by it the board knows that the station lives, and drops every output when it does not",
        "raise_permit": "without it the barrier is never allowed to rise",
    },
    "inputs": {
        "entry_loop": "it tells that a vehicle comes, and that a second one follows it",
        "booth_loop": "only a vehicle that stands on it can be released",
        "exit_loop": "it tells that the vehicle has left, which ends the permission to raise the arm",
        "barrier_down": "without it nobody notices an arm that moves without an order",
        "estop_ok": "without it an emergency stop does not take the permission back",
    },
}
"""What the lane must be able to write to its I/O board and read from it, whatever the driver.

Lights, horn and beacon may be missing: what is not mapped is not written. So may obstruction, barrier_up and
cabinet_closed: the lane then knows less and permits no more.
"""


def problems(document: Document, devices: Sequence[FittedDevice]) -> Iterator[Problem]:
    """Yield everything that does not fit together."""
    yield from _unique("consumer", [consumer.name for consumer in document.consumer])
    yield from _unique("issuer", [issuer.name for issuer in document.issuer])
    portals = list(contact_portals(devices))
    yield from _unique("device", [*(device.name for device in devices), *(name for _, name, _ in portals)])
    yield from _unique("lane.required", list(document.lane.required))
    if not any(consumer.required for consumer in document.consumer):
        rule = "at least one consumer must be required: else records may go before anybody has them"
        yield Problem("consumer", None, rule)
    yield from _fitted(document, devices)
    yield from _single(devices)
    yield from _real_outputs(document.lane.required, devices)
    yield from _shared_addresses(devices)
    yield from _simulation(document, devices)


def warnings(devices: Sequence[FittedDevice]) -> Iterator[Problem]:
    """Yield what the person who starts the lane must know (docs/decisions/0010)."""
    if not any(device.role == Role.DIGITAL_IO for device in devices):
        # No error: a file of one device is enough to probe it.
        rule = (
            f"no device is a {Role.DIGITAL_IO}: without loops this lane cannot tell vehicles apart, and it "
            "never permits the barrier to rise; add an I/O board, e.g. with the driver modbus_io"
        )
        yield Problem("device", None, rule)
    contacts = list(contact_portals(devices))
    boards = [board for board, _, _ in contacts]
    for device in [*(device for device in devices if device.role == Role.PORTAL_MONITOR), *boards]:
        if device.mode == "real":
            rule = (
                "a real portal, and no steps of the site's radiation safety officer: this version cannot "
                "show them and the alarm says so; keep the site's written procedure at the booth"
            )
            yield Problem(f"device.{device.name}.mode", shown(device.mode), rule)
    for board, name, wired in contacts:
        for alarm in sorted({"alarm_gamma", "alarm_neutron"} & set(wired.normally_open)):
            rule = "a cut wire of this alarm reads as no alarm; wire it normally closed where the portal can"
            yield Problem(f"device.{board.name}.options.portals.{name}.normally_open", shown(alarm), rule)


def address_problems(
    written: Mapping[str, Any], spec: DriverSpec, mode: Any, place: str
) -> Iterator[Problem]:
    """Yield an address that is missing (real) or that must not be there (emulated)."""
    known = spec.options.model_fields
    if mode == "real" and not written.get(SERIAL):
        for key in ADDRESS:
            if key in known and key not in written:
                rule = f"is missing; a real device needs {' and '.join(ADDRESS)}"
                yield Problem(f"{place}.options.{key}", None, rule + f", or {SERIAL}" * (SERIAL in known))
        if FOLDER in known and not written.get(FOLDER):
            yield Problem(f"{place}.options.{FOLDER}", None, f"is missing; a real device needs its {FOLDER}")
        host = written.get(ADDRESS[0])
        if ADDRESS[0] in known and isinstance(host, str) and not _bare(host):
            yield Problem(f"{place}.options.{ADDRESS[0]}", shown(host), _host_rule(host))
    if mode == "emulated":
        for key in (*ADDRESS, SERIAL, FOLDER):
            if key in known and key in written:
                rule = "must not be given: an emulated device has no address until it runs"
                yield Problem(f"{place}.options.{key}", shown(written[key]), rule)


def map_problems(role: Role, options: Options, place: str) -> Iterator[Problem]:
    """Yield every output and input that the lane needs and that a board's map of them lacks."""
    for table, needed in NEEDED.items() if role == Role.DIGITAL_IO else ():
        mapped = getattr(options, table, None)
        for name, why in needed.items():
            if isinstance(mapped, dict) and name not in mapped:
                yield Problem(f"{place}.options.{table}.{name}", None, f"is missing; {why}")


def _bare(host: str) -> bool:
    """Whether this is the name or the address of a computer and nothing more."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        named = re.fullmatch(r"[\w-]+(\.[\w-]+)*\.?", host) is not None
        return named and re.fullmatch(r"[\d.]+", host) is None
    return True


def _host_rule(host: str) -> str:
    """Return what is allowed and, where it can be told, what was meant."""
    if not host.strip():
        return "is empty; give the name or the address of the device"
    rule = "must be a name or an address alone"
    try:
        url = urlsplit(host if "://" in host else f"//{host}")
        name, port = url.hostname or "", url.port
    except ValueError:
        return rule
    if name == host or not _bare(name):
        return rule
    return f"{rule}; write host = {shown(name)}" + (f" and port = {port}" if port else "")


def _unique(place: str, names: Sequence[str]) -> Iterator[Problem]:
    for name, times in Counter(names).items():
        if times > 1:
            yield Problem(place, shown(name), f"stands {times} times; each name may stand once")


def _fitted(document: Document, devices: Sequence[FittedDevice]) -> Iterator[Problem]:
    fitted = {device.role for device in devices}
    fitted |= {Role.PORTAL_MONITOR for _ in contact_portals(devices)}
    sent = {kind for issuer in document.issuer for kind in issuer.kinds}
    for check in document.lane.required:
        role = ROLE_OF.get(check)
        if role is None:
            if check in sent:
                continue
            rule = 'nobody sends manifests: add an [[issuer]] with kinds = ["manifest"], or leave it out'
        elif role not in fitted:
            rule = f"needs a device that is a {role}; add one or leave it out"
        else:
            continue
        yield Problem("lane.required", shown(check), rule)
    if document.lane.modulation and "release" not in sent:
        rule = 'nobody sends the vote that Release waits for: add an [[issuer]] with kinds = ["release"]'
        yield Problem("lane.modulation", "true", rule)


def _single(devices: Sequence[FittedDevice]) -> Iterator[Problem]:
    """With two portals one could be dark and the check still be done by the other."""
    contacts = [f"{board.name}.options.portals.{name}" for board, name, _ in contact_portals(devices)]
    for role in (Role.PORTAL_MONITOR, Role.LINE_SCANNER, Role.DIGITAL_IO):
        places = [device.name for device in devices if device.role == role]
        for place in (places + contacts if role == Role.PORTAL_MONITOR else places)[1:]:
            rule = f"is a second {role}; this version knows one of each portal, scanner and board in a lane"
            yield Problem(f"device.{place}", None, rule)


def _real_outputs(required: Sequence[str], devices: Sequence[FittedDevice]) -> Iterator[Problem]:
    """Real lights and a real barrier never move on invented evidence."""
    needed = {ROLE_OF.get(check) for check in required}
    invented = [device.name for device in devices if device.role in needed and device.mode != "real"]
    for device in devices:
        if device.role == Role.DIGITAL_IO and device.mode == "real" and invented:
            rule = f"real outputs are refused while a required device is emulated ({', '.join(invented)})"
            yield Problem(f"device.{device.name}.mode", shown(device.mode), rule)


def _shared_addresses(devices: Sequence[FittedDevice]) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for device in devices:
        host, port, serial, folder, unit_id = (
            getattr(device.options, key, "") for key in (*ADDRESS, SERIAL, FOLDER, "unit_id")
        )
        address = serial or folder or (f"{host}:{port}" if port else "")
        if device.mode != "real" or not address:
            continue
        owner = owners.setdefault(f"{address} {unit_id}", device.name)
        if owner != device.name:
            key = SERIAL if serial else FOLDER if folder else ADDRESS[1]
            rule = f"{address} is already the address of {owner}; two devices cannot be one"
            yield Problem(f"device.{device.name}.options.{key}", shown(serial or folder or port), rule)


def _simulation(document: Document, devices: Sequence[FittedDevice]) -> Iterator[Problem]:
    simulation = document.simulation
    real = [device.name for device in devices if device.mode == "real"]
    if real and simulation.rate != 1:
        rule = f"must be 1 with a real device ({', '.join(real)}): real time cannot be hurried"
        yield Problem("simulation.rate", shown(simulation.rate), rule)
    if len(real) < len(devices):
        try:
            shipped("scenarios", simulation.scenario)
        except UnknownName as error:
            yield Problem("simulation.scenario", shown(simulation.scenario), error.rule, error.nearest)
