"""The engine: set-up, main phases with their attempts, and teardown, which runs whatever happened."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass, field
from enum import StrEnum

from drivers.api import Stamp
from hil.measure import Measured, Measurement, Outcome, judge
from hil.plan import Phase, Plan
from hil.steps.library import Bench, StepError
from station.runtime.clock import SystemClock

log = logging.getLogger("carril.hil")
CLOSE_LIMIT_S = 10.0


class Result(StrEnum):
    """What became of a phase, an attempt or a run."""

    PASS = "PASS"  # noqa: S105 - a verdict, no password
    FAIL = "FAIL"
    SKIP = "SKIP"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    ABORTED = "ABORTED"


@dataclass(slots=True)
class Attempt:
    """One try of a phase."""

    started: Stamp
    ended: Stamp
    result: Result
    measurements: tuple[Measurement, ...]
    error: str | None = None


@dataclass(slots=True)
class PhaseRun:
    """One phase and all its attempts; the last one counts."""

    part: str
    phase: Phase
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def result(self) -> Result:
        """What became of it."""
        return self.attempts[-1].result if self.attempts else Result.SKIP

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The measurements that count."""
        if self.attempts:
            return self.attempts[-1].measurements
        return tuple(Measurement(limits, None, Outcome.SKIPPED) for limits in self.phase.measure)


@dataclass(slots=True)
class Run:
    """One run of a plan."""

    plan: Plan
    started: Stamp
    ended: Stamp
    phases: list[PhaseRun]
    result: Result = Result.ABORTED
    details: list[tuple[str, str]] = field(default_factory=list)
    """Code and sentence of what no phase can tell."""


async def execute(plan: Plan, bench: Bench) -> Run:
    """Run a plan; SIGINT and SIGTERM end it early, and teardown runs in every case."""
    clock = SystemClock()
    parts = (("setup", plan.setup), ("main", plan.main), ("teardown", plan.teardown))
    run = Run(plan, clock.stamp(), clock.stamp(), [PhaseRun(part, p) for part, ps in parts for p in ps])
    work = asyncio.create_task(_work(run, bench, clock))
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for signum in signals:
        loop.add_signal_handler(signum, _abort, run, work, signum)
    try:
        _, late = await asyncio.wait({work}, timeout=plan.head.timeout_s)
        if late:
            run.details.append(("timeout", f"the plan took longer than its {plan.head.timeout_s:g} s"))
            work.cancel()
        (ended,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(ended, Exception):
            log.error("the engine broke", exc_info=ended)
            run.details.append(("engine", f"the bench itself is broken: {_sentence(ended)}; see run.log"))
        for phase_run in (one for one in run.phases if one.part == "teardown"):
            await _phase(phase_run, bench, clock)
        await _close(run, bench)
    finally:
        for signum in signals:
            loop.remove_signal_handler(signum)
    run.ended, run.result = clock.stamp(), _verdict(run)
    return run


def _abort(run: Run, work: asyncio.Task[None], signum: int) -> None:
    """End the work once; a second signal must not stop the teardown."""
    if not any(code == "aborted" for code, _ in run.details):
        run.details.append(("aborted", f"ended by {signal.Signals(signum).name}"))
        work.cancel()


async def _close(run: Run, bench: Bench) -> None:
    try:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await bench.stack.aclose()
    except Exception as error:
        log.exception("closing the bench failed")
        run.details.append(("close", f"closing the bench failed: {_sentence(error)}"))


def _verdict(run: Run) -> Result:
    codes = {code for code, _ in run.details}
    results = {phase.result for phase in run.phases}
    if "aborted" in codes:
        return Result.ABORTED
    if "timeout" in codes or Result.TIMEOUT in results:
        return Result.TIMEOUT
    if codes & {"close", "engine"} or Result.ERROR in results:
        return Result.ERROR
    return Result.FAIL if Result.FAIL in results else Result.PASS


async def _work(run: Run, bench: Bench, clock: SystemClock) -> None:
    """Do set-up and main; a set-up that does not pass, or ``on_fail = "stop"``, skips what follows."""
    for phase_run in (one for one in run.phases if one.part != "teardown"):
        await _phase(phase_run, bench, clock)
        stops = phase_run.part == "setup" or phase_run.phase.on_fail == "stop"
        if stops and phase_run.result is not Result.PASS:
            return


async def _phase(phase_run: PhaseRun, bench: Bench, clock: SystemClock) -> None:
    repeat = phase_run.phase.repeat
    for _ in range(repeat.max if repeat else 1):
        await _attempt(phase_run, bench, clock)
        again = {Result.ERROR, Result.TIMEOUT} | ({Result.FAIL} if repeat and repeat.on == "fail" else set())
        if phase_run.result not in again:
            return


async def _attempt(phase_run: PhaseRun, bench: Bench, clock: SystemClock) -> None:
    """Try once; whatever happens, the attempt and what it measured until then are kept."""
    phase, started = phase_run.phase, clock.stamp()
    values: dict[str, Measured] = {}
    result: Result | None = Result.ABORTED
    error: str | None = None
    try:
        async with asyncio.timeout(phase.timeout_s) as limit:
            await phase.step.do(bench, phase.step.args.model_validate(phase.args), values.__setitem__)
        result = None
    except Exception as caught:
        if isinstance(caught, TimeoutError) and limit.expired():
            result, error = Result.TIMEOUT, f"it took longer than its {phase.timeout_s:g} s"
        else:
            result, error = Result.ERROR, _sentence(caught)
            if not isinstance(caught, StepError):
                log.exception("phase %s failed", phase.id)
    finally:
        judged = tuple(judge(limits, values.get(limits.name)) for limits in phase.measure)
        if result is None:
            result = Result.PASS if all(one.ok for one in judged) else Result.FAIL
        phase_run.attempts.append(Attempt(started, clock.stamp(), result, judged, error))


def _sentence(error: BaseException) -> str:
    return str(error) if isinstance(error, StepError) else f"{type(error).__name__}: {error}"
