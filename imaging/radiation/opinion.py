"""The station's second opinion on one portal: backgrounds, limits and the verdicts of every algorithm.

It is recorded beside the device's own alarm, which is authoritative, and never suppresses it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from imaging.radiation import gross, neutron, sprt, windows
from imaging.radiation.background import Background, BackgroundRules
from imaging.radiation.gross import GrossConfig, GrossLimit, GrossRun, GrossThreshold, replica_limit
from imaging.radiation.neutron import NeutronLimit, NeutronRun
from imaging.radiation.run import Run
from imaging.radiation.suppression import STRONG, Suppression, half_detected, null_limit
from imaging.radiation.verdict import REPLICA, BackgroundEstimate, OpinionResult, Verdict
from imaging.radiation.windows import RatioLimit, RatioRun

NEUTRON_RECORD_S = 1.0
MOST_CPS = {"gamma": 100_000.0, "windows": 100_000.0, "neutron": 10_000.0}
"""A larger background of all panels is none: many times that of any site, and its limit takes too long."""
TESTS = {"gamma": 1, "neutron": 2, "windows": 1}
"""Calibrated tests that share the owner's false alarms; ``windows``: the low and high energies of gamma."""
SUM = ("SUM", "")
"""Words of a device for an alarm on the sum of its panels, which is what the replica sums."""


@dataclass(slots=True)
class _Run:
    """The tests of one occupancy; ``None`` where one is not possible."""

    opened_ns: int
    gross: GrossRun | None = None
    replica: GrossRun | None = None
    ratio: RatioRun | None = None
    neutron: NeutronRun | None = None
    sequential: sprt.SprtRun | None = None
    suppression: Suppression = field(default_factory=Suppression)
    unfit: dict[str, str] = field(default_factory=dict)
    """Why a channel cannot be judged, although there is a limit."""


