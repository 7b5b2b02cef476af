"""The process ends at each named point: nothing that was confirmed is missing, doubled or out of place."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from station.cli.main import main
from station.store import wal
from station.store.crashpoint import VARIABLE, arm, crashpoint
from station.store.draft import BlobRef
from station.store.mark import read_mark
from station.store.ops import Ack
from station.store.verify import verify
from tests.conftest import ROOT
from tests.faults.test_kill9 import REPORT, check, processes
from tests.support.epochs import Follower, distrusted, salvage_ends, sql
from tests.support.journal import draft, of_inspection, open_small

__all__ = ["processes"]

POINTS = sorted(
    name
    for path in (ROOT / "station").rglob("*.py")
    for name in re.findall(r'crashpoint\("(\w+)"\)', path.read_text(encoding="utf-8"))
)
MAKING = [name for name in POINTS if name.startswith(("quarantine_", "create_", "salvage_"))]
TRIMMING = [name for name in POINTS if name.startswith(("trim_", "retention_"))]
"""Their own tests end the process there."""
KILLS = 200
"""At named points, by `make soak`."""
WORKING = [name for name in POINTS if name not in MAKING + TRIMMING]


def work(state: str, place: str, round_: int, report: Connection) -> None:
    """Append, acknowledge and keep blobs, with checkpoints of both kinds, until the point ends it."""
    arm(place)
    wal.PASSIVE_FRAMES = 5
    store = open_small(Path(state))
    for number in range(30):
        wal.TRUNCATE_BYTES = 0 if number % 3 == 0 else 1 << 24
        sha = store.keep_blob(b"%d %d" % (round_, number), "text/plain")
        blobs = (BlobRef("photo", sha),)
        receipt = store.append_soon([draft(f"round{round_}", number=number, blobs=blobs)]).result(10)
        report.send_bytes(REPORT.pack(round_, number, receipt.last))
        if number % 4 == 0:
            seq = receipt.last
            store._submitted(lambda seq=seq: Ack("central", store.epoch, seq)).result(10)
    store.close()


def begin_anew(state: str, place: str, report: Connection) -> None:
    """Open a journal that cannot be trusted and salvage it, until the point ends it."""
    arm(place)
    store = open_small(Path(state))
    salvage_ends(store, 1)
    store.close()


def ended_at_the_point(process: ForkServerContext, target: object, *given: object) -> list[bytes]:
    """Run until the point; return what was reported."""
    received, sent = process.Pipe(duplex=False)
    child = process.Process(target=target, args=(*given, sent))  # type: ignore[arg-type]
    child.start()
    sent.close()
    told = []
    with contextlib.suppress(EOFError):
        while True:
            told.append(received.recv_bytes())
    received.close()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL, f"{given[1]} was never reached"
    child.close()
    return told


def test_nothing_happens_unless_a_point_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _, signum: killed.append(signum))
    arm("")
    crashpoint("here")
    arm("here:2")
    crashpoint("there")
    crashpoint("here")
    assert killed == []
    crashpoint("here")
    crashpoint("here")
    assert killed == [signal.SIGKILL]
    arm("")


def test_a_lane_with_a_real_device_does_not_start_with_a_point_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = (ROOT / "config" / "lanes" / "demo.toml").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "how-to" / "replace-an-emulator.md").read_text(encoding="utf-8")
    (real, *_) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    emulated = re.compile(r'\[\[device\]\][^\n]*\nname = "rpm1".*?(?=\n\[\[device)', re.DOTALL)
    path = tmp_path / "lane.toml"
    path.write_text(emulated.sub(lambda _: real, demo, count=1), encoding="utf-8")
    monkeypatch.setenv(VARIABLE, "after_commit")
    state = tmp_path / "state"
    assert main(["run", "--lane", str(path), "--state", str(state)]) == 2
    assert "CARRIL_CRASHPOINT=after_commit is set" in capsys.readouterr().err
    assert not state.exists()


def test_every_point_has_its_own_name() -> None:
    assert len(set(POINTS)) == len(POINTS)
    groups = {"begin", "after_rows", "before_commit", "after_commit", "after_mark", "before_tell"}
    assert groups <= set(POINTS)


@pytest.mark.timeout(7200)
@pytest.mark.fault("F1")
def test_confirmed_records_survive_the_end_at_every_point(
    tmp_path: Path, processes: ForkServerContext, soak: bool
) -> None:
    state = tmp_path / "state"
    store = open_small(state)
    store.append_soon([draft("round0", number=0)]).result(10)
    confirmed, epoch, round_ = {1: (0, 0)}, bytes.fromhex(store.epoch), 0
    store.close()
    chance = random.Random(4)
    for _ in range(-(-KILLS // len(WORKING)) if soak else 1):
        for name in WORKING:
            round_ += 1
            if name.startswith("migrate_"):
                sql(state, "UPDATE store SET schema = 1")
            once = name.startswith(("migrate_", "start_"))
            place = f"{name}:{1 if once else chance.randint(1, 8)}"
            told = ended_at_the_point(processes, work, str(state), place, round_)
            for n, number, seq in map(REPORT.unpack, told):
                assert seq not in confirmed
                confirmed[seq] = (n, number)
            epoch = check(state, confirmed, epoch)
        if round_ > 20 * len(WORKING):  # reading all of it each time is what takes long
            shutil.rmtree(state)
            store = open_small(state)
            store.append_soon([draft("round0", number=0)]).result(10)
            confirmed, epoch, round_ = {1: (0, 0)}, bytes.fromhex(store.epoch), 0
            store.close()


@pytest.mark.timeout(7200)
@pytest.mark.fault("F1")
def test_a_new_epoch_and_its_salvage_survive_the_end_at_every_point(
    tmp_path: Path, processes: ForkServerContext, soak: bool
) -> None:
    made = tmp_path / "made"
    store = open_small(made)
    for n in range(0, 700, 50):
        store.append_soon([draft(n=n + i) for i in range(50)]).result(10)
    sha = store.keep_blob(b"photo", "image/jpeg")
    store.append_soon([of_inspection("i1", "carril.inspection.opened")]).result(10)
    store.append_soon([draft("i1", type="carril.plate.read", blobs=(BlobRef("photo", sha),))]).result(10)
    store._submitted(lambda: Ack("central", store.epoch, 100)).result(10)
    before = Follower()
    before.read(store)
    old, last = store.epoch, store.published
    store.close()
    distrusted(made)
    mark = read_mark(made / "mark.bin")
    assert mark is not None
    state = tmp_path / "state"
    for turn in range(10 if soak else 1):
        for name in MAKING:
            shutil.rmtree(state, ignore_errors=True)
            shutil.copytree(made, state)
            passes = turn % 4 + 1 if name.startswith("salvage_") else 1
            ended_at_the_point(processes, begin_anew, str(state), f"{name}:{passes}")
            store = open_small(state)
            salvage_ends(store, 1)
            after = Follower(epoch=old, cursor=100)
            after.read(store)
            opened = store._readers.look(
                lambda view: view.connection.execute("SELECT subject FROM open_subject").fetchall()
            )
            known = store.before
            store.close()
            assert known is not None
            assert (known.epoch.hex(), known.last) == (old, last)
            assert len(list(state.glob("quarantine/*/journal/station.db"))) == 1, name
            wanted = {f"{old}:{seq}" for seq in range(101, last + 1)}
            assert wanted <= after.seen.keys(), name
            assert all(after.seen[id_] == before.seen[id_] for id_ in wanted)
            assert (after.lost, after.copies, after.withheld) == ([], 0, [])
            assert len(after.closed) == 1
            assert opened == [("i1",)]
            report = verify(state)
            assert report.ok, report.faults
            assert report.blobs == 1
