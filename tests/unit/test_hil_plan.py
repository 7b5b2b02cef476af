"""Plans of the bench: what a file may say, and that phases run, stop, repeat and tear down as it says."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from hil.measure import Limits, Outcome, judge
from hil.plan import Head, Phase, Plan, PlanError, load_plan, shipped_plans
from hil.run import Result, Run, execute
from hil.steps.library import Bench, Gives, NoArgs, Put, Step, StepError
from station import plugins
from station.lanefile import load_lane, shipped

TEXT = """
[plan]
id = "small"
version = 1
title = { en = "Small", es = "Pequeño" }
target = "device"
timeout_s = 10

[[main]]
id = "travel"
use = "io.barrier_travel"
measure = [{ name = "up_s", unit = "s", max = 3.0 }]
"""


def written(tmp_path: Path, *changes: tuple[str, str]) -> str:
    text = TEXT
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "small.toml").write_text(text)
    return str(tmp_path / "small.toml")


def test_shipped_plans_are_valid_and_named_after_themselves() -> None:
    assert {plan.head.id: load_plan(plan.head.id) for plan in shipped_plans()}.keys() == {"io", "lane_full"}


def test_a_small_plan_is_read(tmp_path: Path) -> None:
    plan = load_plan(written(tmp_path))
    assert (plan.head.id, plan.main[0].id, plan.main[0].measure[0].max) == ("small", "travel", 3.0)
    assert len(plan.sha256) == 64


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('id = "travel"', 'id = "travel"\nrunif = "x"', "main.0.runif"),
        ("io.barrier_travel", "io.bariertravel", "did you mean io.barrier_travel?"),
        ("up_s", "upp_s", "did you mean up_s?"),
        ('unit = "s"', 'unit = "ms"', "measured in 's', not in 'ms'"),
        (", max = 3.0", "", "exactly one rule"),
        ("timeout_s = 10", "timeout_s = -1", "plan.timeout_s"),
        ("version = 1", 'version = "1"', "plan.version"),
        ("[plan]", "[plan", "no TOML"),
        (
            'id = "travel"',
            'id = "travel"\nargs = { x = "__import__(\'os\')" }',
            "main.0: args: x: Extra inputs",
        ),
        ("[[main]]", "[[teardown]]", "main"),
    ],
)
def test_a_wrong_plan_is_refused_with_a_sentence(tmp_path: Path, before: str, after: str, told: str) -> None:
    with pytest.raises(PlanError, match=r"--plan") as refused:
        load_plan(written(tmp_path, (before, after)))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ["a = " + "[" * 50_000, "\udcff", ""])
def test_whatever_is_in_the_file_the_answer_is_one_sentence_with_its_path(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "odd.toml"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(PlanError) as refused:
        load_plan(str(path))
    assert str(refused.value).startswith(f"--plan {path}: ")
    assert "\n" not in str(refused.value)


def test_claims_about_many_trials_are_refused_until_they_can_be_proved(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"main\.0\.trials: Extra inputs"):
        load_plan(written(tmp_path, ('id = "travel"', 'id = "travel"\ntrials = { n = 60, k = 58 }')))


def test_an_unknown_plan_names_its_neighbour() -> None:
    with pytest.raises(PlanError, match="did you mean lane_full"):
        load_plan("lane_ful")
    with pytest.raises(PlanError, match="cannot be read"):
        load_plan("nowhere.toml")


# --- running --------------------------------------------------------------------------------------


class Stage:
    """Steps that do what a test tells them, and the order in which they were called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.called: list[str] = []
        self.tries = 0
        gives = {"v": Gives("1", "cause", "advice")}
        does = (self.good, self.bad, self.breaks, self.hangs, self.third, self.signals)
        known = {f"t.{do.__name__}": Step(NoArgs, gives, do) for do in does}
        monkeypatch.setattr("hil.plan.library", lambda: known)

    async def good(self, bench: Bench, args: Any, put: Put) -> None:
        self.called.append("good")
        put("v", 1)

    async def bad(self, bench: Bench, args: Any, put: Put) -> None:
        self.called.append("bad")
        put("v", 2)

    async def breaks(self, bench: Bench, args: Any, put: Put) -> None:
        put("v", 1)
        raise StepError("the board is gone")

    async def hangs(self, bench: Bench, args: Any, put: Put) -> None:
        put("v", 1)
        await asyncio.sleep(3600)

    async def third(self, bench: Bench, args: Any, put: Put) -> None:
        self.tries += 1
        put("v", int(self.tries == 3))

    async def signals(self, bench: Bench, args: Any, put: Put) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(3600)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def phase(name: str, do: str, **more: Any) -> Phase:
    one = Limits(name="v", unit="1", equals=1)
    return Phase.model_validate({"id": name, "use": f"t.{do}", "measure": (one,), **more})


