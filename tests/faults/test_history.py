"""A lane that is killed again and again under trucks that all alarm: its devices, its answers and a consumer
tell the same story. And the checker itself is no fool: every kind of broken history is found."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.history import Alarm, Confirmed, History, Page, PortalTap, faults
from tests.support.station import Station, lane_file

RATE = 10.0
CONSUMER = "history"
GRACE_S = 1.0
"""What a device emitted so shortly before a kill may never have been read."""
ARRIVES_S = 30.0


@dataclass
class Consumer:
    """Polls and acknowledges, one page late; begins again where its last acknowledgement was."""

    port: int
    history: History
    ended: threading.Event = field(default_factory=threading.Event)
    reached: int = 0
    failure: str = ""
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self.ended.set()
        assert self._thread is not None
        self._thread.join(10)
        assert not self.failure, self.failure

    def _run(self) -> None:
        try:
            known = self._call("GET", f"/v1/consumers/{CONSUMER}")
            epoch, after = known["epoch"], known["acked"]
            while not self.ended.is_set():
                query = f"after={after}&epoch={epoch}&limit=20&wait=1&include=simulated"
                page = self._call("GET", f"/v1/feed?{query}")
                items = tuple({**i["event"], "seq": i["seq"], "hash": i["hash"]} for i in page["items"])
                self.history.pages.append(Page(epoch, after, page["next"], items))
                if items:
                    body = {"epoch": epoch, "seq": after}  # the page before: this one it may lose
                    answer = self._call("POST", f"/v1/consumers/{CONSUMER}/ack", body)
                    self.history.acked.append((epoch, answer["acked"]))
                after = self.reached = page["next"]
        except (OSError, http.client.HTTPException):
            return  # the station was killed
        except Exception as error:
            self.failure = repr(error)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as link:
            sent = None if body is None else json.dumps(body)
            link.request(method, path, sent, {"Content-Type": "application/json"})
            answer = link.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise ValueError(f"{method} {path}: {answer.status} {text!r}")
            return json.loads(text)


@dataclass
class Life:
    """From one start of the lane to its end."""

    station: Station
    history: History
    tap: PortalTap
    consumer: Consumer

    @classmethod
    def begin(cls, station: Station, history: History) -> Life:
        station.start()
        life = cls(station, history, PortalTap(station.ports["rpm1"]), Consumer(station.port, history))
        life.tap.start()
        life.consumer.start()
        return life

    def alarms(self) -> list[Alarm]:
        """Return the alarm of each truck so far."""
        told = self.tap.alarms("rpm1", time.monotonic())
        return [alarm for alarm in told if alarm.channel == "gamma" and alarm.certain]

    def drive(self, trucks: int) -> None:
        """Be the officer until so many trucks have alarmed."""

        def alarmed() -> bool:
            self.decide()
            return len(self.alarms()) >= trucks

        self.station.until(alarmed, f"{trucks} trucks have alarmed", ARRIVES_S)

    def go_on(self, seconds: float | None) -> None:
        """Be the officer for so long; ``None``: until the last of them is sealed."""
        ends_s = None if seconds is None else time.monotonic() + seconds
        last = self.station.records("radiation_alarm.raised")[-1]["inspection_id"]

        def over() -> bool:
            self.decide()
            if ends_s is not None:
                return time.monotonic() > ends_s
            return bool(self.station.records("inspection.sealed", inspection_id=last))

        self.station.until(over, "the last truck is sealed", ARRIVES_S)

    def decide(self) -> None:
        seen = self.station.lane()["inspection"]
        if seen is None or seen["state"] != "awaiting_decision":
            return
        reply = self.station.decide("secondary", seen)
        if reply.status == 201:
            place = reply.json()["record"]
            self.history.confirmed.append(
                Confirmed(f"{place['epoch']}:{place['seq']}", "carril.decision.recorded")
            )

    def killed(self) -> None:
        killed_s = time.monotonic()
        self.station.kill()
        self._over(killed_s)

    def stopped(self) -> None:
        """Let the consumer have everything, then stop."""
        head = self.station.get("/v1").json()["head"]
        self.station.until(lambda: self.consumer.reached >= head, "the consumer has everything")
        self.consumer.end()
        stopped_s = time.monotonic()
        self.station.stop()
        self._over(stopped_s)

    def _over(self, at_s: float) -> None:
        self.tap.end()
        self.consumer.end()
        self.history.emitted += self.tap.alarms("rpm1", at_s - GRACE_S)


SOURCES = "[[truck.sources]]\nat_m = 4.0\nspan_m = 3.0\ngamma_cps = 2500.0\n"
TRUCK = '[[truck]]\nname = "{n}"\nplate = "LXR 48{n:02}"\nspeed_mps = 5.0\nlength_m = 8.0\nseed = {n}\n'


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    scenario = tmp_path / "trucks.toml"
    trucks = "".join(TRUCK.format(n=n) + SOURCES for n in range(5))
    scenario.write_text('title = "Every truck alarms"\ngap_s = 0.0\n' + trucks, encoding="utf-8")
    lane = lane_file(tmp_path, "demo", RATE)
    with lane.open("a", encoding="utf-8") as file:
        file.write(f'\n[[consumer]]\nname = "{CONSUMER}"\n')
    options = ("--scenario", str(scenario))
    running = Station(lane, tmp_path / "state", tmp_path / "daemon.log", options)
    yield running
    running.end()


@pytest.mark.fault("F1")
@pytest.mark.timeout(900)
def test_three_kills_and_six_trucks_leave_one_story(station: Station, soak: bool) -> None:
    history, chance = History(), random.Random(7)
    # Trucks that alarm, and the pause after the last alarm; without one the kill follows the last seal. A
    # vehicle that was cut off in its alarm holds the lane for 120 s of its time after the restart.
    lives: list[tuple[int, float | None]] = [(2, None), (3, None), (1, 0.1)]
    if soak:
        lives = [(chance.randint(1, 3), chance.uniform(0, 3)) for _ in range(40)]
    for trucks, pause_s in lives:
        life = Life.begin(station, history)
        with station.officer_away():
            life.drive(trucks)
            life.go_on(pause_s)
            life.killed()
    life = Life.begin(station, history)
    with station.officer_away():
        life.stopped()
    assert any(alarm.certain for alarm in history.emitted)
    assert history.confirmed
    assert sum(len(page.items) for page in history.pages) > len(history.received()), "nothing came twice"
    assert faults(history) == []
    verified = station.carril("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


# --- the checker ----------------------------------------------------------------------------------

EPOCHS = ("aa" * 16, "bb" * 16)


@st.composite
def sound(draw: st.DrawFn) -> History:
    """A history without a fault: two epochs, a consumer that begins again now and then, alarms in between."""
    history = History()
    first = 1
    for epoch in EPOCHS[: draw(st.integers(1, 2))]:
        count = draw(st.integers(2, 12))
        records = [_record(epoch, seq, draw(st.booleans())) for seq in range(first, first + count)]
        for record in records:
            if record["data"]:
                history.emitted.append(_alarm(record))
            if draw(st.booleans()):
                history.confirmed.append(Confirmed(record["id"], record["type"]))
        after, acked = first - 1, first - 1
        while after < records[-1]["seq"]:
            size = draw(st.integers(1, 5))
            items = tuple(r for r in records if after < r["seq"] <= after + size)
            history.pages.append(Page(epoch, after, after + len(items), items))
            history.acked.append((epoch, acked := max(acked, after)))
            after = acked if draw(st.integers(0, 3)) == 3 else after + len(items)
        first += count
    if draw(st.booleans()):  # a device's last words before a kill, which nobody read any more
        history.emitted.append(Alarm("rpm1", "gamma", (9, 9, 9, 9), certain=False))
    return history


def _record(epoch: str, seq: int, alarm: bool) -> dict[str, Any]:
    data = {"device": "rpm1", "channel": "gamma", "counts": [seq, 1, 1, 1]} if alarm else {}
    return {"id": f"{epoch}:{seq}", "seq": seq, "type": "carril.x", "data": data}


def _alarm(record: dict[str, Any]) -> Alarm:
    return Alarm("rpm1", "gamma", tuple(record["data"]["counts"]))


def _without(history: History, id_: str) -> History:
    """Return the history in which nobody ever received a record, and the cursors hide it."""
    pages = []
    for page in history.pages:
        items = tuple(item for item in page.items if item["id"] != id_)
        pages.append(page._replace(items=items, next=page.next))
    return replace(history, pages=pages)


def _each(history: History) -> list[tuple[int, int]]:
    return [(p, i) for p, page in enumerate(history.pages) for i in range(len(page.items))]


def _swapped(history: History, p: int, i: int, **values: Any) -> History:
    """Return the history in which one item of one page is another."""
    page = history.pages[p]
    items = (*page.items[:i], {**page.items[i], **values}, *page.items[i + 1 :])
    return replace(history, pages=[*history.pages[:p], page._replace(items=items), *history.pages[p + 1 :]])


Break = Callable[[History, st.DataObject], History | None]


def lost(history: History, data: st.DataObject) -> History | None:
    return _without(history, data.draw(st.sampled_from(sorted(history.received()))))


def never_confirmed_came(history: History, data: st.DataObject) -> History | None:
    ghost = Confirmed(f"{EPOCHS[0]}:999", "carril.x")
    return replace(history, confirmed=[*history.confirmed, ghost])


def confirmed_as_another(history: History, data: st.DataObject) -> History | None:
    if not history.confirmed:
        return None
    return replace(history, confirmed=[history.confirmed[0]._replace(type="carril.y"), *history.confirmed])


def changed(history: History, data: st.DataObject) -> History | None:
    came = [item["id"] for page in history.pages for item in page.items]
    places = [(p, i) for p, i in _each(history) if came.count(history.pages[p].items[i]["id"]) > 1]
    if not places:
        return None
    return _swapped(history, *data.draw(st.sampled_from(places)), time="another")


def doubled_under_another_id(history: History, data: st.DataObject) -> History | None:
    p, i = data.draw(st.sampled_from(_each(history)))
    return _swapped(history, p, i, id=f"{history.pages[p].epoch}:777")


def cursor_ahead(history: History, data: st.DataObject) -> History | None:
    p = data.draw(st.integers(0, len(history.pages) - 1))
    page = history.pages[p]
    ahead = page._replace(next=page.next + 1)
    return replace(history, pages=[*history.pages[:p], ahead, *history.pages[p + 1 :]])


def acknowledged_back(history: History, data: st.DataObject) -> History | None:
    epoch, seq = history.acked[-1]
    return replace(history, acked=[*history.acked, (epoch, seq), (epoch, seq - 1)])


def acknowledged_ahead(history: History, data: st.DataObject) -> History | None:
    return replace(history, acked=[*history.acked, (history.acked[-1][0], 10_000)])


def alarm_unrecorded(history: History, data: st.DataObject) -> History | None:
    return replace(history, emitted=[*history.emitted, Alarm("rpm1", "neutron", (1, 2, 3, 4))])


def alarm_recorded_once_and_emitted_twice(history: History, data: st.DataObject) -> History | None:
    alarms = [alarm for alarm in history.emitted if alarm.certain]
    return replace(history, emitted=[*history.emitted, alarms[0]]) if alarms else None


def alarm_invented(history: History, data: st.DataObject) -> History | None:
    alarms = [alarm for alarm in history.emitted if alarm.certain]
    return replace(history, emitted=[a for a in history.emitted if a != alarms[0]]) if alarms else None


BREAKS: tuple[Break, ...] = (
    lost, never_confirmed_came, confirmed_as_another, changed, doubled_under_another_id, cursor_ahead,
    acknowledged_back, acknowledged_ahead, alarm_unrecorded, alarm_recorded_once_and_emitted_twice,
    alarm_invented,
)  # fmt: skip


@given(sound())
def test_a_sound_history_has_no_fault(history: History) -> None:
    assert faults(history) == []


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.__name__)
@given(history=sound(), data=st.data())
def test_a_broken_history_is_found(broken: Break, history: History, data: st.DataObject) -> None:
    wrong = broken(history, data)
    assert wrong is None or faults(wrong) != []


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.__name__)
def test_every_way_of_breaking_can_be_taken(broken: Break) -> None:
    """A generator that never gave a history to break would prove nothing."""
    from hypothesis import find

    @st.composite
    def wrongs(draw: st.DrawFn) -> History | None:
        return broken(draw(sound()), draw(st.data()))

    assert find(wrongs(), lambda wrong: wrong is not None and faults(wrong) != [])
