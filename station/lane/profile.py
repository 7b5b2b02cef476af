"""What each panel counted of one vehicle, as it is stored beside the strips: enough to export it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drivers.readings import Channel
from imaging.radiation.verdict import OpinionResult
from station.domain.occupancy_record import Occupancy


def panels(
    occupancy: Occupancy, detectors: Mapping[Channel, Sequence[str]], opinion: OpinionResult
) -> dict[str, Any]:
    """Return the records of both channels, per panel, in seconds after ``start_utc_us``.

    ``t_s`` is the middle of each record, ``None`` in ``counts`` a panel that sent no number, ``windows`` what
    all panels counted in the low and the high energies, where the portal tells it, ``background`` the rate
    per panel and for how long it was counted. ``first_s`` is the arrival of the first scan record,
    from which the tests count their seconds.
    """
    backgrounds = {Channel.GAMMA: opinion.gamma_background, Channel.NEUTRON: opinion.neutron_background}

    def channel(name: Channel) -> dict[str, Any]:
        samples, background = occupancy.samples(name), backgrounds[name]
        return {
            "detectors": list(detectors.get(name, ())),
            "interval_s": samples.interval_s,
            "t_s": samples.times_s,
            "counts": samples.counts,
            **({"windows": samples.windows} if any(samples.windows) else {}),
            "background": None
            if background is None
            else {"cps": background.cps, "counting_s": background.counting_s},
        }

    return {
        "start_utc_us": occupancy.start.utc_ns // 1000,
        "first_s": 0.0 if occupancy.first_ns is None else round(occupancy.offset_s(occupancy.first_ns), 6),
        "gamma": channel(Channel.GAMMA),
        "neutron": channel(Channel.NEUTRON),
        "speeds": [[round(t_s, 3), round(speed_mps, 3)] for t_s, speed_mps in occupancy.speeds],
    }