async def ran(tmp_path: Path, *main: Phase, setup: tuple[Phase, ...] = (), timeout_s: float = 30) -> Run:
    head = Head.model_validate(
        {"id": "p", "version": 1, "title": {"en": "p", "es": "p"}, "target": "lane", "timeout_s": timeout_s}
    )
    plan = Plan(head, setup, main, (phase("end", "good"),), "0" * 64)
    return await execute(plan, Bench(load_lane(shipped("lanes", "demo"), plugins.find), tmp_path))


def results(run: Run) -> list[str]:
    return [str(one.result) for one in run.phases]


async def test_after_a_failure_the_other_phases_go_on(stage: Stage, tmp_path: Path) -> None:
    run = await ran(tmp_path, phase("a", "bad"), phase("b", "good"))
    assert (run.result, results(run)) == (Result.FAIL, ["FAIL", "PASS", "PASS"])


async def test_on_fail_stop_skips_the_rest_but_not_the_teardown(stage: Stage, tmp_path: Path) -> None:
    run = await ran(tmp_path, phase("a", "bad", on_fail="stop"), phase("b", "good"))
    assert results(run) == ["FAIL", "SKIP", "PASS"]
    assert run.phases[1].measurements[0].outcome is Outcome.SKIPPED


async def test_a_setup_that_fails_skips_main(stage: Stage, tmp_path: Path) -> None:
    run = await ran(tmp_path, phase("b", "good"), setup=(phase("a", "breaks"),))
    assert (run.result, results(run)) == (Result.ERROR, ["ERROR", "SKIP", "PASS"])


async def test_what_was_measured_before_an_error_is_kept(stage: Stage, tmp_path: Path) -> None:
    attempt = (await ran(tmp_path, phase("a", "breaks"))).phases[0].attempts[0]
    assert (attempt.measurements[0].value, attempt.error) == (1, "the board is gone")


async def test_a_phase_is_repeated_until_it_passes_and_every_attempt_is_kept(
    stage: Stage, tmp_path: Path
) -> None:
    run = await ran(tmp_path, phase("a", "third", repeat={"max": 5, "on": "fail"}))
    assert [str(one.result) for one in run.phases[0].attempts] == ["FAIL", "FAIL", "PASS"]
    assert run.result is Result.PASS


async def test_a_failure_is_not_repeated_as_an_error(stage: Stage, tmp_path: Path) -> None:
    run = await ran(tmp_path, phase("a", "bad", repeat={"max": 5, "on": "error"}))
    assert len(run.phases[0].attempts) == 1


async def test_time_outs_of_phase_and_plan(stage: Stage, tmp_path: Path) -> None:
    run = await ran(tmp_path, phase("a", "hangs", timeout_s=0.05), phase("b", "good"))
    assert (run.result, results(run)) == (Result.TIMEOUT, ["TIMEOUT", "PASS", "PASS"])
    run = await ran(tmp_path, phase("a", "hangs"), phase("b", "good"), timeout_s=0.05)
    assert (run.result, results(run)) == (Result.TIMEOUT, ["ABORTED", "SKIP", "PASS"])


async def test_a_broken_engine_is_an_error_and_never_a_pass(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter([True])

    def broken(*args: Any) -> Any:
        if next(calls, False):
            raise KeyError("a bug")
        return judge(*args)

    monkeypatch.setattr("hil.run.judge", broken)
    run = await ran(tmp_path, phase("a", "good"), phase("b", "good"))
    assert (run.result, results(run)) == (Result.ERROR, ["SKIP", "SKIP", "PASS"])
    assert "the bench itself is broken: KeyError: 'a bug'" in run.details[0][1]


async def test_sigterm_aborts_and_tears_down(stage: Stage, tmp_path: Path) -> None:
    run = await ran(tmp_path, phase("a", "signals"), phase("b", "good"))
    assert (run.result, results(run)) == (Result.ABORTED, ["ABORTED", "SKIP", "PASS"])
    assert run.details == [("aborted", "ended by SIGTERM")]


async def test_what_a_step_opened_is_closed_even_when_closing_fails(stage: Stage, tmp_path: Path) -> None:
    plan = Plan(
        Head.model_validate(
            {"id": "p", "version": 1, "title": {"en": "p", "es": "p"}, "target": "lane", "timeout_s": 5}
        ),
        (), (phase("a", "good"),), (), "0" * 64,
    )  # fmt: skip
    bench = Bench(load_lane(shipped("lanes", "demo"), plugins.find), tmp_path)
    closed: list[str] = []
    bench.stack.callback(closed.append, "first")
    bench.stack.callback(lambda: 1 / 0)
    run = await execute(plan, bench)
    assert closed == ["first"]
    assert (run.result, run.details[0][0]) == (Result.ERROR, "close")
