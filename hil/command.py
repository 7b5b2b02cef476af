"""``carril hil list`` and ``carril hil run``: prove that a lane, or one device of it, works."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from station.cli.errors import UserError
from station.cli.lanes import add_lane_argument, read_lane
from station.cli.state import state_folder

PASSED, FAILED, BROKEN, ABORTED, REFUSED = range(5)
EXITS = {"PASS": PASSED, "FAIL": FAILED, "ERROR": BROKEN, "TIMEOUT": BROKEN, "ABORTED": ABORTED}

LOG_FILE = "run.log"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "hil",
        help="prove on the bench that a lane or a device works",
        epilog="exit code: 0 passed, 1 failed, 2 error or timeout, 3 aborted, 4 refused",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    actions.add_parser("list", help="print the plans that are shipped").set_defaults(command=_list)
    run = actions.add_parser("run", help="run a plan")
    run.add_argument("--plan", required=True, metavar="NAME|FILE", help="a shipped plan, or a file (.toml)")
    run.add_argument("--bench", action="store_true", required=True, help="without a daemon, on a bench")
    add_lane_argument(run)
    run.add_argument("--state", type=state_folder, metavar="DIR", help="state folder of the bench")
    run.add_argument("--out", type=Path, metavar="DIR", help="where run.json and junit.xml are written")
    run.set_defaults(command=_run)


def _list(_: argparse.Namespace) -> int:
    from hil.plan import shipped_plans

    for plan in shipped_plans():
        print(f"{plan.head.id:<12}v{plan.head.version}  {plan.head.target:<8}{plan.head.title.en}")
    return PASSED


def _run(arguments: argparse.Namespace) -> int:
    from uuid6 import uuid7

    from hil.plan import PlanError, load_plan
    from hil.report import printout, record_of, write_reports
    from hil.run import execute
    from hil.steps.library import Bench

    try:
        plan = load_plan(arguments.plan)
    except PlanError as error:
        raise UserError(str(error)) from error
    lane_file = read_lane(arguments.lane)
    state = (arguments.state or _state_home()).absolute()
    run_id = str(uuid7())
    out = (arguments.out or state / "runs" / run_id).absolute()
    with _locked(state):
        with _writing(out):
            out.mkdir(parents=True, exist_ok=True)
            logging.basicConfig(filename=out / LOG_FILE, filemode="w", format=LOG_FORMAT)
        run = asyncio.run(execute(plan, Bench(lane_file, out)))
        record = record_of(run_id, run, lane_file)
        _print(printout(record))
        with _writing(out):
            write_reports(record, out)
    here = Path.cwd()
    _print(f"reports in {out.relative_to(here) if out.is_relative_to(here) else out}")
    return EXITS[run.result]


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror or error}") from error


def _print(text: str) -> None:
    """Print whatever the terminal: what it cannot show, or its going away, must not cost the reports."""
    coding = sys.stdout.encoding or "utf-8"
    with contextlib.suppress(BrokenPipeError):
        print(text.encode(coding, "backslashreplace").decode(coding), flush=True)


def _state_home() -> Path:
    from platformdirs import user_state_path

    return user_state_path("carril") / "bench"


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Hold the state folder's lock, the same that a running station holds."""
    from station.store.errors import StateLocked, StoreUnavailable
    from station.store.open import lock_state

    try:
        unlock = lock_state(state)
    except StateLocked as error:
        raise UserError(str(error), REFUSED) from error
    except StoreUnavailable as error:
        raise UserError(str(error)) from error
    try:
        yield
    finally:
        unlock()
