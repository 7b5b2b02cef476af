"""``carril consume`` when a journal begins anew, and its blobs: nothing twice, nothing unchecked."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.cli.archive import Archive, Cursor
from station.cli.consumer import Consumer
from station.cli.errors import UserError
from station.cli.main import main
from tests.support.consumer import NAME, filled, lines, numbers, take
from tests.support.liar import STATION, Liar, cuts, lying

pytestmark = pytest.mark.usefixtures("pauses")


EPOCH = "ab" * 16


# --- a journal that begins anew -------------------------------------------------------------------


def salvaged(liar: Liar, *events: dict[str, Any], kind: str = "salvaged") -> None:
    for event in events:
        liar.append(f"carril.record.{kind}", original=event)


def originals(folder: Path) -> list[int]:
    """The test's numbers of all events that are kept, wherever they stand."""
    events = [line["event"] for line in lines(folder) if "event" in line]
    return [event["data"].get("original", event)["data"].get("n") for event in events]


def test_a_new_epoch_is_followed_and_what_was_salvaged_is_kept_once(tmp_path: Path) -> None:
    liar = filled(10)
    picture = liar.put(b"picture")
    with lying(liar) as place:
        take(place, tmp_path)
        liar.append(n=11, blobs=[picture])
        liar.append(n=12)
        old = [liar.event(seq) for seq in range(8, 13)]
        liar.begin_anew()
        salvaged(liar, *old)
        liar.append(n=13)
        said = take(place, tmp_path)
        assert any("the journal began anew" in line for line in said)
        assert originals(tmp_path) == [*range(1, 11), None, 11, 12, 13]
        assert [line["seq"] for line in lines(tmp_path)] == [*range(1, 11), *range(13, 20)], "dense"
        assert [line.get("duplicate") for line in lines(tmp_path)][11:14] == [
            event["id"] for event in old[:3]
        ]
        assert liar.receipts == {picture["sha256"]: 7}
        # Once more: what was salvaged is unwrapped and salvaged again; nacked records may be offered again.
        liar.begin_anew()
        liar.receipts.clear()  # a new epoch knows none
        salvaged(liar, *old)
        salvaged(liar, old[4], kind="reoffered")
        liar.append(n=14)
        take(place, tmp_path)
        assert liar.receipts == {picture["sha256"]: 7}, "sent again for what it has"
    assert originals(tmp_path) == [*range(1, 11), None, 11, 12, 13, None, 14]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (
            (2, 4),
            "ALARM: the station lost records 2 to 4 of epoch EPOCH; 1 of them never came here. Tell a person",
        ),
        (
            (5, 6),
            "ALARM: the station lost records 5 to 6 of epoch EPOCH; 2 of them never came here. Tell a person",
        ),
        ((1, 3), "the station lost records 1 to 3 of epoch EPOCH; all of them are kept here"),
        ((None, 3), "ALARM: the station lost records, and does not say which. Tell a person"),
    ],
)
def test_lost_records_are_an_alarm_unless_they_are_here(
    tmp_path: Path, lost: tuple[int, int], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    liar = filled(3)
    with lying(liar) as place:
        take(place, tmp_path)
        before = liar.epoch.hex()
        liar.append(n=4)
        liar.begin_anew()
        liar.append("carril.records.lost", prio=0, **{"epoch": before, "from": lost[0], "to": lost[1]})
        code = main(["consume", place.url, "--name", NAME, "--into", str(tmp_path), "--once"])
    assert said.replace("EPOCH", before) in capsys.readouterr().out.splitlines()
    assert code == said.startswith("ALARM")
    assert liar.acked[NAME] == 6, "what it says of the loss is a record like any other"


def test_lost_records_of_an_epoch_that_nobody_knows_are_an_alarm(tmp_path: Path) -> None:
    liar = filled(3)
    liar.append("carril.records.lost", prio=0, **{"epoch": None, "from": 1, "to": 3})
    with lying(liar) as place:
        said = take(place, tmp_path)
    assert any(line.startswith("ALARM: the station lost records 1 to 3 of epoch None; 3") for line in said)


def test_an_offer_that_was_salvaged_brings_its_first_event_once_and_its_blobs(tmp_path: Path) -> None:
    liar = filled(1)
    picture = liar.put(b"picture")
    with lying(liar) as place:
        take(place, tmp_path)
        first = liar.event(1)
        liar.append(n=2, blobs=[picture])
        second = liar.event(2)
        salvaged(liar, first, second, kind="reoffered")
        offers = [liar.event(3), liar.event(4)]
        liar.begin_anew()  # the offers were never taken, nor was record 2
        salvaged(liar, *offers)
        take(place, tmp_path)
    assert [line.get("duplicate") for line in lines(tmp_path)] == [None, None, first["id"], None]
    assert liar.receipts == {picture["sha256"]: 7}


def test_a_new_epoch_that_does_not_follow_from_the_old_one_is_not_taken(tmp_path: Path) -> None:
    liar = filled(4)
    with lying(liar) as place:
        take(place, tmp_path)
        liar.begin_anew()
        liar.before["previous_hash"] = "00" * 32
        said: list[str] = []
        archive = Archive(tmp_path)
        with pytest.raises(UserError, match=r"ALARM: the station.s history .* Nothing is taken"):
            Consumer(place, NAME, archive, said.append).run(once=True)
        archive.close()
    assert any(line.startswith("ALARM: record 4 was another one") for line in said)
    assert numbers(tmp_path) == [1, 2, 3, 4]


def test_an_old_copy_put_back_brings_nothing_twice(tmp_path: Path) -> None:
    liar = filled(4)
    with lying(liar) as place:
        take(place, tmp_path)
        epoch, bodies, hashes = liar.epoch, liar.bodies, liar.hashes
        liar.begin_anew()
        take(place, tmp_path)
        liar.epoch, liar.bodies, liar.hashes, liar.first_seq, liar.oldest = epoch, bodies, hashes, 1, 1
        liar.acked, liar.before = {NAME: 0}, {}
        liar.append(n=5)
        take(place, tmp_path)
    assert numbers(tmp_path) == [1, 2, 3, 4, 5]


@given(st.lists(st.integers(1, 40)))
def test_what_was_taken_is_known_whatever_the_order(seqs: list[int]) -> None:
    cursor = Cursor(STATION, NAME, EPOCH, 0)
    for seq in seqs:
        cursor.take(f"{EPOCH}:{seq}")
    assert {seq for seq in range(1, 42) if cursor.has(f"{EPOCH}:{seq}")} == set(seqs)
    spans = cursor.taken.get(EPOCH, [])
    assert all(left[1] + 1 < right[0] for left, right in pairwise(spans)), "spans merge"
    assert not cursor.has(f"{'cd' * 16}:1")
    assert not cursor.has(None)


# --- blobs ----------------------------------------------------------------------------------------


def blob_requests(liar: Liar) -> list[str]:
    return [path for path in liar.asked if path.startswith("GET /v1/blobs/")]


def with_blob(content: bytes) -> Liar:
    liar = Liar()
    liar.append(n=1, blobs=[liar.put(content)])
    return liar


def test_a_download_that_is_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    liar = with_blob(os.urandom(1_000_000))
    ranges: list[str] = []

    def noted(handler: Any) -> bool:
        ranges.append(handler.headers.get("Range", ""))
        return False

    # The index, the cursor, the page, the blob; then the page again, and the blob.
    liar.next.extend([None, None, None, cuts(0.5), None, noted])
    with lying(liar) as place:
        take(place, tmp_path)
    assert len(blob_requests(liar)) == 2
    assert [int(each.removeprefix("bytes=").removesuffix("-")) > 100_000 for each in ranges] == [True]
    (blob,) = (tmp_path / "blobs").rglob("[0-9a-f]" * 64)
    assert blob.read_bytes() == next(iter(liar.blobs.values()))
    assert (numbers(tmp_path), list((tmp_path / "part").iterdir())) == ([1], [])


@pytest.mark.parametrize(("lie", "reason"), [("bytes", "not those of its name"), ("gone", "404 not-found")])
def test_a_blob_that_cannot_be_had_is_booked_and_blocks_nothing(
    tmp_path: Path, lie: str, reason: str
) -> None:
    liar = with_blob(b"picture")
    liar.append(n=2)
    (name,) = liar.blobs
    if lie == "gone":
        liar.blobs.clear()
    else:
        liar.blobs[name] = b"another"
    with lying(liar) as place:
        take(place, tmp_path)
    (missing,) = [line for line in lines(tmp_path) if "blob" in line]
    assert (missing["seq"], missing["blob"]) == (1, name)
    assert reason in missing["missing"]
    assert (numbers(tmp_path), liar.acked[NAME], liar.receipts) == ([1, 2], 2, {})
    assert len(blob_requests(liar)) == (1 if lie == "gone" else 3)
    assert not list((tmp_path / "blobs").rglob("[0-9a-f]" * 64))
