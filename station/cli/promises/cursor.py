"""Promises of acknowledging, asked for under a name of the kit's own: no other cursor is touched."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from station.cli.promises.kit import Kit, NotAsked, Reply, promise

FAR = 1000
DEEP = 50_000


def room(kit: Kit, count: int = 1) -> int:
    """Return our cursor when so many records lie behind it."""
    acked = kit.acked()
    if kit.head() - acked < count:
        raise NotAsked("there is nothing left to acknowledge: let the lane record something, then repeat")
    return acked


def _unmoved(kit: Kit, act: Callable[[], Reply], check: Callable[[Reply], object]) -> None:
    """Check what an act is answered, and that our cursor stays where it is."""
    before = kit.acked()
    reply = act()
    check(reply)
    after = kit.acked()
    kit.expect(reply, after == before, f"a cursor that stays at {before}; it is at {after}")


@promise("unknown-consumer", "A consumer that the lane file does not name has no cursor")
def unknown_consumer(kit: Kit) -> None:
    """Ask for a cursor under a name that nobody has."""
    kit.refusal(kit.ask("GET", f"/v1/consumers/{kit.name}-that-nobody-is"), 404, "not-found")


@promise("cursor", "A consumer can ask where it is", needs_cursor=True)
def cursor(kit: Kit) -> None:
    """Ask for our own cursor."""
    reply = kit.ask("GET", f"/v1/consumers/{kit.name}")
    told = kit.ok(reply)
    holds = told.get("epoch") == kit.epoch and type(told.get("acked")) is int
    kit.expect(reply, holds and 0 <= told["acked"] <= kit.head(), f"epoch {kit.epoch} and acked ≤ head")


@promise("reading", "Reading acknowledges nothing", needs_cursor=True)
def reading(kit: Kit) -> None:
    """Read behind our cursor."""
    _unmoved(kit, lambda: kit.feed(max(kit.acked(), kit.oldest - 1), limit=10), kit.ok)


@promise("ack", "An acknowledgement moves the cursor, and stands when it is answered", needs_cursor=True)
def ack(kit: Kit) -> None:
    """Acknowledge one record."""
    seq = room(kit) + 1
    reply = kit.ack(seq)
    wanted = {"epoch": kit.epoch, "acked": seq, "moved": True}
    kit.expect(reply, kit.ok(reply) == wanted, f"{wanted}")
    now = kit.acked()
    kit.expect(reply, now == seq, f"a cursor at {seq}; it is at {now}")


@promise("ack-again", "The same acknowledgement again changes nothing", needs_cursor=True)
def ack_again(kit: Kit) -> None:
    """Acknowledge what is acknowledged."""
    _unmoved(kit, lambda: kit.ack(kit.acked()), lambda reply: _not_moved(kit, reply))


@promise("ack-stale", "A late, lower acknowledgement never moves the cursor back", needs_cursor=True)
def ack_stale(kit: Kit) -> None:
    """Acknowledge less than is acknowledged."""
    if kit.acked() == 0:
        raise NotAsked("nothing is acknowledged yet")
    _unmoved(kit, lambda: kit.ack(kit.acked() - 1), lambda reply: _not_moved(kit, reply))


def _not_moved(kit: Kit, reply: Reply) -> None:
    kit.expect(reply, kit.ok(reply).get("moved") is False, "moved: false")


@promise("ack-beyond", "An acknowledgement of what was never written is refused", needs_cursor=True)
def ack_beyond(kit: Kit) -> None:
    """Acknowledge far ahead."""
    _unmoved(
        kit,
        lambda: kit.ack(kit.head() + FAR),
        lambda reply: kit.refusal(reply, 409, "beyond-head", "head"),
    )


@promise("ack-epoch", "An acknowledgement of another epoch is refused", needs_cursor=True)
def ack_epoch(kit: Kit) -> None:
    """Acknowledge the next record in an epoch that never was."""
    seq = room(kit) + 1
    _unmoved(
        kit,
        lambda: kit.ack(seq, epoch="0" * 32),
        lambda reply: kit.refusal(reply, 409, "epoch-changed", "epoch", "first_seq"),
    )


@promise("ack-concurrent", "Acknowledgements at one moment end at the highest", needs_cursor=True)
def ack_concurrent(kit: Kit) -> None:
    """Send three at once, twice each."""
    seq = room(kit, 3)
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(kit.ack, [seq + 2, seq + 3, seq + 1, seq + 3, seq + 1, seq + 2]))
    for reply in replies:
        kit.ok(reply)
    now = kit.acked()
    kit.expect(replies[1], now == seq + 3, f"a cursor at {seq + 3}; it is at {now}")


# --- bodies that are none -------------------------------------------------------------------------


def _body(kit: Kit, seq: object, **more: object) -> bytes:
    return json.dumps({"epoch": kit.epoch, "seq": seq} | more).encode()


def _refuses(kit: Kit, field: str, bodies: Iterable[bytes], kind: str = "application/json") -> None:
    path = f"/v1/consumers/{kit.name}/ack"

    def act() -> Reply:
        for body in bodies:
            reply = kit.ask("POST", path, body, {"Content-Type": kind})
            problem = kit.refusal(reply, 422, "invalid", "errors")
            named = [str(error.get("field")) for error in problem["errors"]]
            kit.expect(reply, field in named, f"errors that name {field}")
        return reply

    _unmoved(kit, act, lambda _: None)


@promise("body-types", "A value of the wrong type is refused and named, never converted", needs_cursor=True)
def body_types(kit: Kit) -> None:
    """Write the sequence number in every wrong way."""
    seq = room(kit) + 1
    wrong = (str(seq), True, seq + 0.5, -1, 2**53, None, [1])
    _refuses(kit, "body.seq", [_body(kit, each) for each in wrong])
    _refuses(kit, "body.epoch", [_body(kit, seq, epoch=7)])


@promise("body-whole", "A whole number written with a point, as 3.0, is that number", needs_cursor=True)
def body_whole(kit: Kit) -> None:
    """Acknowledge what is acknowledged, with a point [JSON Schema 2020-12]."""
    _unmoved(kit, lambda: kit.ack(float(kit.acked())), kit.ok)


@promise("body-fields", "An unknown field is refused and named", needs_cursor=True)
def body_fields(kit: Kit) -> None:
    """Add a field."""
    _refuses(kit, "body.until", [_body(kit, room(kit) + 1, until="now")])


@promise("body-json", "What is no JSON object is refused", needs_cursor=True)
def body_json(kit: Kit) -> None:
    """Send half a JSON text, none, an array, nesting without end, and bytes that are no text."""
    _refuses(kit, "body", (b"{", b"", b"[]", b"[" * DEEP, b"\xff\xfe"))


@promise("content-type", "A body that does not say that it is JSON is refused", needs_cursor=True)
def content_type(kit: Kit) -> None:
    """Send the right body as plain text."""
    _refuses(kit, "body", [_body(kit, room(kit) + 1)], "text/plain")


@promise("half-body", "Half a body does nothing", needs_cursor=True)
def half_body(kit: Kit) -> None:
    """Announce more than is sent, and hang up."""
    body = _body(kit, room(kit) + 1)
    head = (
        f"POST /v1/consumers/{kit.name}/ack HTTP/1.1\r\nHost: {kit.server.host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body) + 10}\r\n\r\n"
    )

    def act() -> Reply:
        kit.requests += 1
        with socket.create_connection(kit.server, kit.pace.slack_s) as link:
            link.sendall(head.encode() + body)
        time.sleep(kit.pace.settle_s)
        return Reply("an acknowledgement with 10 bytes less than announced", None, "nothing")

    _unmoved(kit, act, lambda _: None)
