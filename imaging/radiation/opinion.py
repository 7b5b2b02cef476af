"""The station's second opinion on one portal: background, limits and verdicts of every algorithm together.

It is recorded beside the device's own alarm, which is authoritative, and never suppresses it.
"""

from __future__ import annotations

from imaging.radiation.background import Background, BackgroundRules
from imaging.radiation.gross import GrossConfig, GrossLimit, GrossRun, GrossThreshold, not_possible
from imaging.radiation.neutron import predictive_limit
from imaging.radiation.verdict import OpinionResult, Verdict

NEUTRON_RECORD_S = 1.0


class StationOpinion:
    """Calibrated k-sigma on gamma counts, and a limit for neutron counts to draw.

    Channels are ``gamma`` and ``neutron``; times are monotonic nanoseconds.
    """

    def __init__(self, gross: GrossConfig | None = None, rules: BackgroundRules | None = None) -> None:
        self._config = gross or GrossConfig()
        self._rules = rules or BackgroundRules()
        self._background = {"gamma": Background(self._rules), "neutron": Background(self._rules)}
        self._threshold = GrossThreshold(self._config)
        self._gamma: GrossLimit | None = None
        self._neutron: int | None = None
        self._run: GrossRun | None = None
        self._refusal = "no_background"
        """Why there is no limit yet."""
        self._unfit = ""
        """Why this occupancy cannot be judged, although there is a limit."""
        self._opened_ns = 0

    def background(self, channel: str, mono_ns: int, counts: tuple[int | None, ...]) -> str | None:
        """Offer a background record (counts per second and detector); return why it was refused."""
        refused = self._background[channel].offer(mono_ns, counts)
        if refused is None:
            self._renew(channel)
        return refused

    def _renew(self, channel: str) -> None:
        estimate = self._background[channel].estimate()
        if channel == "gamma":
            self._gamma = self._threshold.limit(estimate) if estimate else None
            self._refusal = "background_too_low" if estimate else "no_background"
        elif estimate is None:
            self._neutron = None
        else:
            counted = round(estimate.total_cps * estimate.counting_s)
            records = max(1, round(self._config.design_s / NEUTRON_RECORD_S))
            p = self._config.p_occupancy / records
            self._neutron = predictive_limit(counted, estimate.counting_s, NEUTRON_RECORD_S, p)

    def limit(self, channel: str) -> int | None:
        """Return the station's limit: gamma counts per window (alarm above), neutron counts (alarm at)."""
        if channel == "gamma":
            return self._gamma.limit if self._gamma else None
        return self._neutron

    def background_cps(self, channel: str) -> float | None:
        """Return the background rate of all detectors together, if known."""
        estimate = self._background[channel].estimate()
        return estimate.total_cps if estimate else None

    def open(self, mono_ns: int) -> None:
        """A vehicle is there: freeze the background and begin to test."""
        for background in self._background.values():
            background.freeze()
        self._opened_ns, self._unfit = mono_ns, ""
        self._run = GrossRun(self._config, self._gamma) if self._gamma else None

    def scan(self, channel: str, mono_ns: int, total: int | None, interval_s: float) -> Verdict | None:
        """Take one scan record; return a verdict at the first crossing, at once."""
        if channel != "gamma" or self._run is None or self._unfit:
            return None
        if abs(interval_s - self._config.interval_s) > 1e-3:
            self._unfit = "interval"
            return None
        if not self._run.push(total, (mono_ns - self._opened_ns) / 1e9):
            return None
        return self._run.verdict(notes=self._notes())

    def gap(self, channel: str) -> None:
        """Records are missing: no window may reach over them."""
        if channel == "gamma" and self._run is not None:
            self._run.break_window()

    def close(self, mono_ns: int, *, scanner_active: bool) -> OpinionResult:
        """Return the verdicts and let the background go on after its guard time."""
        doubts = ("scanner_active",) if scanner_active else ()
        gamma = self._background["gamma"].estimate()
        if gamma and self._opened_ns - gamma.newest_ns > self._rules.old_s * 1e9:
            doubts = (*doubts, "background_old")
        if self._run is None or (self._unfit and not self._run.alarmed):
            verdict = not_possible(self._unfit or self._refusal)
        else:
            verdict = self._run.verdict(doubts, self._notes())
        self._run = None
        for background in self._background.values():
            background.thaw(mono_ns)
        return OpinionResult(
            verdicts=(verdict,),
            gamma_background=gamma,
            neutron_background=self._background["neutron"].estimate(),
            gamma_limit=self._gamma.limit if self._gamma else None,
            neutron_limit=self._neutron,
        )

    def _notes(self) -> tuple[str, ...]:
        gamma = self._background["gamma"].estimate()
        return ("background_short",) if gamma and gamma.records < self._rules.records else ()
