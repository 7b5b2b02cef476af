"""The lane that tests drive a vehicle through: its places, its devices, and what an empty one says."""

from __future__ import annotations

from typing import Any

from drivers.api import PortalFacts
from drivers.geometry import LaneGeometry
from drivers.readings import (
    Channel,
    ScannerGeometry,
)
from station.lane.core import DeviceFacts, LaneFacts

GEOMETRY = LaneGeometry(
    entry_loop_m=-2.0,
    portal_m=4.0,
    portal_beams_m=(3.5, 4.5),
    lpr_m=5.0,
    scan_plane_m=8.0,
    booth_loop_m=19.0,
    stop_line_m=21.0,
    barrier_m=22.0,
    exit_loop_m=24.0,
)
DEVICES = (
    DeviceFacts(
        "rpm1",
        "PortalMonitor",
        "emulated",
        PortalFacts(("ML", "MU", "SL", "SU"), frozenset(Channel), 0.2, nsigma=7.0),
    ),
    DeviceFacts("scanner1", "LineScanner", "emulated"),
    DeviceFacts("lpr1", "Camera", "emulated"),
    DeviceFacts("io1", "DigitalIo", "emulated"),
)
ISSUER = "urn:carril:client:central"
REST = {
    "entry_loop": False,
    "booth_loop": False,
    "exit_loop": False,
    "barrier_up": False,
    "barrier_down": True,
    "obstruction": False,
    "estop_ok": True,
    "cabinet_closed": True,
}
SCANNER = ScannerGeometry(
    detectors=8,
    pitch_m=0.008,
    bottom_m=0.3,
    plane_distance_m=5.0,
    detector_distance_m=7.0,
    m_per_tick=0.001,
    full_scale=65535,
    quantity="counts",
    units_per_quantum=1.0,
    read_noise=0.0,
    reference_detectors=(0,),
    source="Co-60",
    raw=b"{}",
    crc=0,
)


def facts(*, manifests: bool = False, **change: Any) -> LaneFacts:
    """Return a lane with one device of each role, all required but the board."""
    kinds = ["hold", "release", "trust", "lane_mode", *(["manifest"] if manifests else [])]
    values: dict[str, Any] = {
        "lane_id": "LANE-1",
        "name": "Lane 1",
        "site": "Here",
        "direction": "in",
        "time_zone": "UTC",
        "officer": "O-1",
        "required": frozenset({"rpm", "scanner", "lpr"}),
        "geometry": GEOMETRY,
        "devices": DEVICES,
        "config_sha256": "c" * 64,
        "panel_diagonal_in": 12.1,
        "senders": frozenset((ISSUER, kind) for kind in kinds),
    }
    return LaneFacts(**{**values, **change})
