"""The emulated line camera: GigE Vision on loopback, looking at the virtual lane."""

from drivers.scanner.gige.sim.emulator import GigeEmulator

__all__ = ["GigeEmulator"]
