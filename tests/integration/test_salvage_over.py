"""What was over in a journal that nobody can trust any more is over in the new epoch too, at every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from station.store import salvage as salvage_module
from station.store.directives import open_directives
from station.store.draft import Draft
from station.store.ops import Transaction
from station.store.verify import verify
from tests.support.epochs import Quiet, distrusted, salvage_ends, sql
from tests.support.journal import draft, of_inspection, open_small
from tests.support.trimming import ack, stored

ENVELOPE = {"id": "H-1", "kind": "hold"}
TAIL = 700
"""More records than a new epoch begins with."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def of_directive(change: str, version: int = 1, **data: Any) -> Draft:
    told = {"directive_id": "H-1", "directive_version": version} | data
    return draft("H-1", type=f"carril.directive.{change}", **told)


def received(version: int = 1) -> Draft:
    terms = {"kind": "hold", "issuer": "central", "valid_from_us": 0, "valid_to_us": 2**52}
    stamp = {"utc_us": 1, "clock": "unknown"}
    return of_directive(
        "received", version, sha256=f"{version:064x}", envelope=ENVELOPE, stamp=stamp, **terms
    )


def hit(subject: str, version: int = 1) -> Draft:
    told = {"directive_id": "H-1", "directive_version": version, "hold_kind": "legal"}
    return draft(subject, type="carril.directive.hit", inspection_id=subject, **told)


def write(state: Path, *parts: Draft | int, acked: bool = False) -> None:
    """Append drafts, and so many others between them."""
    store = open_small(state)
    for part in parts:
        drafts = [draft(n=n) for n in range(part)] if isinstance(part, int) else [part]
        for first in range(0, len(drafts), 100):
            store.append_soon(drafts[first : first + 100]).result(10)
    if acked:
        ack(store, store.published)
    store.close()
    distrusted(state)


def ever(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[set[tuple[str, int]], set[tuple[str, str]], set[str]]:
    """Salvage; the directives, legal holds and inspections that were in force at any step of it."""
    directives: set[tuple[str, int]] = set()
    holds: set[tuple[str, str]] = set()
    opened: set[str] = set()
    found = Quiet(state)

    def look(connection: Any) -> None:
        directives.update((each.id, each.version) for each in found.look(open_directives))
        holds.update(connection.execute("SELECT subject, directive FROM legal_hold").fetchall())
        opened.update(row[0] for row in connection.execute("SELECT subject FROM open_subject"))

    apply = salvage_module.Step.apply

    def looked_at(self: salvage_module.Step, tx: Transaction) -> None:
        apply(self, tx)
        look(tx.connection)

    monkeypatch.setattr(salvage_module.Step, "apply", looked_at)
    look(found.journal.connection)
    found.salvage()
    found.journal.close()
    return directives, holds, opened


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("after", [0, TAIL])
def test_a_closed_directive_stays_closed(
    state: Path, monkeypatch: pytest.MonkeyPatch, readable: bool, after: int
) -> None:
    """Its end among the records that the new epoch begins with, or not; its table readable, or not."""
    parts = received(), of_directive("armed"), TAIL, of_directive("closed", how="done"), after
    write(state, *parts)
    if not readable:
        sql(state, "DROP TABLE directive")
    directives, _, _ = ever(state, monkeypatch)
    assert directives == ({("H-1", 1)} if after and not readable else set())
    with monkeypatch.context():
        store = open_small(state)
    salvage_ends(store, 1)
    row = "SELECT state || ' ' || version || ' ' || kind || ' ' || until_us FROM directive WHERE body = ''"
    assert stored(store, row) == [f"closed:done 1 hold {2**52}"]
    store.close()
    assert verify(state).ok


def test_an_older_version_cannot_come_back_though_all_was_taken_long_ago(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(state, received(3), of_directive("closed", 3, how="withdrawn"), TAIL, acked=True)
    directives, _, _ = ever(state, monkeypatch)
    assert directives == set()
    store = open_small(state)
    assert stored(store, "SELECT version FROM directive") == [3]
    store.close()


def test_what_closed_it_counts_though_the_version_it_closed_is_lost(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(state, received(), of_directive("closed", 2, how="withdrawn"), TAIL)
    sql(state, "DROP TABLE directive")
    ever(state, monkeypatch)
    store = open_small(state)
    assert stored(store, "SELECT state FROM directive") == ["closed:withdrawn"]
    store.close()


@pytest.mark.parametrize("how", ["withdrawn", "expired"])
@pytest.mark.parametrize("readable", [True, False])
def test_a_legal_hold_that_had_ended_stays_ended(
    state: Path, monkeypatch: pytest.MonkeyPatch, how: str, readable: bool
) -> None:
    write(state, received(), of_directive("armed"), hit("i1"), TAIL, of_directive("closed", how=how))
    if not readable:
        sql(state, "DROP TABLE legal_hold")
    _, holds, _ = ever(state, monkeypatch)
    assert holds == set()


def test_a_hold_of_an_earlier_version_stays_ended_and_that_of_the_version_in_force_stays(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = received(), hit("i1"), of_directive("closed", how="expired")
    second = received(2), hit("i2", 2)
    write(state, *first, TAIL, *second, TAIL)
    directives, holds, _ = ever(state, monkeypatch)
    assert (directives, holds) == ({("H-1", 2)}, {("i2", "H-1")})
    store = open_small(state)
    assert stored(store, "SELECT subject FROM legal_hold") == ["i2"]
    store.close()


def test_a_hold_outlives_its_own_damaged_record(state: Path) -> None:
    write(state, received(), hit("i1"), TAIL)
    sql(state, "UPDATE record SET body = 'x' WHERE seq = 2")
    store = open_small(state)
    salvage_ends(store, 1)
    assert stored(store, "SELECT subject FROM legal_hold") == ["i1"]
    store.close()


def test_a_sealed_passage_stays_sealed_though_nobody_can_tell_which_were_open(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, still = (of_inspection(name, "carril.inspection.opened") for name in ("over", "still"))
    write(state, over, still, TAIL, of_inspection("over", "carril.inspection.sealed"))
    sql(state, "DROP TABLE open_subject")
    _, _, opened = ever(state, monkeypatch)
    assert opened == {"still"}
