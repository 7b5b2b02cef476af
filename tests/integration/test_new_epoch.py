"""A new epoch may be interrupted at every step: half of one is never served."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from station.store import epoch as epoch_module
from station.store import startup
from station.store.startup import open_journal
from tests.support.epochs import sql, write
from tests.support.journal import place_of


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


class Crash(BaseException):
    """The process ends here."""


STEPS = ("make_folder", "sync_folder", "write_synced")


@contextmanager
def crash_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the process at the ``step``-th durable step of the new epoch or of the opening after it."""
    left = step

    def counted(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Crash
            left -= 1
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for module in (epoch_module, startup):
            for name in STEPS:
                if hasattr(module, name):
                    patch.setattr(module, name, counted(getattr(module, name)))
        patch.setattr(Path, "rename", counted(Path.rename))
        patch.setattr(startup.MarkFile, "write", counted(startup.MarkFile.write))
        yield


@pytest.mark.fault("F1")
def test_a_new_epoch_may_be_interrupted_at_every_step(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write(state)
    sql(state, "UPDATE head SET seq = 4")
    crashes = 0
    for step in range(100):
        trial = tmp_path / f"trial{step}"
        subprocess.run(["cp", "-r", state, trial], check=True)
        with crash_at(step, monkeypatch):
            try:
                open_journal(place_of(trial)).close()
            except Crash:
                crashes += 1
            else:
                break
        journal = open_journal(place_of(trial))
        known = journal.before
        assert known is not None
        # Exactly one new epoch: what was half made was never served.
        assert (known.epoch.hex(), known.last, journal.first_seq) == (*before, before[1] + 1)
        assert journal.seq == journal.first_seq + 5  # what the old one held is there at once
        journal.close()
        assert len(list(trial.glob("quarantine/*/journal/station.db"))) == 1
        assert len(list(trial.glob("quarantine/*/mark.bin"))) == 1
    assert crashes >= 10
