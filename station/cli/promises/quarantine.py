"""Promises of refusing a record, asked for with one refusal: nack, offered anew, acknowledged, gone."""

from __future__ import annotations

from dataclasses import dataclass

from station.cli.promises.cursor import room
from station.cli.promises.kit import Kit, Reply, promise

REASON = "a check of the interface, nothing is wrong with this record"


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What was answered when one record was refused, and taken in the end."""

    seq: int
    upto: int
    acked: Reply
    cursor: Reply
    listed: Reply
    offered: Reply
    record: Reply
    again: Reply
    closed: Reply
    left: Reply


def _refusal(kit: Kit) -> _Refusal:
    """Refuse one record, ask for it anew, take it: whatever is answered, nothing stays refused.

    It happens once in a run; what is said of it stands in ``kit.memory``.
    """
    known = kit.memory.get("refusal")
    if isinstance(known, _Refusal):
        return known
    seq = max(room(kit, 2), kit.oldest - 1) + 1
    consumer = f"/v1/consumers/{kit.name}"
    acked = kit.ack(seq + 1, nack=[{"seq": seq, "reason": REASON}])
    cursor = kit.ask("GET", consumer)
    listed = kit.ask("GET", f"{consumer}/quarantine?after={seq - 1}")
    offered = kit.send("POST", f"{consumer}/quarantine/{seq}/retry")
    told = offered.json() if offered.status == 200 else {}
    record = kit.ask("GET", f"/v1/records/{told.get('offered_seq', 0)}")
    again = kit.send("POST", f"{consumer}/quarantine/{seq}/retry")
    closed = kit.ack(kit.head())
    left = kit.ask("GET", f"{consumer}/quarantine?after={seq - 1}")
    found = _Refusal(seq, seq + 1, acked, cursor, listed, offered, record, again, closed, left)
    kit.memory["refusal"] = found
    return found


def _named(kit: Kit, reply: Reply, seq: int) -> list[dict[str, object]]:
    return [item for item in kit.ok(reply)["items"] if item["seq"] == seq]


@promise(
    "nack", "An acknowledgement that refuses one of its records covers all the others", needs_cursor=True
)
def nack(kit: Kit) -> None:
    """Acknowledge two records and refuse the first."""
    found = _refusal(kit)
    wanted = {"epoch": kit.epoch, "acked": found.upto, "moved": True}
    kit.expect(found.acked, kit.ok(found.acked) == wanted, f"{wanted}")
    now = kit.ok(found.cursor).get("acked")
    kit.expect(found.cursor, now == found.upto, f"a cursor at {found.upto}")


@promise("nack-quarantine", "A refused record waits in quarantine, with the reason given", needs_cursor=True)
def nack_quarantine(kit: Kit) -> None:
    """Look for it."""
    found = _refusal(kit)
    wanted = {"seq": found.seq, "reason": REASON, "tries": 1, "offered_seq": None}
    kit.expect(found.listed, _named(kit, found.listed, found.seq) == [wanted], f"the item {wanted}")


@promise("nack-retry", "A refused record is offered anew at the end of the feed, once", needs_cursor=True)
def nack_retry(kit: Kit) -> None:
    """Ask twice for it, and read what is offered."""
    found = _refusal(kit)
    told = kit.ok(found.offered)
    kit.expect(
        found.offered, told["seq"] == found.seq and told["new"] is True, f"record {found.seq}, new: true"
    )
    event = kit.ok(found.record)
    original = kit.ok(kit.ask("GET", f"/v1/records/{found.seq}"))
    kit.expect(
        found.record,
        event["type"] == "carril.record.reoffered"
        and (event["data"]["consumer"], event["data"]["refused_seq"]) == (kit.name, found.seq)
        and event["data"]["original"] == original,
        f"carril.record.reoffered, with the whole of record {found.seq} as data.original",
    )
    wanted = told | {"new": False}
    kit.expect(found.again, kit.ok(found.again) == wanted, f"{wanted}")


@promise(
    "nack-clears", "A refused record that was offered and acknowledged is refused no more", needs_cursor=True
)
def nack_clears(kit: Kit) -> None:
    """Acknowledge the offer, and look again."""
    found = _refusal(kit)
    kit.ok(found.closed)
    kit.expect(found.left, not _named(kit, found.left, found.seq), f"no item for record {found.seq}")
