"""A new epoch keeps what all consumers have and somebody still needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from station.store import inherit
from station.store.place import Consumer
from station.store.receipts import read_owed
from station.store.verify import verify
from tests.support.epochs import salvage_ends
from tests.support.journal import open_small
from tests.support.trimming import ack, fill, hold, in_force, photo, stored

PORT = (Consumer("central", required=True, blobs=True),)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_more_than_it_can_open_with_comes_with_the_salvage(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inherit, "MOST", 100)
    monkeypatch.setattr(inherit, "TAIL", 20)
    store = open_small(state)
    fill(store, 3, "refused", size=10)
    ack(store, 3, 1, 2)
    hold(store, "held")
    fill(store, 300, "held", size=10)
    fill(store, 50, "neither", size=10)
    last = store.published
    ack(store, last)
    store.close()
    (state / "mark.bin").unlink()
    for _ in range(2):  # the second start finds what the first one made
        store = open_small(state)
        assert store.published <= last + 1 + inherit.MOST + 400
        salvage_ends(store, 1)
        subjects = stored(store, "SELECT subject FROM record")
        store.close()
    assert subjects.count("held") == 300
    assert subjects.count("refused") == 2, "the third was acknowledged, and nobody refused it"
    assert subjects.count("neither") < 50
    assert verify(state).ok
    store = open_small(state)
    assert stored(store, "SELECT count(*) FROM nack") == [2]
    store.close()


@pytest.mark.parametrize("most", [1, inherit.MOST])
def test_of_a_directive_named_like_another_subject_its_own_records_come_alone(
    state: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """With the salvage that follows a new epoch, or at once with it."""
    monkeypatch.setattr(inherit, "MOST", most)
    monkeypatch.setattr(inherit, "TAIL", 20)
    store = open_small(state)
    fill(store, 30, size=10)
    fill(store, 2, type="carril.directive.told", size=10)
    ack(store, fill(store, 50, "neither", size=10))
    in_force(store, "lane")
    store.close()
    (state / "mark.bin").unlink()
    store = open_small(state)
    salvage_ends(store, 1)
    inside = "SELECT body LIKE '%directive.told%' FROM record WHERE subject = 'lane' AND type = '{}'"
    assert sorted(stored(store, inside.format("carril.record.salvaged"))) == [0, 1, 1], "and its row's own"
    # They were wrapped, and are told apart in the next epoch as well.
    in_force(store, "lane")
    ack(store, store.published)
    store.close()
    (state / "mark.bin").unlink()
    store = open_small(state)
    salvage_ends(store, 2)
    assert sum(stored(store, inside.format("carril.record.salvaged"))) == 2
    store.close()


def test_every_refused_record_is_offered_again(state: Path) -> None:
    store = open_small(state)
    fill(store, 1500, "refused", size=10)
    for first in (1, 501, 1001):
        ack(store, 1500, *range(first, first + 500))
    store.close()
    (state / "mark.bin").unlink()
    store = open_small(state)
    salvage_ends(store, 1)
    assert stored(store, "SELECT count(*) FROM record WHERE subject = 'refused'") == [1500]
    store.close()


def test_a_blob_that_waits_for_its_receipt_stays(state: Path) -> None:
    store = open_small(state, consumers=PORT)
    name = photo(store, b"raw image" * 1000, "i1")
    fill(store, 600, size=10)
    ack(store, store.published)
    store.close()
    (state / "mark.bin").unlink()
    store = open_small(state, consumers=PORT)
    salvage_ends(store, 1)
    owed = store._readers.look(lambda view: read_owed(view, ["central"]))
    assert owed["central"].receipts_missing == 1
    assert stored(store, "SELECT lower(hex(sha256)) FROM record_blob") == [name]
    store.close()
    assert verify(state).ok


def test_no_number_is_given_again_though_two_journals_are_lost(state: Path) -> None:
    store = open_small(state)
    fill(store, 20, size=10)
    store.close()
    (state / "mark.bin").unlink()
    store = open_small(state)
    fill(store, 1, size=10)
    salvage_ends(store, 1)
    last = store.published
    store.close()
    (state / "mark.bin").unlink()
    (state / "journal" / "station.db").write_bytes(b"")
    store = open_small(state)
    assert store.first_seq > 20
    store.close()
    assert last > 20
