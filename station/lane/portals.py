"""Radiation portals: occupancies become measurements, device alarms become alarms, at once and for good."""

from __future__ import annotations