class StationOpinion:
    """All algorithms on the channels that a portal counts.

    Channels are ``gamma`` and ``neutron``, and ``windows`` where gamma is also counted in two energy windows;
    times are monotonic nanoseconds. ``s50_max``: net counts of a window that must still be seen with one half
    of all chances, else "no alarm" is of low confidence.
    """

    def __init__(
        self,
        gross: GrossConfig | None = None,
        rules: BackgroundRules | None = None,
        channels: frozenset[str] = frozenset({"gamma", "neutron"}),
        s50_max: float | None = None,
    ) -> None:
        self._config = replace(gross or GrossConfig(), tests=max(1, sum(TESTS[each] for each in channels)))
        self._neutron_design = (
            self._config.p_occupancy / self._config.tests,
            max(1, round(self._config.design_s / NEUTRON_RECORD_S)),
        )
        """False alarms of each test of neutrons in an occupancy of so many records."""
        self._rules = rules or BackgroundRules()
        self._s50_max = s50_max
        self._background = {channel: Background(self._rules) for channel in sorted(channels)}
        self._threshold = GrossThreshold(self._config)
        self._gamma: GrossLimit | None = None
        self._ratio: RatioLimit | None = None
        self._neutron: NeutronLimit | None = None
        self._sequential: sprt.SprtConfig | None = None
        self._refusals = dict.fromkeys(sorted(channels), "no_background")
        """Why there is no limit of a channel, where there is none."""
        self._doubts: dict[str, tuple[str, ...]] = {}
        """What speaks against a background that was taken."""
        self._setup: tuple[float, int, str] | None = None
        """The device's own nsigma, intervals and algorithm."""
        self._outdated = False
        """What was learnt is not what the device counts now; forgotten when no vehicle is judged by it."""
        self._run: _Run | None = None

    # --- what is known without a vehicle --------------------------------------------------------

    def setup(self, nsigma: float, intervals: int, algorithm: str) -> None:
        """Take what the device says of its own rule."""
        self._setup = (nsigma, intervals, algorithm) if nsigma > 0 and intervals > 0 else None

    def forget(self) -> None:
        """Learn the background anew: the device counts by another set-up, or has begun anew.

        A vehicle that is being judged keeps the limits that it came with, and is not plainly clear by them.
        """
        self._outdated = True
        self._forget()

    def _forget(self) -> None:
        if not self._outdated or self._run is not None:
            return
        self._outdated = False
        for channel, background in self._background.items():
            background.forget()
            self._renew(channel, None)

    def background(
        self,
        channel: str,
        mono_ns: int,
        counts: tuple[int | None, ...],
        windows: tuple[int | None, int | None] | None = None,
        interval_s: float = 1.0,
    ) -> str | None:
        """Offer a background record (counts per interval and detector); return why it was refused."""
        known = self._background.get(channel)
        if known is None:
            return "not_fitted"
        self._forget()
        if windows is not None:
            self.background("windows", mono_ns, windows, interval_s=interval_s)
        refused = known.offer(mono_ns, counts, interval_s)
        if refused is None:
            self._renew(channel, known.estimate())
        return refused

    def take_background(
        self, channel: str, counted: BackgroundEstimate, doubts: tuple[str, ...] = ()
    ) -> None:
        """Take a background that somebody else has counted, in place of records, and ``doubts`` about it."""
        if (known := self._background.get(channel)) is not None:
            known.take(counted)
            self._doubts[channel] = doubts
            self._renew(channel, counted)

    def _renew(self, channel: str, estimate: BackgroundEstimate | None) -> None:
        self._refusals[channel] = "background_too_low" if estimate else "no_background"
        if estimate is not None and estimate.total_cps > MOST_CPS[channel]:
            self._refusals[channel], estimate = "background_too_high", None
        if channel == "gamma":
            self._gamma = self._threshold.limit(estimate) if estimate else None
            return
        if channel == "windows":
            self._ratio = RatioLimit.of(estimate, self._config) if estimate else None
            if estimate is not None and estimate.cps[0] < estimate.cps[1]:
                self._refusals[channel] = "windows_unequal"
            return
        self._neutron = self._sequential = None
        if estimate is not None:
            p, records = self._neutron_design
            self._neutron = NeutronLimit.of(estimate, NEUTRON_RECORD_S, p / records)
            counted = round(estimate.total_cps * estimate.counting_s)
            self._sequential = sprt.calibrated(counted, estimate.counting_s, records, p, NEUTRON_RECORD_S)

    def limit(self, channel: str) -> int | None:
        """Return the station's limit: gamma counts per window (alarm above), neutron counts (alarm at)."""
        limit = self._gamma if channel == "gamma" else self._neutron
        return limit.limit if limit else None

    def background_cps(self, channel: str) -> float | None:
        """Return the background rate of all detectors together, if known."""
        estimate = self._estimate(channel)
        return estimate.total_cps if estimate else None

    def _estimate(self, channel: str) -> BackgroundEstimate | None:
        known = self._background.get(channel)
        return known.estimate() if known else None

    # --- one vehicle ----------------------------------------------------------------------------

    def open(self, mono_ns: int) -> None:
        """A vehicle is there: freeze the background and begin to test."""
        self._forget()
        for background in self._background.values():
            background.freeze()
        self._run = run = _Run(mono_ns, suppression=Suppression(self._config.interval_s))
        run.gross = GrossRun(self._config, self._gamma) if self._gamma else None
        run.ratio = RatioRun(self._config, self._ratio) if self._ratio else None
        run.neutron = NeutronRun(self._neutron) if self._neutron else None
        run.sequential = sprt.SprtRun(self._sequential, *self._neutron_design) if self._sequential else None
        estimate = self._estimate("gamma")
        if estimate and estimate.total_cps <= MOST_CPS["gamma"] and self._setup and self._setup[2] in SUM:
            nsigma, intervals, _ = self._setup
            config = replace(self._config, window_intervals=intervals, tests=1)
            limit = replica_limit(estimate, nsigma, config.window_s)
            run.replica = GrossRun(config, limit, REPLICA) if limit else None

    def scan(
        self,
        channel: str,
        mono_ns: int,
        counts: tuple[int | None, ...],
        interval_s: float,
        windows: tuple[int | None, int | None] | None = None,
    ) -> Verdict | None:
        """Take one scan record, one number per panel; return a calibrated test's first crossing, at once."""
        run = self._run
        if run is None or channel not in self._background or channel in run.unfit:
            return None
        if abs(interval_s - (self._config.interval_s if channel == "gamma" else NEUTRON_RECORD_S)) > 1e-3:
            run.unfit[channel] = "interval"
            return None
        present = [count for count in counts if count is not None]
        total = sum(present) if present and len(present) == len(counts) else None
        t_s = (mono_ns - run.opened_ns) / 1e9
        if channel == "gamma":
            run.suppression.push(total)
            if run.replica:
                run.replica.push(total, t_s)
            crossed: list[Run | None] = [
                run.gross if run.gross and run.gross.push(total, t_s) else None,
                run.ratio if run.ratio and run.ratio.push(windows, t_s) else None,
            ]
        else:
            crossed = [
                run.neutron if run.neutron and run.neutron.push(counts, t_s) else None,
                run.sequential if run.sequential and run.sequential.push(total, t_s) else None,
            ]
        first = next(filter(None, crossed), None)
        return first.verdict(notes=self._notes(channel)) if first else None

    def gap(self, channel: str) -> None:
        """Records are missing: no window may reach over them."""
        run = self._run
        if run is None:
            return
        if channel == "gamma":
            run.suppression.gap()
        for test in (run.gross, run.replica, run.ratio, run.neutron, run.sequential):
            if test and test.CHANNEL == channel:
                test.gap()

    def close(self, mono_ns: int, *, scanner_active: bool) -> OpinionResult:
        """Return the verdicts and let the background go on after its guard time."""
        run, self._run = self._run or _Run(mono_ns), None
        gamma, neutrons = self._estimate("gamma"), self._estimate("neutron")
        suppression = run.suppression.of(gamma.total_cps) if gamma else None
        s50 = None
        if suppression is not None and self._gamma is not None:
            s50 = half_detected(self._gamma.background, self._gamma.k, suppression)
        result = OpinionResult(
            verdicts=(),
            gamma_background=gamma,
            neutron_background=neutrons,
            gamma_limit=self.limit("gamma"),
            neutron_limit=self.limit("neutron"),
            suppression=suppression,
            suppression_limit=(
                null_limit(gamma.total_cps, gamma.counting_s, run.suppression.intervals) if gamma else None
            ),
            s50=s50,
        )
        told = {"scanner_active": scanner_active, "setup_changed": self._outdated}
        common = tuple(doubt for doubt, stands in told.items() if stands)
        verdicts: list[Verdict] = []
        if "gamma" in self._background:
            doubts = (*common, *self._poor(run, "gamma"), *self._hidden(suppression, s50))
            why = self._refusals["gamma"]
            verdicts.append(self._answer(run, "gamma", run.gross, gross.ALGORITHM, why, doubts))
            if self._setup:
                why = why if self._setup[2] in SUM else "algorithm"
                verdicts.append(self._answer(run, "gamma", run.replica, REPLICA, why, common))
        if "windows" in self._background:
            doubts = (*common, *self._poor(run, "windows"))  # what shields takes from both windows alike
            why = self._refusals["windows"]
            verdicts.append(self._answer(run, "gamma", run.ratio, windows.ALGORITHM, why, doubts))
        if "neutron" in self._background:
            doubts = (*common, *self._poor(run, "neutron"))
            for test, name in ((run.neutron, neutron.ALGORITHM), (run.sequential, sprt.ALGORITHM)):
                verdicts.append(self._answer(run, "neutron", test, name, self._refusals["neutron"], doubts))
        for background in self._background.values():
            background.thaw(mono_ns)
        return replace(result, verdicts=tuple(verdicts))

    def _answer(
        self,
        run: _Run,
        channel: str,
        test: Run | None,
        algorithm: str,
        refusal: str,
        doubts: tuple[str, ...],
    ) -> Verdict:
        unfit = run.unfit.get(channel)
        if test is None or (unfit and not test.alarmed):
            return Verdict(algorithm, Run.VERSION, channel, reason=unfit or refusal)
        return test.verdict(doubts, self._notes(channel))

    def _poor(self, run: _Run, channel: str) -> tuple[str, ...]:
        """Return what speaks against a channel's background."""
        estimate, taken = self._estimate(channel), self._doubts.get(channel, ())
        old = estimate is not None and run.opened_ns - estimate.newest_ns > self._rules.old_s * 1e9
        return (*taken, "background_old") if old else taken

    def _hidden(self, suppression: float | None, s50: float | None) -> tuple[str, ...]:
        """Return what keeps a source of interest from being seen."""
        if suppression is None or s50 is None:
            return ()
        doubts = ("suppression",) if suppression >= STRONG else ()
        blind = self._s50_max is not None and s50 > self._s50_max
        return (*doubts, "s50") if blind else doubts

    def _notes(self, channel: str) -> tuple[str, ...]:
        estimate = self._estimate(channel)
        return ("background_short",) if estimate and estimate.records < self._rules.records else ()


def device_rule(values: Mapping[str, float | str]) -> tuple[float, int, str] | None:
    """Return nsigma, intervals and algorithm of a portal's set-up, as far as it has told them."""
    nsigma, intervals = values.get("nsigma"), values.get("intervals")
    if not isinstance(nsigma, float) or not isinstance(intervals, float) or not math.isfinite(nsigma):
        return None
    return nsigma, int(intervals), str(values.get("algorithm", ""))
