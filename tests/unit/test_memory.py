"""The C library gives back what was freed, whatever the threads and whatever was freed before."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

import pytest

from station.cli import run
from station.runtime import memory

PROBE = """
import ctypes, threading
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
if {set}:
    from station.runtime.memory import give_back_soon
    give_back_soon()
together = threading.Barrier(6)
def allocate():
    libc.malloc(64)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.free(libc.malloc(4 << 20))  # by itself glibc would keep blocks of this size from now on
libc.malloc(3 << 20)
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


def said(*, settled: bool) -> tuple[int, int]:
    """Return the number of arenas that six threads use, and of blocks that are mapped alone."""
    command = [sys.executable, "-c", PROBE.format(set=settled)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return text.count("<heap nr="), int(re.findall(r'<total type="mmap" count="(\d+)"', text)[-1])


def test_six_threads_share_two_arenas_and_a_large_block_goes_back_at_once() -> None:
    arenas, mapped = said(settled=True)
    left_alone = said(settled=False)
    assert arenas == 2
    assert left_alone[0] > 2, "else there is nothing to set"
    assert mapped == left_alone[1] + 1


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    memory.give_back_soon()


def test_a_run_begins_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later there are threads, which have arenas already."""

    def reached() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(run, "give_back_soon", reached)
    with pytest.raises(ZeroDivisionError):
        run.run(argparse.Namespace())
