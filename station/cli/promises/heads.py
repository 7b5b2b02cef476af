"""Promises of signed heads: listed, signed with the key of the index, and about the chain of the feed."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from station.cli.pages import BadPage, read_page
from station.cli.promises.kit import SAMPLE, Broken, Kit, NotAsked, Reply, promise
from station.store.chain import link

if TYPE_CHECKING:
    from station.store.heads import Head

PAGES = 5
"""Of the list of heads at most: a station has many."""


def _after(kit: Kit) -> int:
    return max(int(kit.start["head"]) - SAMPLE, kit.oldest - 1)


def _listed(kit: Kit) -> list[tuple[int, str, Reply]]:
    """Return the heads of the newest records of the sample, in the order in which they came."""
    after = _after(kit)
    found: list[tuple[int, str, Reply]] = []
    for _ in range(PAGES):
        reply = kit.ask("GET", f"/v1/checkpoints?after={after}")
        items: list[dict[str, Any]] = kit.ok(reply)["items"]
        if not items:
            break
        found += [(int(item["seq"]), str(item["note"]), reply) for item in items]
        after = found[-1][0]
    if not found:
        raise NotAsked("no record of the sample has a signed head")
    return found


def _notes(kit: Kit) -> list[tuple[str, Reply]]:
    """Return the heads of the list, and those that the pages of the sample carry."""
    carried = [(reply.json().get("signed_head"), reply) for _, reply in kit.pages]
    return [(note, reply) for _, note, reply in _listed(kit)] + [
        (str(note), reply) for note, reply in carried if note is not None
    ]


@promise(
    "checkpoints", "Signed heads are listed in order behind a cursor, each with the number of its record"
)
def checkpoints(kit: Kit) -> None:
    """Read some pages of the list."""
    listed = _listed(kit)
    seqs = [_after(kit), *(seq for seq, _, _ in listed)]
    ordered = all(left < right for left, right in pairwise(seqs))
    kit.expect(
        listed[-1][2], ordered and seqs[-1] <= kit.head(), f"heads of records after {seqs[0]}, in order"
    )
    for seq, note, reply in listed:
        kit.expect(reply, _told(note, reply).seq == seq, f"{seq} in the second line of its head")


def _told(note: str, reply: Reply) -> Head:
    from station.store.heads import told_head  # a database layer: only to check heads

    try:
        return told_head(note)
    except ValueError as error:
        raise Broken(reply, f"signed heads; one {error}") from error


@promise("head-signature", "Every signed head is signed with head_key, for this station and epoch")
def head_signature(kit: Kit) -> None:
    """Check the heads of the list and of the feed."""
    from station.store.heads import public_keys, read_note  # a database layer: only to check heads

    keys = public_keys(str(kit.start["head_key"]))
    for note, reply in _notes(kit):
        try:
            head = read_note(note, keys)
        except ValueError as error:
            raise Broken(reply, f"heads signed with head_key; one {error}") from error
        told = (head.station, head.epoch)
        kit.expect(reply, told == (kit.start["station"], kit.epoch), "heads of this station and epoch")


@promise("head-chain", "A signed head has the hash that the feed's own bytes give for its record")
def head_chain(kit: Kit) -> None:
    """Recompute the hash of each record of the sample that has a head."""
    hashes, asked = _recomputed(kit), 0
    for note, reply in _notes(kit):
        head = _told(note, reply)
        if (hash_ := hashes.get(head.seq)) is not None:
            asked += 1
            kit.expect(reply, head.hash == hash_, f"the hash {hash_.hex()} for record {head.seq}")
    if not asked:
        raise NotAsked("no record of the sample has a signed head")


def _recomputed(kit: Kit) -> dict[int, bytes]:
    """Return the hash of each record of the sample, of its bytes and the hash that stands before it."""
    found: dict[int, bytes] = {}
    for after, reply in kit.pages:
        try:
            page = read_page(reply.answer) if reply.answer else None
        except BadPage:
            continue  # the check of the pages themselves says so
        before, last = (page.prev, after) if page else ("", after)
        for item in page.items if page else ():
            if item.event is not None and before and item.seq == last + 1:
                found[item.seq] = link(bytes.fromhex(before), bytes.fromhex(kit.epoch), item.seq, item.body)
            before, last = "" if item.withheld == "damaged" else item.hash, item.seq
    return found
