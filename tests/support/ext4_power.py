"""Power cuts of a real ext4 on a loop device: run as root in a mount namespace of its own.

The store is stopped, whole, before the file system goes down without flushing its journal: an fsync in flight
must not return success for what never reached the disk. Prints one JSON object; exit code 77: cannot be done.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from station.store.draft import BlobRef
from station.store.errors import StoreError
from station.store.feed import read_after
from station.store.journal import Store
from station.store.ops import Ack
from tests.faults.test_kill9 import REPORT, check
from tests.support.journal import draft, open_small
from tests.support.power_child import MUTANTS

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = struct.pack("I", 2)
CANNOT = 77
DISK_BYTES = 192 * 1024 * 1024
FRESH_EVERY = 25
"""Cuts after which the journal begins anew: all of it is read after each cut."""


def work(state: Path, round_: int, report: Connection) -> None:
    """Append, keep blobs and acknowledge, and tell of each only when it is confirmed; never ends."""
    store: Store = open_small(state)
    number = 0
    while True:
        refs: tuple[BlobRef, ...] = ()
        if number % 5 == 0:
            sha = store.keep_blob(b"%d %d" % (round_, number) * 900, "text/plain")
            refs = (BlobRef("photo", sha),)
        futures = [
            store.append_soon([draft(f"round{round_}", number=number + n, text="x" * 400, blobs=refs)])
            for n in range(number % 4 + 1)
        ]
        for future in futures:
            report.send_bytes(REPORT.pack(round_, number, future.result(30).last))
            number += 1
        if number % 3 == 0:
            seq = store.published
            store._submitted(lambda seq=seq: Ack("central", store.epoch, seq)).result(30)


class Disk:
    """One file system in a file, mounted here alone."""

    def __init__(self, folder: Path) -> None:
        """Make it; raises ``OSError`` or ``subprocess.CalledProcessError`` where that is not allowed."""
        self.mounted = folder / "mounted"
        self.mounted.mkdir()
        self._file = folder / "disk"
        with self._file.open("wb") as file:
            file.truncate(DISK_BYTES)
        _run("mkfs.ext4", "-q", "-F", str(self._file))
        self.mount()

    def mount(self) -> None:
        """Mount it; the loop device goes with the last mount."""
        _run("mount", "-o", "loop,noatime,errors=remount-ro", str(self._file), str(self.mounted))

    def cut(self) -> None:
        """Take the power away: what was not synced is lost."""
        folder = os.open(self.mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(folder)

    def turn_read_only(self) -> None:
        """Let the file system find an error of its own: it takes no writes any more."""
        (device,) = [
            line.split()[0]
            for line in Path("/proc/mounts").read_text().splitlines()
            if str(self.mounted) in line
        ]
        Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("1")

    def again(self) -> None:
        """Switch it on again: the file system replays its journal."""
        self.unmount()
        self.mount()

    def unmount(self) -> None:
        """Unmount it."""
        _run("umount", str(self.mounted))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def stopped(pid: int) -> None:
    """Stop a process and wait until each of its threads has stopped, also those inside a sync."""
    os.kill(pid, signal.SIGSTOP)
    ends_s = time.monotonic() + 20
    while True:
        stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
        if all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats):
            return
        if time.monotonic() > ends_s:
            raise TimeoutError(f"process {pid} does not stop")
        time.sleep(0.001)


def one_cut(disk: Disk, round_: int, chance: random.Random) -> list[bytes]:
    """Let a store work for some milliseconds, cut, switch on again; return what it had confirmed."""
    received, sent = Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        try:
            work(disk.mounted / "state", round_, sent)
        finally:
            os._exit(1)
    sent.close()
    told = [received.recv_bytes()]  # it works
    time.sleep(chance.uniform(0.002, 0.080))
    stopped(pid)
    while select.select([received], [], [], 0)[0]:
        told.append(received.recv_bytes())
    disk.cut()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    received.close()
    disk.again()
    return told


def cuts(folder: Path, count: int, mutant: str) -> dict[str, object]:
    """Cut ``count`` times; return how much was confirmed and what was lost."""
    if mutant:
        MUTANTS[mutant]()
    disk, chance = Disk(folder), random.Random(5)
    confirmed: dict[int, tuple[int, int]] = {}
    epoch, total, losses = b"", 0, []
    try:
        for round_ in range(count):
            if round_ % FRESH_EVERY == 0 or (losses and losses[-1].startswith(f"cut {round_ - 1}:")):
                shutil.rmtree(disk.mounted / "state", ignore_errors=True)
                confirmed, epoch = {}, b""
            told = one_cut(disk, round_, chance)
            total += len(told)
            try:
                for n, number, seq in map(REPORT.unpack, told):
                    assert seq not in confirmed, f"record {seq} was confirmed twice"
                    confirmed[seq] = (n, number)
                epoch = check(disk.mounted / "state", confirmed, epoch)
            except Exception as error:
                losses.append(f"cut {round_}: {error!r:.300}")
    finally:
        disk.unmount()
    return {"cuts": count, "confirmed": total, "losses": losses}


def read_only(folder: Path) -> dict[str, object]:
    """Let the file system turn read-only under a store at work; return what it said then and has later."""
    disk = Disk(folder)
    state, said = disk.mounted / "state", []
    try:
        store = open_small(state)
        for n in range(20):
            store.append_soon([draft(n=n)]).result(30)
        disk.turn_read_only()
        began_s = time.monotonic()
        for _ in range(2):
            try:
                store.append_soon([draft("late")]).result(30)
                said.append("stored")
            except StoreError as error:
                said.append(type(error).__name__)
        answered_s, state_then = time.monotonic() - began_s, str(store.state)
        rows = store._readers.look(lambda view: read_after(view, 0, 100))
        epoch = store.epoch
        store.close()
        disk.again()
        store = open_small(state)
        left = store._readers.look(lambda view: read_after(view, 0, 100))
        same = store.epoch == epoch
        store.append_soon([draft("again")]).result(30)
        store.close()
    finally:
        disk.unmount()
    return {
        "said": said,
        "answered_s": answered_s,
        "state": state_then,
        "readable": len(rows),
        "left": [row.subject for row in left],
        "same_epoch": same,
    }


if __name__ == "__main__":
    where, how_many, what = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    try:
        print(json.dumps(read_only(where) if what == "read_only" else cuts(where, how_many, what)))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        print(said.decode(errors="replace").strip(), file=sys.stderr)
        sys.exit(CANNOT if isinstance(error, subprocess.CalledProcessError | PermissionError) else 1)
