"""What every check of a promise uses: one request, what was sent and what came, and the list of promises.

A check raises ``Broken`` for a promise that was not kept, ``NotAsked`` where the station gives no occasion.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from station.cli.client import TIMEOUT_S, Answer, Server, ask
from station.cli.pages import Item, read_page
from station.store.chain import named_blobs

if TYPE_CHECKING:  # a library that no other command needs
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SHOWN = 200
"""Characters of a body in the report."""
BLOB_BYTES = 32 * 1024 * 1024
"""A larger blob is not downloaded for a check, nor one of two bytes, which has no inside."""
BLOB_TRIES = 5
SAMPLE = 100
"""Records of one page of the sample, which is the oldest and the newest of them."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the checks wait, in seconds."""

    wait_s: float = 1
    """Of a long poll that nothing ends."""
    slack_s: float = 5.0
    """How much later than it should an answer may come."""
    settle_s: float = 0.3
    """Until what was sent has certainly arrived."""
    header_s: float = 15.0
    """The longest that a header may take to come."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One exchange: what was sent, and the answer, or why there is none."""

    sent: str
    answer: Answer | None
    error: str = ""

    @property
    def status(self) -> int:
        """The status, 0 where nothing was answered."""
        return self.answer.status if self.answer else 0

    @property
    def body(self) -> bytes:
        """The body."""
        return self.answer.body if self.answer else b""

    @property
    def came(self) -> str:
        """The answer in a line."""
        if self.answer is None:
            return self.error
        return f"{self.status} {self.body[:SHOWN].decode('utf-8', 'replace')}".strip()

    def header(self, name: str) -> str:
        """Return a header, or nothing."""
        return str(self.answer.headers.get(name, "")) if self.answer else ""

    def json(self) -> dict[str, Any]:
        """Return the body's object; raises ``Broken``."""
        try:
            if self.answer:
                return self.answer.json()
        except ValueError:
            pass
        raise Broken(self, "a JSON object")


class Broken(Exception):
    """A promise was not kept: after ``sent`` came ``came`` instead of ``wanted``."""

    def __init__(self, reply: Reply, wanted: str) -> None:
        super().__init__(wanted)
        self.sent, self.came, self.wanted = reply.sent, reply.came, wanted


class NotAsked(Exception):
    """The station gives no occasion for this check; the message says why."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise and how it is checked."""

    name: str
    sentence: str
    check: Callable[[Kit], None]
    needs_cursor: bool


PROMISES: list[Promise] = []
"""In the order in which they are checked."""


def promise(
    name: str, sentence: str, *, needs_cursor: bool = False
) -> Callable[[Callable[[Kit], None]], Callable[[Kit], None]]:
    """Add a check to the list."""

    def add(check: Callable[[Kit], None]) -> Callable[[Kit], None]:
        PROMISES.append(Promise(name, sentence, check, needs_cursor))
        return check

    return add


