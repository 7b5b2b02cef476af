"""The promises of the central interface, each as a check that a running station can fail."""

from __future__ import annotations

from importlib import import_module

from station.cli.promises.kit import PROMISES, Broken, Kit, NotAsked, Pace, Promise, Reply

__all__ = ["PROMISES", "Broken", "Kit", "NotAsked", "Pace", "Promise", "Reply"]

# Each adds its own, in this order: a refusal leaves no room behind our cursor.
for _name in ("feed", "heads", "cursor", "blobs", "requests", "quarantine", "directives"):
    import_module(f"{__name__}.{_name}")
