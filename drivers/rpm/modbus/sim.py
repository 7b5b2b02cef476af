"""The emulated portal behind a map: it has the registers and bits of the map, and no other address."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from drivers.api import Clock, Options
from drivers.plant.modbus import FAULTS as WIRE_FAULTS
from drivers.plant.modbus import ModbusServer
from drivers.plant.polled import INTERVAL_S, PolledEmulator, PolledPortal
from drivers.plant.world import Plant
from drivers.rpm.modbus import codec
from drivers.rpm.modbus.driver import ModbusPortalOptions

LOW_SHARE = 0.7
"""Share of the gamma counts in the low window, with and without a source: the plant knows no energies."""
NO_COUNTS = {"negative_count": -1.0, "not_a_number": math.nan}
HOLDS = {"negative_count": ("i16", "i32", "f32"), "not_a_number": ("f32",)}
"""Types that can hold them."""


class MappedPortal(PolledPortal):
    """The portal and what stands in its registers, without a wire."""

    FAULTS: ClassVar[frozenset[str]] = PolledPortal.FAULTS | NO_COUNTS.keys()

    def __init__(self, options: ModbusPortalOptions, plant: Plant, seed: int) -> None:
        """Switch on now."""
        super().__init__(plant, seed, options.count_interval_s or INTERVAL_S)
        self._options = options
        self._energies = np.random.default_rng((seed, 1))
        self._low = 0
        self._split_s = 0.0
        """Until when the counts in the low window hold."""
        self._shown: dict[codec.Place, int] = {}

    def memory(self, now_s: float) -> dict[codec.Place, int]:
        """Return every address of the map as it stands at ``now_s``."""
        self.step(now_s)
        if "frozen" in self.faults and self._shown:
            return self._shown
        said, shown = self._said(), Counter[codec.Place]()
        for point in self._options.map:
            value = next(said[point.field])
            for fault, number in NO_COUNTS.items():
                if fault in self.faults and point.field in codec.COUNTS and point.type in HOLDS[fault]:
                    value = number
            unit, function, address = codec.place(point, self._options.unit_id)
            for offset, word in enumerate(codec.encode(point, value)):
                shown[unit, function, address + offset] |= word  # bits of one register come one by one
        self._shown = dict(shown)
        return self._shown

    def _said(self) -> dict[str, Iterator[float]]:
        """Return the values of every field, panel by panel."""
        panels = Counter[str](point.field for point in self._options.map)
        gamma, neutron = self.panels.gamma[-1], self.panels.neutron[-1]
        means = [
            [mean / max(1, panels[name])] * panels[name]
            for mean, name in zip(self.background, codec.BACKGROUNDS, strict=True)
        ]
        total = int(gamma.sum())
        if self._split_s != self.due_s:
            self._split_s, self._low = self.due_s, int(self._energies.binomial(total, LOW_SHARE))
        said: dict[str, Sequence[float]] = {
            "occupied": [self.occupied],
            "gamma_alarm": [self.gamma_alarm],
            "neutron_alarm": [self.neutron_alarm],
            "fault": ["not_ready" in self.faults],
            "tamper": ["tamper" in self.faults],
            "gamma_counts": _shared(gamma, panels["gamma_counts"]),
            "neutron_counts": _shared(neutron, panels["neutron_counts"]),
            "gamma_background": means[0],
            "neutron_background": means[1],
            "window_low": [self._low],
            "window_high": [total - self._low],
            "speed": [self.plant.speed_mps if self.occupied else 0.0],
            "counter": [self.count],
        }
        return {name: iter(values) for name, values in said.items()}


def _shared(counts: NDArray[np.int64], panels: int) -> list[float]:
    """Return the counts of the plant's panels as those of so many."""
    return [float(group.sum()) for group in np.array_split(counts, panels)] if panels else []


class ModbusPortalEmulator(PolledEmulator):
    """The portal on a Modbus server."""

    FAULTS: ClassVar[frozenset[str]] = MappedPortal.FAULTS | WIRE_FAULTS

    def __init__(self, options: Options, plant: Plant, clock: Clock, seed: int) -> None:
        """Build it; opens nothing."""
        if not isinstance(options, ModbusPortalOptions):
            raise TypeError(f"the portal's emulator needs ModbusPortalOptions, not {type(options).__name__}")
        self._mapped = MappedPortal(options, plant, seed)
        self._requests = codec.requests(options.map, options.unit_id)
        units: dict[int, dict[int, list[tuple[int, int]]]] = {}
        for request in self._requests:
            areas = units.setdefault(request.unit_id, {}).setdefault(request.function, [])
            areas.append((request.address, request.count))
        super().__init__(self._mapped, ModbusServer(units, self._asked), clock)

    async def _asked(self, address: int, values: Sequence[int] | None) -> None:
        """Show the portal as it is now."""
        memory = self._mapped.memory(self._clock.monotonic_s())
        for request in self._requests:
            unit, function, first = request.unit_id, request.function, request.address
            shown = [memory[unit, function, first + more] for more in range(request.count)]
            await self._server.write(unit, function, first, shown)
