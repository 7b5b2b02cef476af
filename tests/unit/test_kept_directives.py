"""Directives that no rule obeys yet, how much of them is kept, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from station.domain.decision import Refused
from station.domain.directives import Envelope
from station.lane import directives as at_work
from station.store import directives as kept
from station.store import schema
from tests.support.directives import envelope, put, states
from tests.support.lane_rig import Rig, projection

PARTY = {"ref": "C-1", "role": "carrier", "status": "certified", "from": "2026-01-01T00:00:00Z"}
TRUST: dict[str, Any] = {
    "program": "fast",
    "list_version": 7,
    "as_of": "2026-11-01T00:00:00Z",
    "full": True,
    "parties": [PARTY, {"ref": "D-1", "role": "driver", "status": "expelled"}],
}
MODE: dict[str, Any] = {
    "posture": "resumption",
    "program": "fast",
    "schedule": [
        {
            "days": ["mon", "fri"],
            "from": "22:00",
            "to": "06:00",
            "tz": "America/Matamoros",
            "program": "empties",
        }
    ],
    "tiers": [1, 2],
    "rates_ppm": {"standard": 50_000},
    "draw_nonce": "0f" * 32,
    "call_tree": ["Port director, +52 81 0000 0000"],
}


def trust(version: int = 1, **change: Any) -> Envelope:
    return envelope("T-1", kind="trust", version=version, **{"body": TRUST, **change})


def mode(version: int = 1, **change: Any) -> Envelope:
    return envelope("L-1", kind="lane_mode", version=version, **{"body": MODE, **change})


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.background()
    rig.lane.core.clock_quality = "sync"
    return rig


@pytest.mark.parametrize(
    "change",
    [
        {"full": 1},
        {"list_version": 0},
        {"part": 1},
        {"parts": 2},
        {"part": 3, "parts": 2},
        {"parties": [{**PARTY, "status": "good"}]},
        {"parties": [{**PARTY, "role": "broker"}]},
        {"parties": [{**PARTY, "to": "2026-01-01"}]},
        {"max_age_s": "86400"},
        {"more": 1},
    ],
)
def test_a_list_that_is_not_one_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        trust(body={**TRUST, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"posture": "open"},
        {"program": "vip"},
        {"tiers": [4]},
        {"rates_ppm": {"standard": 1_000_001}},
        {"rates_ppm": {"vip": 1}},
        {"draw_nonce": "0f"},
        {"draw_nonce": "0F" * 32},
        {"call_tree": [""]},
        {"schedule": [{**MODE["schedule"][0], "from": "24:00"}]},
        {"schedule": [{**MODE["schedule"][0], "days": []}]},
        {"schedule": [{**MODE["schedule"][0], "days": ["lunes"]}]},
        {"schedule": [{**MODE["schedule"][0], "tz": "America/Nowhere"}]},
        {"schedule": [{**MODE["schedule"][0], "tz": "../../etc/passwd"}]},
    ],
)
def test_a_lane_mode_that_is_not_one_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        mode(body={**MODE, **change})


def test_numbers_in_lists_and_tables_may_have_a_point_too() -> None:
    assert (
        mode(body={**MODE, "tiers": [1.0, 2], "rates_ppm": {"standard": 50_000.0}}).signed()
        == mode().signed()
    )
    for wrong in ({"tiers": [1.5]}, {"rates_ppm": {"standard": 0.5}}):
        with pytest.raises(ValidationError):
            mode(body={**MODE, **wrong})


def test_what_was_sent_is_what_is_signed() -> None:
    assert trust(body={**TRUST, "part": 1, "parts": 2}).signed()["body"] == {**TRUST, "part": 1, "parts": 2}
    assert mode().signed()["body"] == MODE


@pytest.mark.parametrize("sent", [trust(), mode()])
@pytest.mark.parametrize("clock", ["sync", "unsync"])
def test_what_nothing_obeys_is_received_and_never_armed(rig: Rig, sent: Envelope, clock: str) -> None:
    rig.lane.core.clock_quality = clock  # type: ignore[assignment]
    put(rig, sent)
    rig.wait(5)
    assert states(rig) == [("received", 1, "")]


def test_time_and_newer_versions_close_it_all_the_same(rig: Rig) -> None:
    first = put(rig, trust())
    put(rig, trust(2, valid_to="2026-01-02T00:00:00Z", issued_at="2026-01-03T00:00:00Z"), first)
    put(rig, envelope("T-2", kind="trust", body=TRUST, scope={"lanes": ["ANOTHER"]}))
    assert [(what, how) for what, _, how in states(rig)] == [
        ("received", ""),
        ("received", ""),
        ("closed", "superseded"),
        ("closed", "withdrawn"),
        ("received", ""),
        ("closed", "not_applicable"),
    ]


def test_a_version_that_was_over_when_it_was_issued_withdraws_without_a_clock_too(rig: Rig) -> None:
    rig.lane.core.clock_quality = "unsync"
    body = {"hold_kind": "lookout", "authority": "Customs", "keys": {"plate": "R4K7719"}, "action": "hold"}
    first = put(rig, envelope("H-1", kind="hold", body=body))
    put(rig, envelope("H-1", kind="hold", version=2, body=body, valid_to="2026-01-01T00:00:00Z"), first)
    assert [(what, how) for what, _, how in states(rig)] == [
        ("received", ""),
        ("armed", ""),
        ("received", ""),
        ("closed", "superseded"),
        ("closed", "withdrawn"),
    ]


def test_the_bytes_of_open_directives_have_a_bound(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_work, "MAX_OPEN_BYTES", 1000)
    first = put(rig, trust())
    with pytest.raises(Refused, match="withdraw some"):
        put(rig, envelope("T-2", kind="trust", body=TRUST))
    second = put(rig, trust(2), first)  # in its place
    put(rig, trust(3, valid_to="2026-01-01T00:00:00Z"), second)
    put(rig, envelope("T-2", kind="trust", body=TRUST))  # there is room again


def test_a_closed_one_keeps_its_version_until_none_of_its_versions_can_come_back(rig: Rig) -> None:
    first = put(rig, trust(valid_to="2031-01-01T00:00:00Z"))
    put(rig, trust(2, valid_to="2026-01-01T00:00:00Z"), first)
    with projection(rig.records()) as connection:
        row = kept.StoredDirective(*connection.execute("SELECT * FROM directive").fetchone())
        assert (row.version, row.state, row.body, row.is_open) == (2, "closed:withdrawn", "", False)
        end_us = 1_924_992_000_000_000  # 2031-01-01, the end of the first version
        assert row.until_us == end_us
        for before_us, count in ((end_us, 1), (end_us + 1, 0)):
            connection.execute(kept.FORGET, {"before_us": before_us})
            assert connection.execute("SELECT count(*) FROM directive").fetchone() == (count,)


def test_an_old_version_of_a_forgotten_one_does_not_come_back(rig: Rig) -> None:
    """The newest version is forgotten only when all are over: what comes again is over too."""
    put(rig, trust(valid_to="2026-01-02T00:00:00Z", issued_at="2025-01-01T00:00:00Z"))
    put(rig, trust(valid_to="2026-01-02T00:00:00Z", issued_at="2025-01-01T00:00:00Z"))
    assert [how for what, _, how in states(rig) if what == "closed"] == ["expired", "expired"]


def test_only_a_right_clock_makes_the_table_forget(rig: Rig) -> None:
    put(rig, trust(valid_to="2026-01-02T00:00:00Z", valid_from="2025-01-01T00:00:00Z"))
    told = rig.records()
    seq, kind, data = next(record for record in told if record[1] == "carril.directive.received")
    late_us = data["stamp"]["utc_us"] + 10 * 365 * 86_400 * 1_000_000
    for clock, count in (("unsync", 2), ("sync", 1)):
        later = {
            **data,
            "directive_id": "T-9",
            "valid_to_us": late_us + 1,
            "stamp": {**data["stamp"], "utc_us": late_us, "clock": clock},
        }
        with projection([*told, (seq + 1, kind, later)]) as connection:
            assert connection.execute("SELECT count(*) FROM directive").fetchone() == (count,), clock


def test_a_start_and_a_list_cost_what_is_open(rig: Rig) -> None:
    put(rig, trust())
    with projection(rig.records()) as connection:
        for statement, values, used in (
            (kept.OPEN, {}, "SCAN directive USING INDEX directive_open"),
            (kept.LIST, {"after": "", "count": 2}, "SEARCH directive USING INDEX directive_open (id>?)"),
            (kept.FORGET, {"before_us": 1}, "SEARCH directive USING INDEX directive_over (until_us<?)"),
        ):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            assert used in plan, plan
    assert schema.SCHEMA == 4
