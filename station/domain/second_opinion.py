"""What the station's verdicts on one occupancy mean together, and how they stand to the device's word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from drivers.readings import Channel
from imaging.radiation import gross, neutron
from imaging.radiation.run import Run
from imaging.radiation.verdict import REPLICA, Outcome, relation
from station.domain.rules import Opinion
from station.domain.values import AlgorithmVerdict, OccupancySummary

GRAVITY = (Outcome.ALARM, Outcome.LOW_CONFIDENCE, Outcome.NO_ALARM, Outcome.NOT_POSSIBLE)
"""Of several tests the gravest answer counts; that one was not possible is no answer where another was."""


def opinions(summary: OccupancySummary) -> Iterator[tuple[Opinion, str]]:
    """Yield the opinion on each channel that was tested, and its relation to the device's own alarm."""
    for channel, alarm in (("gamma", summary.gamma_alarm), ("neutron", summary.neutron_alarm)):
        tests = list(_calibrated(summary.verdicts, channel))
        if tests:
            worst = min(tests, key=lambda verdict: GRAVITY.index(Outcome(verdict.outcome)))
            answers = (Outcome(test.outcome) for test in tests)
            opinion = Opinion(
                summary.device,
                worst.outcome,
                worst.statistic,
                worst.threshold,
                channel,
                _one_in(worst),
                worst.reason if worst.outcome == Outcome.NOT_POSSIBLE else None,
            )
            yield opinion, relation(alarm, answers)


def _one_in(verdict: AlgorithmVerdict) -> int | None:
    """Return in how many empty vehicles chance alone alarms once, one digit and zeros, rather too few."""
    bound = verdict.params.get("false_alarm_bound")
    if verdict.outcome != Outcome.ALARM or not isinstance(bound, float) or not 0 < bound < 1:
        return None
    vehicles = 1 / bound
    unit = int(10.0 ** math.floor(math.log10(vehicles)))
    return math.floor(vehicles / unit + 1e-9) * unit


def uncounted(channels: Iterable[Channel]) -> Iterator[AlgorithmVerdict]:
    """Yield the answer on each channel in which a portal alarms without counting: none is possible."""
    for channel in sorted(channels):
        yield AlgorithmVerdict(
            algo=gross.ALGORITHM if channel == Channel.GAMMA else neutron.ALGORITHM,
            version=Run.VERSION,
            channel=str(channel),
            params={},
            statistic=None,
            threshold=None,
            t_first_s=None,
            outcome=Outcome.NOT_POSSIBLE,
            reason="no_counts",
        )


def contradicted(summary: OccupancySummary) -> str | None:
    """Return ``device_only`` or ``replica_only`` where a portal did not do what its own rule says.

    Its background is not quite the one measured here: of 20 s each they differ by √(B/10), and within √B of
    the limit, three times that, both may be right. Nothing is said of an occupancy that is not complete.
    """
    for verdict in summary.verdicts if summary.complete else ():
        if verdict.algo != REPLICA or verdict.statistic is None or verdict.threshold is None:
            continue
        beyond = verdict.statistic - verdict.threshold
        far = abs(beyond) > math.sqrt(float(verdict.params["background_counts"]))
        if far and (beyond > 0) != summary.gamma_alarm:
            return "device_only" if summary.gamma_alarm else "replica_only"
    return None


def _calibrated(verdicts: Iterable[AlgorithmVerdict], channel: str) -> Iterator[AlgorithmVerdict]:
    """Yield the tests whose false alarms the owner chose: the replica of the device's rule is none."""
    return (verdict for verdict in verdicts if verdict.channel == channel and verdict.algo != REPLICA)
