"""Signed heads, in the journal and kept outside: what they name that nothing else does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from station.cli.main import main
from station.store.heads import Head, HeadKey, public_file, public_line
from station.store.mark import Mark, read_mark
from station.store.verify import verify
from tests.support.forgery import (
    change,
    cut,
    database,
    note_of,
    rewrite,
    select,
    set_mark,
    stopped_station,
    trim,
)
from tests.support.journal import STATION, draft, open_small


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stopped_station(tmp_path_factory.mktemp("forged") / "state")


@pytest.fixture
def state(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(master, tmp_path / "state"))


@pytest.fixture
def trimmed(state: Path) -> Path:
    return trim(state)


# --- signed heads ---------------------------------------------------------------------------------


def test_a_forged_head_is_named(state: Path) -> None:
    note = note_of(state, 14)
    stranger = HeadKey(STATION, Ed25519PrivateKey.generate())
    (epoch,) = select(state, "SELECT epoch FROM store")[0]
    forged = {
        note.replace("\n14\n", "\n15\n"): "Signed head 14 has a signature that is false.",
        note[:-3] + "\n": "Signed head 14 is no signed head.",
        "": "Signed head 14 is no signed head.",
        note_of(state, 8): "Signed head 14 is that of record 8.",
        stranger.sign(Head(STATION, epoch.hex(), 14, bytes(32), "2026-11-24T04:00:00Z", "sync")): (
            "Signed head 14 is signed with a key that is not known here"
        ),
    }
    for text, said in forged.items():
        with database(state) as connection:
            connection.execute("UPDATE signed_head SET note = ? WHERE seq = 14", (text,))
        report = verify(state)
        assert len(report.faults) == 1
        assert report.faults[0].startswith(said)


def test_heads_of_another_journal_are_named(state: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    store = open_small(other)
    store.append_soon([draft() for _ in range(14)]).result(10)
    store.close()
    with database(state) as connection:
        connection.execute("UPDATE signed_head SET note = ? WHERE seq = 14", (note_of(other, 14),))
    with public_file(state).open("a") as keys:
        keys.write(public_file(other).read_text())
    assert verify(state).faults[0].startswith("Signed head 14 is of epoch ")


def test_without_the_public_key_heads_prove_nothing(state: Path) -> None:
    keys = public_file(state).read_text()
    public_file(state).unlink()
    report = verify(state)
    assert report.faults == (
        "There is no public key in head.pub: without --key the signed heads prove nothing.",
    )
    assert verify(state, keys=keys).ok
    wrong = public_line(HeadKey(STATION, Ed25519PrivateKey.generate()).public)
    assert len(verify(state, keys=wrong).faults) == 3
    with pytest.raises(ValueError, match="holds no public key"):
        verify(state, keys="")


def test_a_damaged_key_is_named_and_the_others_still_prove_their_heads(state: Path) -> None:
    with public_file(state).open("a") as file:
        file.write("MCowBQYDK2Vw\n")
    assert verify(state).faults == ("head.pub is damaged: 'MCowBQYDK2Vw' … is no public key.",)
    assert verify(state).heads == 3


# --- a head that central kept ---------------------------------------------------------------------


def said_of(state: Path, note: str, keys: str) -> str:
    report = verify(state, head=note, keys=keys)
    assert report.kept in report.faults
    return report.kept


def test_a_tail_that_was_cut_off_shows(state: Path) -> None:
    note, keys = note_of(state, 22), public_file(state).read_text()
    name = "The head of record 22 that was kept outside is not in this journal, which ends at 14"
    cut(state, 14)
    assert said_of(state, note, keys) == f"{name}: its tail was cut off."
    set_mark(state, 14)
    assert verify(state, keys=keys).ok, "nothing inside can tell"
    ending = "it is an older copy, or its tail and its mark were cut off"
    assert said_of(state, note, keys) == f"{name}: {ending}."


def test_an_old_copy_shows(state: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(state, tmp_path / "copy"))
    store = open_small(state)
    store.append_soon([draft()]).result(10)
    store.close()
    note, keys = note_of(state, 23), public_file(state).read_text()
    assert verify(copy).ok, "nothing inside can tell"
    assert "which ends at 22: it is an older copy" in said_of(copy, note, keys)


def test_a_journal_that_was_rewritten_shows_although_its_heads_were_removed(state: Path) -> None:
    note, keys = note_of(state, 14), public_file(state).read_text()
    rewrite(state, 9)
    change(state, "DELETE FROM signed_head")
    assert verify(state, keys=keys).ok, "nothing inside can tell"
    assert said_of(state, note, keys) == (
        "The head of record 14 that was kept outside is not in this journal: a record up to 14 was rewritten."
    )


def test_a_head_of_the_epoch_before_leads_to_quarantine(state: Path) -> None:
    note, keys = note_of(state, 14), public_file(state).read_text()
    shutil.rmtree(state / "journal")
    mark = read_mark(state / "mark.bin")
    assert isinstance(mark, Mark)
    open_small(state).close()
    assert said_of(state, note, keys).endswith(": look in quarantine.")
    assert said_of(state, note, keys).startswith(
        f"The head of record 14 that was kept outside is of epoch {mark.epoch.hex()}, this journal is of "
    )


def test_what_is_no_head_of_this_station_shows(state: Path, tmp_path: Path) -> None:
    keys = public_file(state).read_text()
    assert said_of(state, "x", keys) == "The head that was kept outside is no signed head."
    private = Ed25519PrivateKey.generate()
    other = HeadKey("LAR-05", private)
    note = other.sign(Head("LAR-05", "0b" * 16, 3, bytes(32), "2026-11-24T04:00:00Z", "sync"))
    assert "is of station LAR-05, this journal is of LAR-04" in said_of(state, note, keys + other.line)


def test_a_head_of_a_removed_record_cannot_be_compared(trimmed: Path) -> None:
    note = note_of(trimmed, 8)
    assert verify(trimmed, head=note).kept.endswith("is in this journal.")  # it was kept
    change(trimmed, "DELETE FROM record WHERE seq = 8")
    report = verify(trimmed, head=note)
    assert report.ok
    assert report.kept == (
        "The head of record 8 that was kept outside cannot be compared: "
        "the record was removed after it had been acknowledged."
    )


def test_the_command_takes_a_head_and_a_key(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, key = tmp_path / "head.txt", tmp_path / "station.pub"
    kept.write_text(note_of(state, 22).rstrip("\n"))  # as it is after it was copied by hand
    key.write_text(public_file(state).read_text().splitlines()[1])
    command = ["verify", "--state", str(state), "--head", str(kept), "--key", str(key)]
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "The head of record 22 that was kept outside is in this journal."
    assert said[1].endswith("22 records up to 22, 3 signed heads, 0 blobs")
    cut(state, 14)
    assert main(command) == 1
    assert capsys.readouterr().out.count("its tail was cut off") == 1
    key.write_text("nothing")
    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"carril: {key} 'nothing' … is no public key; give the file with the station's public key\n"
    )
    kept.write_text(public_file(state).read_text())
    assert main(command) == 2, "what is no head says nothing of the journal"
    said_of_file = capsys.readouterr()
    assert said_of_file.out == ""
    assert said_of_file.err == (
        f"carril: {kept} is no signed head; give one, the six lines that central kept\n"
    )
    kept.unlink()
    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"carril: {kept} cannot be read (no such file or directory); give a file that can\n"
    )
