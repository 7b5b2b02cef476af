"""A legal hold that comes after its vehicle: what the journal has of it is held, told, and let go again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from station.store import past_holds
from station.store.draft import Draft
from station.store.journal import Store
from station.store.verify import verify
from tests.support.directives import SIG, terms
from tests.support.epochs import salvage_ends, sql
from tests.support.journal import draft, open_small
from tests.support.trimming import ack, fill, opening, rest, stored, within

PLATE = "R4K 7719"
LEGAL = {"hold_kind": "legal", "authority": "Court", "keys": {"plate": "r4k-7719"}, "action": "notify"}


def told(change: str, version: int = 1, **data: Any) -> Draft:
    known = {"directive_id": "H-1", "directive_version": version}
    return draft("H-1", type=f"carril.directive.{change}", **known, **data)


def armed(version: int = 1, **change: Any) -> list[Draft]:
    body = {**LEGAL, **change}
    sent = {**terms("hold", version, body=body), "id": "H-1"}
    digest = hashlib.sha256(rfc8785.dumps(sent)).hexdigest()
    values = {"kind": "hold", "issuer": sent["issuer"], "valid_from_us": 0, "valid_to_us": 2**52}
    stamp = {"utc_us": 1, "clock": "unknown"}
    received = told("received", version, sha256=digest, envelope={**sent, "sig": SIG}, stamp=stamp, **values)
    return [received, told("armed", version)]


def passed(store: Store, *names: str, plate: str = PLATE) -> None:
    """Vehicles of this plate that have come and gone."""
    identity = {"plate": {"text": plate}}
    for name in names:
        sealed = draft(name, type="carril.inspection.sealed", inspection_id=name, identity=identity)
        store.append_soon([sealed]).result(10)


def holds(store: Store) -> list[str]:
    return sorted(stored(store, "SELECT subject FROM legal_hold WHERE directive = 'H-1'"))


def tellings(store: Store) -> list[dict[str, Any]]:
    """Data of the records that tell what is held."""
    query = "SELECT body FROM record WHERE type = 'carril.directive.held' ORDER BY seq"
    return [json.loads(body)["data"] for body in stored(store, query)]


def complete(store: Store) -> bool:
    return bool(found := tellings(store)) and found[-1]["next_before_seq"] is None


@pytest.mark.usefixtures("impatient")
def test_what_has_passed_is_held_told_and_let_go(opened: list[Store], tmp_path: Path) -> None:
    store = opening(opened, tmp_path)
    passed(store, "i1", "i2")
    passed(store, "other", plate="HKV 9053")
    store.append_soon(armed()).result(10)
    within(5, lambda: complete(store))
    (found,) = tellings(store)
    assert found["inspections"] == ["i2", "i1"]
    assert (found["history_from_seq"], found["directive_version"]) == (1, 1)
    assert found["history_from_us"] > 0
    assert holds(store) == ["i1", "i2"]
    for _ in range(10):
        ack(store, fill(store, 100))
    within(5, lambda: 3 not in stored(store))
    assert stored(store)[:2] == [1, 2], "what is held stays, the other vehicle goes"
    store.append_soon([told("closed", 2, how="withdrawn")]).result(10)
    assert holds(store) == []
    for _ in range(5):
        ack(store, fill(store, 100))
    within(5, lambda: min(stored(store)) > 2)
    store.append_soon(armed(3)).result(10)
    within(5, lambda: len(tellings(store)) == 1 and complete(store))
    (late,) = tellings(store)
    assert late["inspections"] == []
    assert late["history_from_seq"] > 4, "it says what it could not hold any more"


def test_it_goes_on_where_a_restart_found_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_holds, "STEP", 2)
    state = tmp_path / "state"
    store = open_small(state)
    passed(store, *(f"i{n}" for n in range(5)))
    monkeypatch.setattr(past_holds.PastHolds, "next", one_step(past_holds.PastHolds.next))
    store.append_soon(armed()).result(10)
    within(5, lambda: len(tellings(store)) == 1)
    store.close()
    monkeypatch.undo()
    monkeypatch.setattr(past_holds, "STEP", 2)
    store = open_small(state)
    within(5, lambda: complete(store))
    assert [each["inspections"] for each in tellings(store)] == [["i4", "i3"], ["i2", "i1"], ["i0"]]
    assert len(holds(store)) == 5
    store.close()
    store = open_small(state)
    rest(store)
    assert len(tellings(store)) == 3, "what is complete is not told again"
    store.append_soon(armed(2)).result(10)
    within(5, lambda: tellings(store)[-1]["directive_version"] == 2 and complete(store))
    store.close()
    assert verify(state).ok


def one_step(step: Any) -> Any:
    """The chore, until it has done something."""
    done: list[object] = []

    def once(self: Any, journal: Any, *, idle: bool) -> Any:
        op = None if done else step(self, journal, idle=idle)
        done.extend([op] if op else [])
        return op

    return once


@pytest.mark.parametrize("table", ["kept", "lost"])
def test_a_new_epoch_holds_the_same(tmp_path: Path, table: str) -> None:
    state = tmp_path / "state"
    store = open_small(state)
    passed(store, "i1", "i2")
    store.append_soon(armed()).result(10)
    within(5, lambda: complete(store))
    ack(store, fill(store, 600, size=10))
    store.close()
    if table == "lost":
        sql(state, "DROP TABLE legal_hold")
    (state / "mark.bin").unlink()
    store = open_small(state)
    salvage_ends(store, 1)
    assert holds(store) == ["i1", "i2"]
    rest(store)
    assert tellings(store) == [], "it was complete in the epoch before"
    store.append_soon([told("closed", 2, how="withdrawn")]).result(10)
    assert holds(store) == []
    store.close()


def test_a_plate_is_compared_as_in_the_lane(tmp_path: Path) -> None:
    """O and Q are 0, I is 1."""
    store = open_small(tmp_path / "state")
    passed(store, "i1", plate="AB 1O0")
    store.append_soon(armed(keys={"plate": "ABIQO"})).result(10)
    within(5, lambda: complete(store))
    assert holds(store) == ["i1"]
    store.close()


def test_one_that_is_spent_at_once_holds_what_has_passed_too(tmp_path: Path) -> None:
    state = tmp_path / "state"
    store = open_small(state)
    passed(store, "i1")
    store.append_soon([*armed(once=True), told("spent")]).result(10)
    within(5, lambda: complete(store))
    ack(store, fill(store, 600, size=10))
    store.close()
    (state / "mark.bin").unlink()
    store = open_small(state)
    salvage_ends(store, 1)
    assert stored(store, "SELECT state FROM directive") == ["spent"]
    assert holds(store) == ["i1"]
    store.append_soon([told("closed", how="expired")]).result(10)
    assert holds(store) == []
    store.close()


@pytest.mark.parametrize(
    "change", [{"hold_kind": "lookout"}, {"match": "all", "keys": {"plate": PLATE, "vin": "1"}}]
)
def test_another_hold_holds_no_records(tmp_path: Path, change: dict[str, Any]) -> None:
    store = open_small(tmp_path / "state")
    passed(store, "i1")
    store.append_soon(armed(**change)).result(10)
    rest(store)
    assert holds(store) == []
    assert [each["inspections"] for each in tellings(store)] == ([[]] if "match" in change else [])
    store.close()
