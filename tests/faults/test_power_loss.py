"""The power may fail at any moment: whatever anybody was told is there afterwards, and nothing is half there.

A child process works under a preloaded recorder; its disk is then rebuilt as a cut at any operation could
have left it, and opened. The same is done after a kill, a restart and then a cut. Stores with one deliberate
fault each must be caught, or this test would prove nothing.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from tests.support.power import Disk, Entry, read_log, run_recorded
from tests.support.power_child import MUTANTS
from tests.support.promises import BLOB_TOLD, Epoch, loss, loss_of_epoch

GROUPS = 25
ELSEWHERE = {"no_checkpoint_at_start", "file_before_row", "names_not_synced"}
"""Faults that have a test of their own."""


def recorded(recorder: Path, folder: Path, mutant: str = "", groups: int = GROUPS) -> list[Entry]:
    log = folder / f"log-{mutant}"
    run_recorded(
        recorder,
        do="record",
        mutant=mutant,
        state=str(folder / f"state-{mutant}"),
        log=str(log),
        groups=groups,
    )
    return read_log(log)


def states(entries: list[Entry], disk: Disk | None = None) -> Iterator[tuple[int, Disk]]:
    """The disk before each operation, and after the last."""
    disk = disk or Disk()
    for index, entry in enumerate(entries):
        yield index, disk
        disk.apply(entry)
    yield len(entries), disk


def cut_everywhere(
    entries: list[Entry], fast: Path, chance: random.Random, points: int, disk: Disk | None = None
) -> list[str]:
    """Cut at ``points`` places, once losing everything unsynced and once some of it; return the losses."""
    return cut_at(
        chance.sample(range(len(entries) + 1), min(points, len(entries) + 1)), entries, fast, chance, disk
    )


def cut_at(
    points: Collection[int],
    entries: list[Entry],
    fast: Path,
    chance: random.Random,
    disk: Disk | None = None,
    tries: int = 1,
) -> list[str]:
    """Cut before these operations, once losing everything unsynced and ``tries`` times some of it."""
    losses, chosen = [], set(points)
    for index, now in states(entries, disk):
        if index not in chosen:
            continue
        for luck in (None, *[chance] * tries):
            now.lose_power(fast / "cut", luck)
            lost = loss(fast / "cut", now.notes)
            if lost:
                losses.append(f"cut before operation {index}: {lost}")
    return losses


# --- what must hold -------------------------------------------------------------------------------


@pytest.mark.fault("F2", "F3")
def test_nothing_promised_is_lost_wherever_the_power_fails(
    recorder: Path, tmp_path: Path, fast: Path, soak: bool
) -> None:
    entries = recorded(recorder, tmp_path, groups=300 if soak else GROUPS)
    assert sum(entry.op == "N" for entry in entries) > GROUPS  # somebody was told something
    assert cut_everywhere(entries, fast, random.Random(7), len(entries)) == []


def kill_points(entries: list[Entry]) -> list[int]:
    """Places where a kill leaves a whole commit in the log that was never synced."""
    return [
        index
        for index, entry in enumerate(entries)
        if entry.op == "S" and entry.path == "journal/station.db-wal"
    ]


def after_restart(
    recorder: Path, entries: list[Entry], points: list[int], fast: Path, mutant: str = "", do: str = "restart"
) -> Iterator[tuple[Disk, list[Entry]]]:
    """Kill at each point and restart; gives the disk at the kill, and what the restart did to it."""
    killed = {}
    for index, disk in states(entries):
        if index in points:
            killed[fast / f"killed{index}"] = disk.restarted()
            disk.kill(fast / f"killed{index}")
    run_recorded(recorder, do=do, mutant=mutant, folders=[str(folder) for folder in killed])
    for folder, disk in killed.items():
        yield disk, read_log(folder.with_suffix(".log"))


@pytest.mark.fault("F1", "F2", "F3")
def test_nothing_served_after_a_kill_is_lost_when_the_power_fails_then(
    recorder: Path, tmp_path: Path, fast: Path, soak: bool
) -> None:
    entries = recorded(recorder, tmp_path)
    chance = random.Random(11)
    unsynced = kill_points(entries)
    points = unsynced if soak else chance.sample(unsynced, 8) + chance.sample(range(60, len(entries)), 8)
    losses = []
    restarts = 0
    for disk, restart in after_restart(recorder, entries, points, fast):
        restarts += 1
        losses += cut_everywhere(restart, fast, chance, len(restart) if soak else 6, disk)
    assert restarts == len(set(points))
    assert losses == []


def cut_in_a_change_of_epochs(
    recorder: Path, folder: Path, fast: Path, points: int, mutant: str = ""
) -> list[str]:
    """Find damage in a store that was killed, and cut everywhere in the change of epochs and the salvage."""
    entries, chance = recorded(recorder, folder), random.Random(13)
    losses: list[str] = []
    for disk, change in after_restart(recorder, entries, [len(entries)], fast, mutant, "renew"):
        disk.kill(fast / "old")
        old = Epoch.of(fast / "old")
        began = next(n for n, entry in enumerate(change) if entry.other.startswith("quarantine/"))
        ended = next(n for n, entry in enumerate(change) if entry.op == "N")
        chosen = {*range(began, ended + 2), *chance.sample(range(len(change)), min(points, len(change)))}
        for index, now in states(change, disk):
            for luck in (None, chance) if index in chosen else ():
                now.lose_power(fast / "cut", luck)
                if lost := loss_of_epoch(
                    fast / "cut", old, max(note for note in now.notes if note < BLOB_TOLD)
                ):
                    losses.append(f"cut before operation {index} of {ended}: {lost}")
    return losses


@pytest.mark.fault("F1", "F2")
def test_a_change_of_epochs_has_the_old_one_or_the_new_one_wherever_the_power_fails(
    recorder: Path, tmp_path: Path, fast: Path, soak: bool
) -> None:
    assert cut_in_a_change_of_epochs(recorder, tmp_path, fast, 100_000 if soak else 40) == []


# --- what must be caught --------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", sorted(set(MUTANTS) - ELSEWHERE))
@pytest.mark.fault("F2")
def test_a_store_with_this_fault_is_caught(recorder: Path, tmp_path: Path, fast: Path, mutant: str) -> None:
    entries = recorded(recorder, tmp_path, mutant, groups=12)
    chance = random.Random(3)
    # Cuts after the store was made: its making is the same in all of them.
    losses = cut_everywhere(entries, fast, chance, 80)
    assert losses, f"{mutant} loses nothing: the replay does not see what it should"


@pytest.mark.fault("F2")
def test_a_restart_without_its_checkpoint_is_caught(recorder: Path, tmp_path: Path, fast: Path) -> None:
    entries = recorded(recorder, tmp_path, groups=12)
    points = kill_points(entries)[-8:]
    losses = []
    for disk, restart in after_restart(recorder, entries, points, fast, "no_checkpoint_at_start"):
        losses += cut_everywhere(restart, fast, random.Random(5), 100, disk)
    assert any("the journal ends at" in lost or "new epoch" in lost for lost in losses)


@pytest.mark.fault("F2")
def test_a_new_epoch_without_its_syncs_is_caught(recorder: Path, tmp_path: Path, fast: Path) -> None:
    assert cut_in_a_change_of_epochs(recorder, tmp_path, fast, 0, "names_not_synced")


def after_removals(entries: list[Entry]) -> set[int]:
    """The operations just behind the removal of a blob's file."""
    removed = [n for n, entry in enumerate(entries) if entry.op == "U" and entry.path.startswith("blobs/")]
    assert removed, "no blob was removed"
    return {min(n + m, len(entries)) for n in removed for m in range(1, 9)}


@pytest.mark.fault("F2")
def test_a_blob_is_gone_in_the_journal_before_its_file_is(recorder: Path, tmp_path: Path, fast: Path) -> None:
    right, wrong = recorded(recorder, tmp_path), recorded(recorder, tmp_path, "file_before_row")
    assert cut_at(after_removals(right), right, fast, random.Random(5), tries=20) == []
    losses = cut_at(after_removals(wrong), wrong, fast, random.Random(5), tries=20)
    assert losses, "a file that goes before its row is not seen"
