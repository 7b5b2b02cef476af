"""Carries out the lane's effects: the only asynchronous part between devices, journal, threads and screens.

Everything here runs on the event loop; threads report back through ``call_soon_threadsafe``. What screens
see is published when the journal has it (``Append.view``), with two exceptions that the design allows:
live samples, and an alarm that could not be stored within 100 ms, which is sent marked as not stored.

One batch at a time is on its way to the journal (``Outbox``). When it is refused the lane is out of service:
facts wait, in their order, for the next try, commands are refused. A Hold works whatever the store does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from drivers.api import Clock
from drivers.readings import Reading, ScanKey
from station.domain.decision import Refused
from station.domain.events import Event
from station.domain.values import ClockQuality, Verdict
from station.domain.view import DeviceView, LaneView
from station.lane.commands import Command, Decide
from station.lane.drafts import Batch, Journal, Outbox, is_hold, raised, scans_named
from station.lane.effects import (
    Append,
    Effect,
    EndScan,
    FeedScan,
    KeepPictures,
    KeepReport,
    KeepTrace,
    LiveSample,
    OpenScan,
    PicturesKept,
    Result,
    SetOutputs,
    Show,
    Suspect,
    TakeReport,
)
from station.lane.image import Image
from station.lane.imager import Imager, Vault
from station.lane.lane import Lane
from station.lane.live import Live
from station.lane.vault import keep_pictures, keep_report, keep_trace
from station.lane.worker import Worker
from station.runtime.bus import Bus, Message
from station.store.draft import Receipt
from station.store.errors import RecordRejected, Repeated, StoreUnavailable, Unknown

log = logging.getLogger("carril.lane")

TICK_S = 0.05
ALARM_STORE_LIMIT_S = 0.1
RECOVER_EVERY_S = 1.0
HANG_LIMIT_S = 5.0
"""Without an answer of the journal for so long nothing can be recorded: the lane goes out of service."""
NO_TOKEN = -1
MAX_EVIDENCE_BYTES = 64 * 1024 * 1024
"""Camera events that wait for the disk. One that finds no room is a read without pictures: the officer still
sees its text, and a disk that hangs does not fill the memory."""
MAX_UNSTORED = 1024
"""The lane is out of service meanwhile: only what the vehicle in it still does can add to this."""


@dataclass(slots=True)
class Ports:
    """Ways out of the lane, lent by the daemon."""

    journal: Journal
    vault: Vault
    bus: Bus
    clock: Clock
    set_outputs: Callable[[Mapping[str, bool]], None]
    acknowledge: Callable[[str, ScanKey, int, bool], None]
    suspect: Callable[[str, str, bool], None]
    """Tells the supervisor what the lane alone can know of a device: name, code, on or off."""
    clock_quality: Callable[[], ClockQuality]
    overlay: Callable[[LaneView], LaneView]
    """Fills in what only the daemon knows: centre, scripted officer."""
    told: Callable[[Sequence[Event]], None] = lambda events: None
    """Hears of every event that is durable."""
    taken: Callable[[str, str], None] = lambda device, key: None
    """Tells a device that the report of this key is durable."""


class LaneHost:
    """One lane at work."""

    def __init__(self, lane: Lane, ports: Ports, beat: Callable[[], None] = lambda: None) -> None:
        """Wire the lane; nothing runs before ``run``, which calls ``beat`` at every tick."""
        self._beat = beat
        self.lane = lane
        self.live = Live(lane.core)
        self._ports = ports
        self._loop = asyncio.get_running_loop()
        self._evidence = Worker("evidence", self._keep_now, MAX_EVIDENCE_BYTES)
        self._imager = Imager(ports.vault, self.report, self._acknowledge, self._grown)
        self._outbox = Outbox(lambda append: append.probe or append.token in self._replies)
        self._view = lane.view()
        self._replies: dict[int, asyncio.Future[Receipt]] = {}
        self._asked: dict[tuple[str, str, str], asyncio.Future[Receipt]] = {}
        """Commands on their way, by client, key and request: a repeat waits for the same answer."""
        self.ticked_s = ports.clock.monotonic_s()
        """When the lane last let time pass."""
        self._closed = False
        self._flying = False
        self._sent_s: float | None = None
        """Since when the journal has owed an answer."""
        self._blocked = False
        """The journal refused what comes first: nothing is sent before the next try."""
        self._lost = False
        """A fact can never be stored: only a restart, which looks at what is there, opens the lane again."""
        self._show_due = False
        """What changed meanwhile is to be shown once nothing is on its way to the journal any more."""

    # --- in -------------------------------------------------------------------------------------

    def reading(self, device: str, reading: Reading) -> None:
        """Take one reading; called by the supervisor on the loop."""
        self._carry(self.lane.accept(device, reading, self._ports.clock.stamp()))

    def health(self, device: DeviceView, before: str) -> None:
        """Take a change of health."""
        self._carry(self.lane.health(device, before, self._ports.clock.stamp()))

    def begin(self, effects: list[Effect]) -> None:
        """Carry out the effects of the start."""
        self._carry(effects)

    async def command(
        self, command: Command, client: str = "", key: str = "", request_sha256: str = ""
    ) -> Receipt:
        """Carry out an officer's command; returns when its record is durable.

        Raises ``Refused``, or what the store raises; then nothing moved. A repeat raises ``Repeated`` even
        when the state that its first one made would refuse it now. A Hold works before anybody is asked, also
        when the store fails: its record then waits. To hold again changes nothing.
        """
        asked = (client, key, request_sha256)
        hold = isinstance(command, Decide) and command.verdict == Verdict.HOLD
        if not hold and asked not in self._asked:
            await self._refuse_repeat(client, key)
        if key and asked in self._asked:
            return await asyncio.shield(self._asked[asked])
        try:
            effects = self.lane.command(command, self._ports.clock.stamp(), client, key, request_sha256)
        except Refused:
            if hold:
                await self._refuse_repeat(client, key)
            raise
        tokens = [effect.token for effect in effects if isinstance(effect, Append)]
        reply: asyncio.Future[Receipt] = self._loop.create_future()
        self._replies[tokens[0]] = reply
        if key:
            self._asked[asked] = reply
            reply.add_done_callback(lambda _: self._asked.pop(asked, None))
        self._carry(effects)
        return await asyncio.shield(reply)

    async def _refuse_repeat(self, client: str, key: str) -> None:
        if key and (stored := await self._ports.journal.answer(client, key)) is not None:
            raise Repeated(stored)

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until ``stop``."""
        recover_s = 0.0
        while not stop.is_set():
            await self._ports.clock.sleep(TICK_S)
            now = self._ports.clock.stamp()
            self._beat()
            self._carry(self.lane.tick(now))
            self.ticked_s = now.mono_ns / 1e9
            if self._sent_s is not None and self.ticked_s - self._sent_s > HANG_LIMIT_S:
                self._sent_s = None
                self._carry(self.lane.not_stored(NO_TOKEN, "cannot_record", now))
            self.live.flush(self._ports.bus, now.mono_ns / 1e9)
            self._carry(self.lane.clock(self._ports.clock_quality(), now))
            if (news := self._ports.journal.news()) is not None:
                self._carry(self.lane.troubles(news, now))
            unwell = self.lane.core.mode_cause == "cannot_record"
            if unwell and not self._flying and now.mono_ns / 1e9 >= recover_s:
                recover_s = now.mono_ns / 1e9 + RECOVER_EVERY_S
                self._try_again()

    def close(self) -> None:
        """End the threads; results that come later are ignored."""
        self._carry(self.lane.stop(self._ports.clock.stamp()))
        self._closed = True
        while not self._blocked and self._outbox:  # last words: nobody waits for the answers any more
            self._send()
            self._outbox.done()
            self._flying = False
        self._imager.close()
        self._evidence.end()
        self._evidence.ended(0.0)

    # --- out ------------------------------------------------------------------------------------

    @property
    def view(self) -> LaneView:
        """Return the last published snapshot."""
        return self._ports.overlay(self._view)

    def image(self, scan_id: str) -> Image | None:
        """Return a running or recent image."""
        return self._imager.image(scan_id)

    def show(self) -> None:
        """Draw again: something that only the daemon knows changed."""
        self._ports.bus.publish(Message("lane", {"lane": self.view.model_dump(mode="json")}))

    # --- effects --------------------------------------------------------------------------------

    def _carry(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SetOutputs):
                self._ports.set_outputs(effect.outputs)
            elif isinstance(effect, Append):
                self._append(effect)
            elif isinstance(effect, Suspect):
                # Its answer is a change of health, which must not come in the middle of these effects.
                self._loop.call_soon(self._ports.suspect, effect.device, effect.code, effect.on)
            elif isinstance(effect, TakeReport):
                self._ports.taken(effect.device, effect.key)
            elif isinstance(effect, LiveSample):
                self.live.sample(effect)
            elif isinstance(effect, Show):
                self._publish_now()
            elif isinstance(effect, OpenScan | FeedScan | EndScan):
                self._imager.do(effect)
            else:
                self._keep(effect)

    def _append(self, append: Append) -> None:
        self._outbox.put(append)
        if raised(append):
            self._loop.call_later(0 if self._blocked else ALARM_STORE_LIMIT_S, self._alarm_raw, append)
        if self._blocked:
            self._block(StoreUnavailable("Earlier records still wait for the disk."))
        else:
            self._send()

    def _send(self) -> None:
        """Give the journal what comes next, unless it still has something or refused it."""
        if self._flying or self._blocked or (batch := self._outbox.send()) is None:
            return
        self._flying = True
        self._sent_s = self._ports.clock.monotonic_s()
        try:
            future = self._ports.journal.append_soon(batch.drafts(), batch.idem(), again=batch.again)
        except Exception as error:
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._answered, batch, done))

    def _answered(self, batch: Batch, done: Future[Receipt]) -> None:
        self._flying, self._sent_s = False, None
        if (error := done.exception()) is not None:
            self._refused(batch, error)
        else:
            self._stored(batch, done.result())
        self._send()
        if self._show_due:
            self._publish_now()

    def _stored(self, batch: Batch, whole: Receipt) -> None:
        self._outbox.done()
        receipts = batch.receipts(whole)
        for append, receipt in receipts:
            self._publish_records(append, receipt)
            self._ports.told(append.events)
            for scan_id in scans_named(append):
                self._evidence.put(scan_id)
        for append, receipt in receipts:
            reply = self._replies.pop(append.token, None)
            self._carry(self.lane.stored(append.token, receipt.first, self._ports.clock.stamp()))
            if reply is not None:
                reply.set_result(receipt)

    def _refused(self, batch: Batch, error: BaseException) -> None:
        token = batch.appends[0].token
        if self._outbox.let_go(batch, error):
            return
        if token in self._replies and isinstance(error, Repeated | RecordRejected):
            self._outbox.done()
            self._replies.pop(token).set_exception(error)
            self._carry(self.lane.not_ordered(token, self._ports.clock.stamp()))
        elif not isinstance(error, RecordRejected):
            self._outbox.failed(batch, in_doubt=isinstance(error, Unknown))
            self._block(error)
        elif self._outbox.rejected(batch):
            log.error("sent again in a simpler form: %s", error)
        else:
            self._outbox.done()
            self._lost = True
            log.critical("lost, the journal takes it in no form (%s): %s", error, batch.drafts())
            self._block(error)

    def _block(self, error: BaseException) -> None:
        """Nothing can be stored now: facts wait in their order, what was not carried out is refused."""
        known = self.lane.core.mode_cause == "cannot_record"
        log.log(logging.DEBUG if known else logging.ERROR, "cannot record: %s", error)
        self._blocked = True
        refused = [NO_TOKEN]

        def choose(append: Append) -> Append | None:
            reply = self._replies.pop(append.token, None)
            if reply is not None:
                reply.set_exception(error)
                if is_hold(append):
                    return replace(append, idempotency_key="")  # its command is answered: a fact like others
            elif not append.probe:
                return append
            refused.append(append.token)
            return None

        self._outbox.sift(choose)
        for append in self._outbox.trim(MAX_UNSTORED):
            log.critical("lost for want of room: %s", ", ".join(e.type_name() for e in append.events))
        for token in refused:
            self._carry(self.lane.not_stored(token, "cannot_record", self._ports.clock.stamp()))

    def _publish_records(self, append: Append, receipt: Receipt) -> None:
        # What waited for the disk shows a lane that was: out of service it must not look open.
        view = self._outbox.mark(self.lane.view()) if self.lane.core.mode == "out_of_service" else append.view
        self._view = view.model_copy(update={"at": f"{receipt.epoch}:{receipt.last}"})
        lane = self.view.model_dump(mode="json")
        for seq, event in enumerate(append.events, start=receipt.first):
            data = {
                "prev": f"{receipt.epoch}:{seq - 1}",
                "type": event.type_name(),
                "version": getattr(event, "version", None),
                "inspection_id": getattr(event, "inspection_id", None),
                "lane": lane,
            }
            self._ports.bus.publish(Message("record", data, f"{receipt.epoch}:{seq}"))

    def _publish_now(self) -> None:
        """Show the state of now, unless a fact in it is still on its way to the journal."""
        self._show_due = bool(self._outbox) and self.lane.core.mode != "out_of_service"
        if not self._show_due:
            self._view = self._outbox.mark(self.lane.view()).model_copy(update={"at": self._view.at})
            self.show()

    def _alarm_raw(self, append: Append) -> None:
        for alarm in self._outbox.mark(append.view).alarms:
            if alarm.alarm_id in raised(append) and not alarm.stored:
                self._ports.bus.publish(Message("alarm_raw", {"alarm": alarm.model_dump(mode="json")}))

    def _try_again(self) -> None:
        """Out of service because nothing could be recorded: see whether it can be again."""
        self._blocked = False
        if self._outbox:
            self._send()
        elif not self._lost:
            self._carry(self.lane.try_recording(self._ports.clock.stamp()))

    # --- threads --------------------------------------------------------------------------------

    def _keep(self, work: KeepPictures | KeepTrace | KeepReport) -> None:
        if not isinstance(work, KeepPictures):  # of reports no more come while those that came wait
            self._evidence.put(work)
        elif not self._evidence.put(work, len(work.read.body) + sum(len(p.jpeg) for p in work.read.pictures)):
            log.error("no room for the pictures of %s: too many wait for the disk", work.device)
            # Its answer must not come in the middle of these effects.
            self._loop.call_soon(self._result, PicturesKept(work, {}, failed="storage"))

    def _keep_now(self, work: KeepPictures | KeepTrace | KeepReport | str) -> None:
        keep = self._ports.vault.keep
        match work:
            case str():
                self._ports.vault.drop_lines(work)
            case KeepPictures():
                self.report(keep_pictures(keep, work))
            case KeepReport():
                self.report(keep_report(keep, work))
            case _:
                self.report(keep_trace(keep, work))

    def report(self, result: Result) -> None:
        """Take the result of work; from any thread."""
        self._threadsafe(self._result, result)

    def _result(self, result: Result) -> None:
        self._carry(self.lane.result(result, self._ports.clock.stamp()))

    def _acknowledge(self, device: str, key: ScanKey, next_line: int, end: bool) -> None:
        self._threadsafe(self._ports.acknowledge, device, key, next_line, end)

    def _grown(self, scan_id: str, first: int, last: int) -> None:
        self._threadsafe(self.live.columns, scan_id, first, last)

    def _threadsafe(self, call: Callable[..., None], *args: Any) -> None:
        if not self._closed:
            self._loop.call_soon_threadsafe(call, *args)
