"""The reference consumer: it keeps what a station recorded, then acknowledges it."""

from __future__ import annotations

import copy
import http.client
import json
from collections.abc import Callable
from time import sleep
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

from station.cli.archive import Archive, Cursor
from station.cli.client import TIMEOUT_S, Answer, Later, Server, ask, no_answer, raise_later
from station.cli.download import DAMAGED, OTHER_BYTES, fetch
from station.cli.errors import UserError
from station.cli.pages import (
    BadPage,
    Discontinued,
    Item,
    Page,
    check_chain,
    check_dense,
    read_page,
)
from station.runtime.retry import Backoff
from station.store.chain import genesis, named_blobs, unwrapped

if TYPE_CHECKING:
    from station.cli.witness import Witness

WAIT_S = 30
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
MOST_RETRY_AFTER_S = 60
LOST = "carril.records.lost"
UNVERIFIED = -1
"""Size of a blob whose bytes are not those of its name: its receipt says so."""
MOST_ALARMS = 100
"""Alarms that are remembered as said."""
ONCE_TRIES = 5
"""How often ``--once`` tries in vain before it gives up: some 8 s."""


class Consumer:
    """Follows one station under one name. ``archive`` is where it keeps; without one it only prints."""

    def __init__(
        self, place: Server, name: str, archive: Archive | None, tell: Callable[[str], None]
    ) -> None:
        """Take up the archive's cursor."""
        self._server = place
        self._name = name
        self._archive = archive
        self._tell = tell
        self._cursor: Cursor | None = archive.cursor if archive else None
        self._witness: Witness | None = None
        if archive:
            from station.cli.witness import Witness  # libraries that no other command needs

            self._witness = Witness(archive.folder, self._alarm)
        self.alarms: set[str] = set()
        """What a person must be told of."""
        self._begun = False
        self._acked: tuple[str, int] | None = None
        self._records = self._blobs = self._blob_bytes = 0

    def summary(self) -> str:
        """Return what was taken, in a line."""
        place = f" up to {self._cursor.seq} of epoch {self._cursor.epoch}" if self._cursor else ""
        blobs = f", {self._blobs} blobs ({self._blob_bytes / 1e6:.1f} MB)" if self._archive else ""
        return f"taken: {self._records} records{place}{blobs}"

    def _alarm(self, sentence: str) -> None:
        """Say something loudly, once."""
        if sentence not in self.alarms:
            self._tell(f"ALARM: {sentence}")
            if len(self.alarms) < MOST_ALARMS:
                self.alarms.add(sentence)

    def run(self, *, once: bool) -> None:
        """Follow for ever, or until there is no more."""
        pauses, failures, trouble = Backoff(), 0, ""
        while True:
            try:
                more = self._step(0 if once else WAIT_S)
            except Later as later:
                failures += 1
                if once and failures == ONCE_TRIES:
                    raise UserError(f"{later}; tried {failures} times", 1) from later
                if str(later) != trouble:
                    trouble = str(later)
                    self._tell(f"{trouble}; trying again")
                pause_s = pauses.next_s(FIRST_PAUSE_S, LONGEST_PAUSE_S)
                sleep(max(pause_s, min(later.wait_s, MOST_RETRY_AFTER_S)))
                continue
            if trouble:
                self._tell("it goes on")
            failures, trouble = 0, ""
            pauses.reset()
            if once and not more:
                return

    def _step(self, wait_s: int) -> bool:
        """Take one page; return whether there may be more at once."""
        if not self._begun:
            self._begin()
        self._settle()
        cursor = self._the_cursor
        path = f"/v1/feed?after={cursor.seq}&epoch={cursor.epoch}&limit=500&wait={wait_s}&include=simulated"
        path += f"&consumer={quote(self._name, safe='')}"
        answer = self._ask("GET", path, timeout_s=wait_s + TIMEOUT_S)
        if answer.status != 200:
            more = self._refused(answer)
            sleep(FIRST_PAUSE_S)  # a station that changes its mind at once must not keep us busy
            return more
        try:
            page = read_page(answer)
            check_dense(page, cursor.epoch, cursor.seq)
            hash_ = check_chain(page, cursor.hash)
        except Discontinued as error:
            alarm = (
                "the station's history does not continue what is kept here. Tell a person. Nothing is taken"
            )
            self.alarms.add(alarm)
            raise Later(f"ALARM: {alarm}: {error}") from error
        except BadPage as error:
            raise Later(f"nothing is taken: {error}") from error
        if self._witness:
            self._witness.look(page, cursor.station, cursor.seq, cursor.hash)
        if page.items:
            self._take(page, hash_)
            self._settle()
        elif wait_s:
            sleep(FIRST_PAUSE_S)  # nor one that does not wait
        return page.head > page.next

    @property
    def _the_cursor(self) -> Cursor:
        assert self._cursor is not None  # noqa: S101 - set by _begin
        return self._cursor

    @property
    def _consumer(self) -> str:
        return f"/v1/consumers/{quote(self._name, safe='')}"

    def _begin(self) -> None:
        """Learn whom we speak to and, without a cursor of our own, where the station believes us to be."""
        index = self._object("/v1")
        station = index.get("station")
        if not isinstance(station, str):
            raise Later("what answers is no station")
        if self._cursor is None:
            self._cursor = Cursor(station, self._name, *self._station_cursor())
            self._acked = (self._cursor.epoch, self._cursor.seq)
            if self._archive:
                self._archive.keep(self._cursor)
        mine = self._cursor
        if (mine.station, mine.name) != (station, self._name):
            raise UserError(
                f"the folder has the records of {mine.station} for {mine.name}, not of {station} for "
                f"{self._name}; give another one with --into"
            )
        if self._archive and self._archive.beyond and self._archive.cut(self._station_cursor()[1]):
            self._alarm(
                "cursor.json is older than what was acknowledged. What lies beyond it was moved aside, into "
                f"{self._archive.folder}/*.beyond-*: some of it may not come again. Tell a person"
            )
        if self._witness:
            self._witness.meet(index.get("head_key"))
            self._ask_again(self._witness, mine.epoch)
        self._begun = True
        self._tell(
            f"{station} at {self._server.url}, as {self._name}, after {mine.seq} of epoch {mine.epoch}"
        )

    def _station_cursor(self) -> tuple[str, int]:
        """Return where the station believes us to be."""
        cursor = self._object(self._consumer)
        try:
            return str(cursor["epoch"]), int(cursor["acked"])
        except (LookupError, TypeError, ValueError) as error:
            raise Later(f"the station's cursor is none ({error!r})") from error

    def _ask_again(self, witness: Witness, epoch: str) -> None:
        """Ask the station for the record of the newest head that is kept: it may have changed meanwhile."""
        head = witness.newest(epoch)
        if head is None:
            return
        answer = self._ask("GET", f"/v1/feed?after={head.seq - 1}&epoch={epoch}&limit=1&include=simulated")
        if answer.status != 200:
            return  # what that means the feed says next
        try:
            page = read_page(answer)
            check_dense(page, epoch, head.seq - 1)
        except BadPage as error:
            raise Later(f"nothing is taken: {error}") from error
        for item in page.items:
            if item.withheld != "damaged":
                witness.hold_against(head, item.hash)

    # --- what a page brings -----------------------------------------------------------------------

    def _take(self, page: Page, hash_: str) -> None:
        """Keep a page: first its blobs, then its records together with the cursor."""
        cursor = copy.deepcopy(self._the_cursor)
        cursor.seq, cursor.hash = page.next, hash_
        lines: list[bytes] = []
        sizes: dict[str, int] = {}
        refused: dict[int, str] = {}
        for item in page.items:
            head = {"epoch": page.epoch, "seq": item.seq, "hash": item.hash}
            event = item.event
            if event is None:
                if item.withheld == "damaged":
                    self._alarm(f"record {item.seq} of epoch {page.epoch} is damaged there. Tell a person")
                lines.append(_line(head | {"withheld": item.withheld}))
                continue
            ids = [each.get("id") for each in unwrapped(event)]
            had_already = [each for each in ids if cursor.has(each)]
            for each in ids:
                cursor.take(each)
            if event.get("type") == LOST:
                self._lost(event, cursor)
            if had_already:
                lines.append(_line(head | {"duplicate": had_already[-1]}))
            else:
                lines.append(_line(head)[:-2] + b',"event":' + item.body + b"}\n")
            if self._archive:  # of what it had already, too: a new epoch knows no receipts
                for digest in named_blobs(event):
                    path = self._archive.blob(digest)
                    had, missing = path.exists(), fetch(self._server, self._archive, digest)
                    if not missing:
                        sizes[digest] = path.stat().st_size
                        self._blobs += not had
                        self._blob_bytes += 0 if had else sizes[digest]
                    else:
                        self._tell(f"blob {digest} of record {item.seq} cannot be had: {missing}")
                        lines.append(_line(head | {"blob": digest, "missing": missing}))
                        if missing == OTHER_BYTES:
                            sizes[digest] = UNVERIFIED
                        if missing in (DAMAGED, OTHER_BYTES):
                            self._alarm(f"evidence of record {item.seq} is damaged there. Tell a person")
                            refused[item.seq] = f"blob {digest}: {missing}"
        cursor.owed, cursor.nacks = list(sizes.items()), list(refused.items())
        if self._archive:
            self._archive.keep(cursor, lines)
        self._cursor = cursor
        self._records += len(page.items)
        if self._archive:
            blobs = f", {len(sizes)} blobs" if sizes else ""
            self._tell(f"{len(page.items)} records up to {page.next}{blobs}")
        else:
            for item in page.items:
                self._tell(_shown(item))

    def _lost(self, event: dict[str, Any], cursor: Cursor) -> None:
        """Say what a station has lost: loudly, unless all of it is here."""
        try:
            epoch, first, last = (event["data"][name] for name in ("epoch", "from", "to"))
            lacking = cursor.lacks(epoch, first, last)
        except (LookupError, TypeError):
            return self._alarm("the station lost records, and does not say which. Tell a person")
        lost = f"the station lost records {first} to {last} of epoch {epoch}"
        if lacking:
            self._alarm(f"{lost}; {lacking} of them never came here. Tell a person")
        else:
            self._tell(f"{lost}; all of them are kept here")

    def _settle(self) -> None:
        """Send the receipts that are owed, and acknowledge what is kept."""
        cursor = self._the_cursor
        if self._archive is None or self._acked == (cursor.epoch, cursor.seq):
            return
        for digest, size in cursor.owed:
            is_own = size != UNVERIFIED
            body = {"consumer": self._name, "bytes": size if is_own else 0, "verified": is_own}
            answer = self._ask("POST", f"/v1/blobs/{digest}/receipt", body)
            if not 200 <= answer.status < 300 and answer.status != 404:  # an older station takes no receipts
                self._tell(f"the receipt for blob {digest} is refused: {answer.told()}")
        cursor.owed = []
        nacks = [{"seq": seq, "reason": reason} for seq, reason in cursor.nacks]
        body = {"epoch": cursor.epoch, "seq": cursor.seq, **({"nack": nacks} if nacks else {})}
        answer = self._ask("POST", f"{self._consumer}/ack", body)
        cursor.nacks = []
        if answer.status == 422 and nacks:  # refused too late: the records were removed meanwhile
            raise Later(f"the station does not take back records: {answer.told()}")
        if answer.status == 200:
            told = self._object_of(answer)
            acked = told.get("acked")
            if told.get("epoch") != cursor.epoch or not isinstance(acked, int) or acked < cursor.seq:
                raise Later(f"the station does not say that {cursor.seq} is acknowledged")
        elif answer.problem().get("name") != "epoch-changed":  # the feed says it again
            self._end(answer)
        self._acked = (cursor.epoch, cursor.seq)

    # --- what a station refuses -------------------------------------------------------------------

    def _refused(self, answer: Answer) -> bool:
        """Go on where the station says, after a new epoch or behind a gap; raise for every other refusal."""
        problem, cursor = answer.problem(), copy.deepcopy(self._the_cursor)
        name = problem.get("name")
        try:
            if name == "epoch-changed":
                self._new_epoch(problem, cursor)
                self._cursor = cursor  # durable with its first page: until then the station says it again
                return True
            if name == "trimmed" and (oldest := int(problem["oldest"])) - 1 > cursor.seq:
                gap = {"first": cursor.seq + 1, "last": oldest - 1}
                text = f"a gap: records {gap['first']} to {gap['last']} were removed before they came here"
                if self._object(self._consumer).get("required") is False:
                    self._tell(text)
                else:
                    self._alarm(f"{text}, though {self._name} is required. Tell a person")
                cursor.seq, cursor.hash = oldest - 1, ""
                if self._archive:
                    self._archive.keep(cursor, [_line({"epoch": cursor.epoch, "gap": gap})])
                self._cursor = cursor
                return True
        except (LookupError, TypeError, ValueError) as error:
            raise Later(f"the station refuses, and does not say how to go on ({error!r})") from error
        self._end(answer)

    def _new_epoch(self, problem: dict[str, Any], cursor: Cursor) -> None:
        epoch, first_seq, last_hash = (
            bytes.fromhex(problem["epoch"]),
            problem["first_seq"],
            problem["previous_hash"],
        )
        if (problem["previous"], problem["previous_last"]) == (cursor.epoch, cursor.seq):
            if last_hash and cursor.hash and last_hash != cursor.hash:
                self._alarm(f"record {cursor.seq} was another one when it came here. Tell a person")
        if problem["previous"] == cursor.epoch and self._witness:
            self._witness.begun_anew(cursor.epoch, problem["previous_last"], last_hash)
        cursor.epoch, cursor.seq = epoch.hex(), int(first_seq) - 1
        cursor.hash = genesis(epoch, bytes.fromhex(last_hash or "")).hex()
        self._acked = (cursor.epoch, cursor.seq)
        self._tell(f"the journal began anew: on with epoch {cursor.epoch}, after {cursor.seq}")

    def _end(self, answer: Answer) -> NoReturn:
        name = answer.problem().get("name")
        if name is None:
            raise Later(f"what answers is no station ({answer.status})")
        if name == "beyond-head":
            raise UserError(
                f"ALARM: the station holds less than came here: data were lost there. {answer.told()}", 1
            )
        if name == "not-found":
            raise UserError(
                f"{self._server.url} knows no consumer {self._name}; add to its lane file: "
                f'[[consumer]] name = "{self._name}", required = false'
            )
        raise UserError(f"{self._server.url} refuses: {answer.told()}")

    # --- one request ------------------------------------------------------------------------------

    def _object(self, path: str) -> dict[str, Any]:
        answer = self._ask("GET", path)
        if answer.status != 200:
            self._end(answer)
        return self._object_of(answer)

    def _object_of(self, answer: Answer) -> dict[str, Any]:
        try:
            return answer.json()
        except ValueError as error:
            raise Later(f"what answers is no station ({error})") from error

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = TIMEOUT_S
    ) -> Answer:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "X-Carril": "1"}
        try:
            answer = ask(self._server, method, path, content, headers, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            raise no_answer(error) from error
        raise_later(answer)
        return answer


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _shown(item: Item) -> str:
    if item.event is None:
        return f"{item.seq}  withheld: {item.withheld}"
    told = (str(item.event.get(key)) for key in ("time", "type", "subject"))
    return f"{item.seq}  {'  '.join(told)}"
