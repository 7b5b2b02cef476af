"""The emulated scanner: a real linestream v1 front end on loopback that looks at the virtual lane."""

from drivers.scanner.linestream.sim.emulator import LinestreamEmulator

__all__ = ["LinestreamEmulator"]