@dataclass
class Kit:
    """A station under test, and the name under which cursors are moved."""

    server: Server
    name: str
    pace: Pace = field(default_factory=Pace)
    issuer: str = "urn:carril:client:conformance"
    """In whose name directives are sent."""
    issuer_key: Ed25519PrivateKey | None = None
    """The issuer's private key; without it a directive is only refused."""
    requests: int = 0
    memory: dict[str, object] = field(default_factory=dict)
    """What was done once, and is looked at by several checks."""

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Reply:
        """Send one request; whatever comes is a ``Reply``."""
        self.requests += 1
        said = "".join(f" {key}: {value}" for key, value in (headers or {}).items())
        sent = f"{method} {path}{said}"
        if body is not None:
            text = body[:SHOWN].decode("utf-8", "replace").strip()
            sent += f" with {len(body)} bytes {text}".rstrip()
        try:
            return Reply(sent, ask(self.server, method, path, body, headers, timeout_s))
        except (OSError, http.client.HTTPException) as error:
            return Reply(sent, None, f"no answer ({str(error) or type(error).__name__})")

    def feed(self, after: int, timeout_s: float = TIMEOUT_S, **query: object) -> Reply:
        """Ask for a page."""
        return self.ask("GET", self.feed_path(after, **query), timeout_s=timeout_s)

    def feed_path(self, after: int, **query: object) -> str:
        """Return the address of a page."""
        return f"/v1/feed?{urlencode({'after': after, 'epoch': self.epoch} | query)}"

    def send(self, method: str, path: str, value: object = None) -> Reply:
        """Send a command, with a JSON value where one is given."""
        headers = {"Content-Type": "application/json", "X-Carril": "1"}
        return self.ask(method, path, None if value is None else json.dumps(value).encode(), headers)

    def ack(self, seq: object, **more: object) -> Reply:
        """Acknowledge under our own name."""
        body = json.dumps({"epoch": self.epoch, "seq": seq} | more).encode()
        return self.ask("POST", f"/v1/consumers/{self.name}/ack", body, {"Content-Type": "application/json"})

    def acked(self) -> int:
        """Return our own cursor."""
        reply = self.ask("GET", f"/v1/consumers/{self.name}")
        acked = self.ok(reply).get("acked")
        if not isinstance(acked, int):
            raise Broken(reply, "200 and a cursor")
        return acked

    def ok(self, reply: Reply) -> dict[str, Any]:
        """Return the object of a 200; raises ``Broken``."""
        self.expect(reply, reply.status == 200, "200")
        return reply.json()

    def expect(self, reply: Reply, holds: bool, wanted: str) -> None:
        """Raise ``Broken`` unless it holds."""
        if not holds:
            raise Broken(reply, wanted)

    def refusal(self, reply: Reply, status: int, name: str, *members: str) -> dict[str, Any]:
        """Return the problem with this status and name and at least these members; raises ``Broken``."""
        problem = reply.answer.problem() if reply.answer else {}
        holds = (
            reply.status == status
            and problem.get("name") == name
            and problem.get("status") == status
            and reply.header("Content-Type").startswith("application/problem+json")
            and problem.keys() >= set(members)
        )
        with_members = f" with {', '.join(members)}" if members else ""
        self.expect(reply, holds, f"{status}, the problem {name}{with_members}")
        return problem

    # --- what the station holds -------------------------------------------------------------------

    @cached_property
    def start(self) -> dict[str, Any]:
        """Where a client begins, as the station said when the run began."""
        return self.ok(self.ask("GET", "/v1"))

    @property
    def epoch(self) -> str:
        """The epoch of the run."""
        return str(self.start["epoch"])

    @property
    def oldest(self) -> int:
        """The oldest record at the start of the run."""
        return int(self.start["oldest"])

    def head(self) -> int:
        """Return the last record of now."""
        return int(self.ok(self.ask("GET", "/v1"))["head"])

    @cached_property
    def pages(self) -> list[tuple[int, Reply]]:
        """The cursor and answer of two pages from the oldest record on, and of one up to the newest."""
        first = self.oldest - 1
        after = [first, first + SAMPLE, int(self.start["head"]) - SAMPLE]
        return [
            (each, self.feed(each, limit=SAMPLE, include="simulated"))
            for each in dict.fromkeys(max(each, first) for each in after)
            if each <= int(self.start["head"])
        ]

    @cached_property
    def items(self) -> list[Item]:
        """The records of the sample that can be read, in order, each once."""
        found: dict[int, Item] = {}
        for _, reply in self.pages:
            try:
                page = read_page(reply.answer) if reply.answer else None
            except ValueError:
                continue  # the check of the pages themselves says so
            found |= {item.seq: item for item in (page.items if page else ())}
        return [found[seq] for seq in sorted(found)]

    @cached_property
    def blob(self) -> tuple[str, int]:
        """Name and bytes of a blob that the sample names and the station still has."""
        named = [name for item in self.items for name in (named_blobs(item.event) if item.event else ())]
        for name in list(dict.fromkeys(reversed(named)))[:BLOB_TRIES]:  # the newest is the likeliest
            size = self.ask("HEAD", f"/v1/blobs/{name}").header("Content-Length")
            if size.isdecimal() and 2 < int(size) <= BLOB_BYTES:
                return name, int(size)
        raise NotAsked(f"no blob of at most {BLOB_BYTES // 2**20} MiB is named by the sample and still there")
