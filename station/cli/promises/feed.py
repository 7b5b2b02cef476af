"""Promises of the feed: dense, provable, repeatable, and waits that end when they should."""

from __future__ import annotations

import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from station.cli.client import MOST_BYTES, Answer
from station.cli.pages import BadPage, check_chain, check_dense, read_page
from station.cli.promises.kit import SAMPLE, Broken, Kit, NotAsked, Reply, promise
from station.store.chain import FLAGS

FAR = 1000
"""So many records ahead of the last one are not written while a check runs."""
POLLS = 5
LONG_S = 30


@promise("index", "GET /v1 says where to begin: epoch, range and limits")
def index(kit: Kit) -> None:
    """Check the members and the order of the numbers."""
    reply = kit.ask("GET", "/v1")
    told = kit.ok(reply)
    numbers = [told.get(key) for key in ("first_seq", "oldest", "head")]
    texts = [told.get(key) for key in ("station", "epoch", "api")]
    limits = told.get("limits")
    kit.expect(
        reply,
        all(isinstance(text, str) and text for text in texts)
        and all(type(number) is int for number in numbers)
        and 1 <= numbers[0] <= numbers[1] <= numbers[2] + 1  # type: ignore[operator]  # ints, as of the line above
        and isinstance(limits, dict)
        and {"limit", "wait", "page_bytes"} <= limits.keys(),
        "station, epoch, api, limits, and first_seq ≤ oldest ≤ head + 1",
    )


@promise("dense", "A page has every record after the cursor, in order, none left out")
def dense(kit: Kit) -> None:
    """Count the records of the sample."""
    for after, reply in kit.pages:
        kit.ok(reply)
        try:
            check_dense(read_page(_answer(reply)), kit.epoch, after)
        except BadPage as error:
            raise Broken(reply, f"dense pages; {error}") from error


@promise("chain", "Each record's hash follows from its bytes and the hash before")
def chain(kit: Kit) -> None:
    """Recompute the hashes of the sample, also from one page to the next."""
    hash_, next_ = "", -1
    for after, reply in kit.pages:
        try:
            page = read_page(_answer(reply))
        except BadPage as error:
            raise NotAsked("the pages cannot be read") from error
        try:
            hash_ = check_chain(page, hash_ if after == next_ else "")
        except ValueError as error:
            raise Broken(reply, f"an unbroken chain; {error}") from error
        next_ = page.next


@promise("replay", "The same cursor gives the same records, again and to two pollers at once")
def replay(kit: Kit) -> None:
    """Ask four times for the same page, twice at the same moment."""
    limit = min(SAMPLE // 2, kit.head() - kit.oldest + 1)
    if limit < 1:
        raise NotAsked("there are no records")
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda _: kit.feed(kit.oldest - 1, limit=limit), range(4)))
    first = kit.ok(replies[0])
    for reply in replies[1:]:
        kit.expect(reply, kit.ok(reply)["items"] == first["items"], "the records of the first time")


@promise("record-bytes", "GET /v1/records/{seq} gives the bytes that were hashed")
def record_bytes(kit: Kit) -> None:
    """Compare the last record of the sample with its canonical form."""
    items = [item for item in kit.items if item.event is not None]
    if not items:
        raise NotAsked("there are no records")
    reply = kit.ask("GET", f"/v1/records/{items[-1].seq}")
    kit.expect(
        reply,
        reply.status == 200
        and reply.body == items[-1].body
        and reply.header("ETag") == f'"{items[-1].hash}"',
        "the event of the feed in RFC 8785 form, and its hash as ETag",
    )


@promise("stubs", "Simulated, test and exercise records are stubs unless asked for")
def stubs(kit: Kit) -> None:
    """Ask for one without ``include``."""
    marked = [
        item for item in kit.items if item.event and any(item.event["data"].get(flag) for flag in FLAGS)
    ]
    if not marked:
        raise NotAsked("the sample has no simulated record")
    reply = kit.feed(marked[-1].seq - 1, limit=1)
    wanted = {"seq": marked[-1].seq, "hash": marked[-1].hash, "withheld": "simulated"}
    kit.expect(reply, kit.ok(reply).get("items") == [wanted], f"the stub {wanted}")


@promise("peek", "prio=0 gives alarms alone")
def peek(kit: Kit) -> None:
    """Hold it against the alarms of the sample."""
    alarms = [item.seq for item in kit.items if item.event and item.event["prio"] == 0]
    if not alarms:
        raise NotAsked("the sample has no alarm")
    reply = kit.feed(alarms[0] - 1, prio=0, limit=SAMPLE, include="simulated")
    found = [item.get("event", {}).get("prio") for item in kit.ok(reply).get("items", [])]
    kit.expect(reply, bool(found) and set(found) == {0}, "records of prio 0")


