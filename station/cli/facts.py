"""The lane file in the words of the lane."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from drivers.api import PortalOptions, Role
from station.api.directives import Issuer
from station.lane.core import NO_PORTAL, DeviceFacts, LaneFacts
from station.lane.hotspot import HotSpotOptions
from station.lanefile import LaneFile, contact_portals


def lane_facts(lane_file: LaneFile) -> LaneFacts:
    """Return the lane file as the lane uses it."""
    lane = lane_file.lane
    return LaneFacts(
        lane_id=lane.id,
        name=lane.name or lane.id,
        site=lane.site,
        direction=lane.direction,
        time_zone=lane.time_zone,
        officer=lane.officer,
        required=frozenset(lane.required),
        geometry=lane_file.geometry,
        devices=tuple(
            DeviceFacts(
                d.name,
                str(d.role),
                d.mode,
                d.options.portal if isinstance(d.options, PortalOptions) else NO_PORTAL,
            )
            for d in lane_file.devices
        )
        + tuple(
            DeviceFacts(name, str(Role.PORTAL_MONITOR), board.mode, contacts.facts, board.name)
            for board, name, contacts in contact_portals(lane_file.devices)
        ),
        config_sha256=lane_file.sha256,
        panel_diagonal_in=lane_file.ui.panel_diagonal_in,
        p_occupancy=lane_file.radiation.p_occ,
        design_s=lane_file.radiation.design_length_s,
        gb_averaging_s=lane_file.radiation.gb_averaging_s,
        scanner_disturbs=lane_file.radiation.scanner_disturbs,
        s50_max_counts=lane_file.radiation.s50_max_counts,
        hot_spot=HotSpotOptions(
            panel_distance_m=lane_file.radiation.panel_distance_m,
            occupancy_lead_s=lane_file.radiation.occupancy_lead_s,
            sigma_x_m=lane_file.radiation.sigma_x_m,
        ),
        modulation_required=lane.modulation,
        senders=frozenset((urn, kind) for urn, issuer in issuers(lane_file).items() for kind in issuer.kinds),
    )


def port_salt(lane_file: LaneFile) -> bytes | None:
    """Return what wait times are made with, if it was given."""
    salt = lane_file.lane.port_salt
    return salt.get_secret_value().encode() if salt else None


def issuers(lane_file: LaneFile) -> dict[str, Issuer]:
    """Return who may send directives, by URN."""
    return {
        f"urn:carril:client:{issuer.name}": Issuer(
            Ed25519PublicKey.from_public_bytes(base64.b64decode(issuer.key)), frozenset(issuer.kinds)
        )
        for issuer in lane_file.issuers
    }
