"""The promises of the central interface, each as a check that a running station can fail."""

from __future__ import annotations

from importlib import import_module

from station.cli.promises.kit import PROMISES, Broken, Kit, NotAsked, Pace, Promise, Reply

__all__ = ["PROMISES", "Broken", "Kit", "NotAsked", "Pace", "Promise", "Reply"]

for _name in ("feed", "cursor", "blobs", "requests"):  # each adds its own, in this order
    import_module(f"{__name__}.{_name}")