@promise("feed-epoch", "A cursor of another epoch is refused with the way to go on")
def feed_epoch(kit: Kit) -> None:
    """Ask with an epoch that never was."""
    reply = kit.feed(kit.oldest - 1, epoch="0" * 32)
    problem = kit.refusal(reply, 409, "epoch-changed", "epoch", "first_seq")
    kit.expect(reply, problem["epoch"] == kit.epoch, f"the epoch {kit.epoch}")


@promise("feed-beyond", "A cursor beyond the last record is refused")
def feed_beyond(kit: Kit) -> None:
    """Ask for what is not written."""
    kit.refusal(kit.feed(kit.head() + FAR), 409, "beyond-head", "head")


@promise("feed-trimmed", "A cursor before the oldest record is refused with the gap")
def feed_trimmed(kit: Kit) -> None:
    """Ask for what was removed."""
    if kit.oldest < 2:
        raise NotAsked("nothing was ever removed")
    reply = kit.feed(kit.oldest - 2)
    problem = kit.refusal(reply, 410, "trimmed", "oldest")
    kit.expect(reply, problem["oldest"] >= kit.oldest, f"oldest, at least {kit.oldest}")


@promise("gzip", "gzip is sent only to those who take it, and holds the same page")
def gzip(kit: Kit) -> None:
    """Compare both forms of a page."""
    path = kit.feed_path(kit.oldest - 1, limit=SAMPLE)
    plain = kit.ask("GET", path, headers={"Accept-Encoding": "gzip;q=0"})
    kit.expect(plain, not plain.header("Content-Encoding"), "a plain body, since gzip was refused")
    packed = kit.ask("GET", path, headers={"Accept-Encoding": "gzip"})
    if packed.header("Content-Encoding") == "gzip":
        body = b""
        try:
            body = zlib.decompressobj(31).decompress(packed.body, MOST_BYTES)
        except zlib.error as error:
            raise Broken(packed, f"gzip ({error})") from error
        packed = Reply(packed.sent, Answer(packed.status, _answer(packed).headers, body))
    kit.expect(
        packed, kit.ok(packed).get("items") == kit.ok(plain).get("items"), "the same records as without"
    )


# --- waits ----------------------------------------------------------------------------------------


def _poll(kit: Kit) -> Reply:
    return kit.feed(kit.head(), kit.pace.wait_s + kit.pace.slack_s, wait=f"{kit.pace.wait_s:g}")


def _has_items(reply: Reply) -> bool:
    return reply.status == 200 and bool(reply.json().get("items"))


@promise(
    "long-poll", "A wait lasts until there is a record, or its time is over, and then gives an empty page"
)
def long_poll(kit: Kit) -> None:
    """Wait behind the last record."""
    began_s = time.monotonic()
    reply = _poll(kit)
    took_s = time.monotonic() - began_s
    kit.ok(reply)
    waited = 0.8 * kit.pace.wait_s <= took_s <= kit.pace.wait_s + kit.pace.slack_s
    kit.expect(
        reply,
        _has_items(reply) or waited,
        f"a page after {kit.pace.wait_s:g} s; it came after {took_s:.2f} s",
    )


@promise("five-polls", "At most four requests of one client wait, a fifth is refused with Retry-After")
def five_polls(kit: Kit) -> None:
    """Wait five times at once."""
    busy = False
    for times in (2, 4, 8):  # longer each time: on a slow link the first may end before the fifth begins
        head, wait_s = kit.head(), times * kit.pace.wait_s
        with ThreadPoolExecutor(POLLS) as pool:
            polls = [
                pool.submit(kit.feed, head, wait_s + kit.pace.slack_s, wait=f"{wait_s:g}")
                for _ in range(POLLS)
            ]
        replies = [poll.result() for poll in polls]
        refused = [reply for reply in replies if reply.status != 200]
        for reply in refused:
            kit.refusal(reply, 429, "too-many")
            kit.expect(reply, reply.header("Retry-After").isdecimal(), "Retry-After in seconds")
        if refused:
            return
        busy = any(_has_items(reply) for reply in replies)
    if busy:
        raise NotAsked("the lane is too busy: a record ended the waits each time")
    raise Broken(replies[-1], "429 for one of five")


@promise("hang-up", "A client that hangs up frees its waits at once")
def hang_up(kit: Kit) -> None:
    """Wait four times, go away, and wait again."""
    head = kit.head()
    for _ in range(POLLS - 1):
        kit.requests += 1
        with socket.create_connection(kit.server, kit.pace.slack_s) as link:
            head_line = f"GET {kit.feed_path(head, wait=LONG_S)} HTTP/1.1\r\nHost: {kit.server.host}\r\n\r\n"
            link.sendall(head_line.encode())
            time.sleep(kit.pace.settle_s)
    ends_s = time.monotonic() + kit.pace.slack_s
    while (reply := _poll(kit)).status == 429 and time.monotonic() < ends_s:
        time.sleep(kit.pace.wait_s)
    kit.expect(reply, reply.status == 200, "200, since the waits before have ended")


def _answer(reply: Reply) -> Any:
    if reply.answer is None:
        raise Broken(reply, "an answer")
    return reply.answer
