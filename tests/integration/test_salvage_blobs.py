"""No blob goes while a salvaged record may still come and name it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from station.store import inherit, retention
from station.store import salvage as salvage_module
from station.store.place import Consumer
from station.store.retention import Retention, TrimBlobs
from station.store.stats import Stats
from station.store.verify import verify
from tests.support.epochs import Quiet, distrusted, salvage_ends
from tests.support.journal import open_small
from tests.support.trimming import ack, anchor, fill, photo, stored, within

TWO = (Consumer("central"), Consumer("port", required=False))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A journal with a blob that ``central`` does not need any more and ``port`` has still to see."""
    monkeypatch.setattr(inherit, "TAIL", 20)
    store = open_small(tmp_path / "state", consumers=TWO)
    photo(store, b"x" * 1000, "i1")
    fill(store, 100, size=10)
    ack(store, store.published)
    store.close()
    return tmp_path / "state"


def files(state: Path) -> list[Path]:
    return [path for path in (state / "blobs").rglob("*") if path.is_file()]


def test_a_blob_that_the_old_epoch_was_about_to_remove_stays(state: Path) -> None:
    found = Quiet(state)
    chore = Retention(replace(found.place, blob_quota_bytes=1), found.blobs, Stats(), lambda _: True)
    assert isinstance(chore.next(found.journal, idle=True), TrimBlobs)  # and it fails: the journal is damaged
    found.renew("damage")
    chore.tidy(found.journal.connection)
    found.salvage()
    found.journal.close()
    assert files(state)
    assert verify(state).ok


def test_blobs_wait_for_the_end_of_the_salvage(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "TRIM_FROM", 0.0)
    monkeypatch.setattr(retention, "TRIM_TO", 0.0)
    monkeypatch.setattr(retention, "AGAIN_S", 0.0)
    distrusted(state)
    with monkeypatch.context() as patch:
        patch.setattr(salvage_module.Salvage, "next", lambda *_, **__: None)  # it has not come so far
        store = open_small(state, consumers=TWO)
        photo(store, b"x" * 1000, "i2")  # the same one
        fill(store, 100, size=10)
        ack(store, store.published)
        within(10, lambda: anchor(store) == store.published)
        assert stored(store, "SELECT state FROM blob") == [0]
        assert files(state)
    salvage_ends(store, 1)
    ack(store, store.published)
    within(10, lambda: not files(state))
    store.close()
    assert verify(state).ok
