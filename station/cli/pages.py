"""Pages of the feed as their reader must see them: well formed, dense, and each record's hash recomputed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from rfc8785 import CanonicalizationError

from station.cli.client import Answer
from station.store.canonical import canonical
from station.store.chain import HASH_BYTES, link


class BadPage(ValueError):
    """A page that is not what the feed promises; the message says in what."""


class Discontinued(BadPage):
    """A page that follows another record than the one that was received."""


class Item(NamedTuple):
    """One record of a page, or the stub in its place."""

    seq: int
    hash: str
    event: dict[str, Any] | None
    body: bytes
    """The event in RFC 8785 form, which is what was hashed; empty for a stub."""
    withheld: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the feed, well formed."""

    epoch: str
    head: int
    next: int
    prev: str
    items: list[Item]
    signed_head: str | None = None


def read_page(answer: Answer) -> Page:
    """Return the page of an answer; raises ``BadPage`` when a member is missing or of the wrong kind."""
    try:
        page = answer.json()
        items = [_item(item, page["epoch"]) for item in page["items"]]
        signed = page.get("signed_head")
        numbers = int(page["head"]), int(page["next"])
        return Page(
            page["epoch"], *numbers, str(page["prev"]), items, None if signed is None else str(signed)
        )
    except BadPage:
        raise
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise BadPage(f"the page is not one: {error!r:.200}") from error


def _item(item: dict[str, Any], epoch: str) -> Item:
    seq, event = int(item["seq"]), item.get("event")
    if (event is None) == (item.get("withheld") is None):
        raise BadPage(f"record {seq} must be an event or withheld, one of both")
    if event is None:
        return Item(seq, str(item["hash"]), None, b"", str(item["withheld"]))
    if event["id"] != f"{epoch}:{seq}":
        raise BadPage(f"record {seq} has the id {event['id']!r:.80}")
    try:
        body = canonical(event)
    except (CanonicalizationError, RecursionError) as error:
        raise BadPage(f"record {seq} has no canonical form: {error!r:.100}") from error
    return Item(seq, str(item["hash"]), event, body, None)


def check_dense(page: Page, epoch: str, after: int) -> None:
    """Raise ``BadPage`` unless the page has each record after the cursor, in order, up to its ``next``."""
    last = page.items[-1].seq if page.items else after
    wanted = list(range(after + 1, after + 1 + len(page.items)))
    if page.epoch != epoch:
        raise BadPage(f"the page is of epoch {page.epoch!r:.80}, not of {epoch}")
    ends = page.next == last and page.head >= last and (page.items or page.head == after)
    if not ends or [item.seq for item in page.items] != wanted:
        seqs = [item.seq for item in page.items[:10]]
        raise BadPage(
            f"the page after {after} is not dense: next {page.next}, head {page.head}, begins with {seqs}"
        )


def check_chain(page: Page, hash_before: str) -> str:
    """Return the hash of the last record; raises ``BadPage`` at one that does not follow from those before.

    ``hash_before`` is that of the cursor's record, empty when it is not known. What is withheld cannot be
    recomputed. The hash of a damaged record proves nothing: the chain is taken up again behind it, and an
    empty hash is returned if it is the last.
    """
    if hash_before and page.prev != hash_before:
        raise Discontinued(
            f"the page follows hash {page.prev:.80}, not {hash_before}, which was received before"
        )
    known = page.prev
    if known and not _is_hash(known):
        raise BadPage(f"the page follows {known!r:.80}, which is no hash")
    epoch = bytes.fromhex(page.epoch)
    for before, item in zip([None, *page.items], page.items, strict=False):
        if before is not None and item.seq != before.seq + 1:
            known = ""
        if item.withheld is None and known:
            hash_ = link(bytes.fromhex(known), epoch, item.seq, item.body).hex()
            if hash_ != item.hash:
                raise BadPage(
                    f"record {item.seq} has hash {item.hash:.80}, its bytes and the one before give {hash_}"
                )
        known = "" if item.withheld == "damaged" else item.hash
        if known and not _is_hash(known):
            raise BadPage(f"record {item.seq} has hash {known!r:.80}")
    return known


def _is_hash(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return len(bytes.fromhex(text)) == HASH_BYTES
    return False
