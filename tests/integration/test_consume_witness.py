"""``carril consume`` as a witness: it keeps signed heads and says when a station's history does not go on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from station.cli import witness as module
from station.cli.client import Server
from station.cli.errors import UserError
from station.cli.main import main
from station.cli.pages import Item, Page
from station.cli.witness import Witness
from station.store.heads import public_keys, read_note
from tests.support.consumer import filled, lines, numbers, take
from tests.support.journal import append, draft, of_inspection
from tests.support.liar import STATION, Liar, lying
from tests.support.served import Served

pytestmark = pytest.mark.usefixtures("pauses")


def kept(folder: Path) -> list[str]:
    """The heads in the folder, as a person cuts them out of the file."""
    rows = (folder / "heads.txt").read_text().splitlines(keepends=True)
    return ["".join(rows[at : at + 6]) for at in range(0, len(rows), 6)]


def alarms(said: list[str]) -> list[str]:
    return [line for line in said if line.startswith("ALARM")]


# --- a station that tells the truth ---------------------------------------------------------------


def test_each_head_is_kept_once_and_can_be_read_by_itself(tmp_path: Path) -> None:
    liar = filled(5)
    heads = [liar.sign()]
    with lying(liar) as place:
        take(place, tmp_path)
        take(place, tmp_path)
        liar.append(n=6)
        take(place, tmp_path)
        heads.append(liar.sign())  # of a record that came before it was signed
        said = take(place, tmp_path)
    assert kept(tmp_path) == heads
    assert [read_note(note, public_keys(liar.head_key)).seq for note in kept(tmp_path)] == [5, 6]
    assert alarms(said) == []


async def test_a_head_of_a_real_station_is_what_verify_asks_for(
    central: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into = tmp_path / "into"
    await append(central.store, [draft(), of_inspection("i1", "carril.inspection.sealed")])
    while not (await central.client.get("/v1/checkpoints")).json()["items"]:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(take, Server("127.0.0.1", central.port), into)
    (tmp_path / "head").write_text("".join((into / "heads.txt").read_text().splitlines(keepends=True)[-6:]))
    state, head, key = (str(path) for path in (tmp_path / "state", tmp_path / "head", into / "head.pub"))
    command = ["verify", "--state", state, "--head", head, "--key", key]
    assert await asyncio.to_thread(main, command) == 0
    assert "The head of record 2 that was kept outside is in this journal." in capsys.readouterr().out


# --- one whose history does not go on -------------------------------------------------------------


def refused(place: Server, into: Path, sentence: str) -> None:
    """Nothing is taken, and the proof is kept."""
    before = len(lines(into))
    with pytest.raises(UserError, match=f"ALARM: the station's history .*{sentence}") as ended:
        take(place, into)
    assert ended.value.exit_code == 1
    assert len(lines(into)) == before
    assert "carril/" in (into / "contradiction").read_text()


def test_a_head_that_is_not_that_of_the_record_that_came(tmp_path: Path) -> None:
    liar = filled(5, lie="head-chain")
    liar.sign(3)
    with lying(liar) as place:
        refused(place, tmp_path, f"it sent {liar.hashes[3].hex()}")
    assert liar.acked["central"] == 0


def test_a_head_that_is_not_that_of_the_record_that_came_before(tmp_path: Path) -> None:
    liar = filled(5)
    with lying(liar) as place:
        take(place, tmp_path)
        liar.lie = "head-chain"
        liar.sign()
        refused(place, tmp_path, f"it sent {liar.hashes[5].hex()}")


def test_a_record_that_was_rewritten_since_it_was_signed(tmp_path: Path) -> None:
    liar = filled(5)
    liar.sign()
    with lying(liar) as place:
        take(place, tmp_path)
        del liar.bodies[3:], liar.hashes[4:]
        for n in range(4, 9):
            liar.append(n=-n)
        refused(place, tmp_path, f"it says {liar.hashes[5].hex()} now")


def test_two_heads_of_one_record(tmp_path: Path) -> None:
    liar = filled(5)
    first, second = liar.sign(), liar.sign(hash_=bytes(32))
    witness = Witness(tmp_path, pytest.fail)
    witness.meet(liar.head_key)
    page = Page(liar.epoch.hex(), 5, 5, "", [], first)
    witness.look(page, STATION, 5, "")
    with pytest.raises(UserError, match=f"it signed {liar.hashes[5].hex()} before"):
        witness.look(Page(liar.epoch.hex(), 5, 5, "", [], second), STATION, 5, "")
    assert (tmp_path / "contradiction").read_text().endswith(first + second)
    assert kept(tmp_path) == [first]


def test_a_contradiction_and_the_first_key_are_durable_before_anything_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar, synced, sync = filled(5), list[tuple[str, bool]](), os.fsync
    for name in ("contradiction", "head.pub"):
        synced.clear()

        def noted(file: int, path: Path = tmp_path / name) -> None:
            synced.append((os.readlink(f"/proc/self/fd/{file}"), path.exists()))
            sync(file)

        monkeypatch.setattr(os, "fsync", noted)
        witness = Witness(tmp_path, pytest.fail)
        if name == "head.pub":
            (tmp_path / name).unlink()
            witness.meet(liar.head_key)
        else:
            witness.meet(liar.head_key)
            page = Page(liar.epoch.hex(), 5, 5, "", [item(5, bytes(32))], liar.sign())
            with pytest.raises(UserError, match="it sent"):
                witness.look(page, STATION, 4, "")
        assert synced[-2:] == [(str(tmp_path / f"{name}.new"), False), (str(tmp_path), True)]


def test_a_record_that_comes_after_its_head_and_is_another_one(tmp_path: Path) -> None:
    liar = filled(5)
    witness = Witness(tmp_path, pytest.fail)
    witness.meet(liar.head_key)
    note = liar.sign()
    witness.look(Page(liar.epoch.hex(), 5, 5, "", [], note), STATION, 4, "")
    for seq, hash_ in ((5, liar.hashes[5]), (6, bytes(32))):
        witness.look(Page(liar.epoch.hex(), 6, 6, "", [item(seq, hash_)], note), STATION, 4, "")
    damaged = item(5, bytes(32))._replace(withheld="damaged")
    witness.look(Page(liar.epoch.hex(), 6, 6, "", [damaged], note), STATION, 4, "")
    with pytest.raises(UserError, match=f"it sent {'0' * 64}"):
        witness.look(Page(liar.epoch.hex(), 6, 6, "", [item(5, bytes(32))], note), STATION, 4, "")


def item(seq: int, hash_: bytes) -> Item:
    return Item(seq, hash_.hex(), {}, b"", None)


def test_a_new_journal_that_follows_less_than_was_signed(tmp_path: Path) -> None:
    liar = filled(5)
    liar.sign()
    with lying(liar) as place:
        take(place, tmp_path)
        liar.begin_anew()
        liar.before["previous_last"] = 3
        said = take(place, tmp_path)
    assert len(alarms(said)) == 1
    assert "ended at record 3, but records up to 5 were signed" in alarms(said)[0]


def test_a_new_journal_that_follows_another_record_than_was_signed(tmp_path: Path) -> None:
    liar = filled(5)
    liar.sign()
    with lying(liar) as place:
        take(place, tmp_path)
        liar.append(n=6)
        del liar.bodies[5:], liar.hashes[6:]
        liar.begin_anew()
        liar.before["previous_hash"] = "00" * 32
        said: list[str] = []
        witness = Witness(tmp_path, said.append)
        witness.meet(liar.head_key)
        witness.begun_anew(liar.before["previous"], 5, "00" * 32)
        witness.begun_anew(liar.before["previous"], 6, "00" * 32)
    assert len(said) == 1
    assert "another record 5" in said[0]


# --- heads that prove nothing: said, not kept, and nothing is held up by them ---------------------


@pytest.mark.parametrize("wrong", ["signature", "note", "station", "epoch"])
def test_what_is_no_head_of_this_station_is_not_kept(tmp_path: Path, wrong: str) -> None:
    liar = filled(5, lie="head-signature" if wrong == "signature" else "")
    if wrong == "station":
        other = Liar(key=liar.key, epoch=liar.epoch)
        other.append()
        liar.heads[5] = other.sign().replace("LIAR-01", "LIAR-02")
    elif wrong == "epoch":
        other = Liar(key=liar.key)
        other.append()
        liar.heads[5] = other.sign()
    elif wrong == "note":
        liar.heads[5] = "c?\0"
    else:
        liar.sign()
    with lying(liar) as place:
        said = take(place, tmp_path)
    assert len(alarms(said)) == 1
    assert "not kept" in alarms(said)[0]
    assert (numbers(tmp_path), liar.acked["central"]) == ([1, 2, 3, 4, 5], 5)
    assert not (tmp_path / "heads.txt").exists()


def test_another_key_is_said_until_a_person_adds_it(tmp_path: Path) -> None:
    liar = filled(2)
    liar.sign()
    with lying(liar) as place:
        take(place, tmp_path)
        liar.key = Ed25519PrivateKey.generate()
        liar.append(n=3)
        liar.sign()
        said = take(place, tmp_path)
        assert "signs with a key that" in alarms(said)[0]
        assert len(kept(tmp_path)) == 1
        with (tmp_path / "head.pub").open("a") as keys:
            keys.write(f"-----BEGIN PUBLIC KEY-----\n{liar.head_key}\n-----END PUBLIC KEY-----\n")
        said = take(place, tmp_path)
    assert (alarms(said), len(kept(tmp_path))) == ([], 2)


def test_a_key_that_a_person_put_there_counts_from_the_first_contact(tmp_path: Path) -> None:
    liar, right = filled(2), Liar()
    liar.sign()
    (tmp_path / "head.pub").write_text(right.head_key)
    with lying(liar) as place:
        said = take(place, tmp_path)
    assert "signs with a key that" in alarms(said)[0]
    assert not (tmp_path / "heads.txt").exists()
    (tmp_path / "head.pub").write_text("nothing")
    with lying(liar) as place, pytest.raises(UserError, match="is no public key"):
        take(place, tmp_path)


# --- its file -------------------------------------------------------------------------------------


def test_half_a_head_is_cut_off_and_a_changed_one_is_said(tmp_path: Path) -> None:
    liar = filled(3)
    heads = [liar.sign(seq) for seq in (1, 2, 3)]
    said: list[str] = []
    file = tmp_path / "heads.txt"

    def taken_up(text: str) -> list[int]:
        file.write_text(text)
        witness = Witness(tmp_path, said.append)
        witness.meet(liar.head_key)
        return [head.seq for head, _ in witness._kept]

    for end in range(len(heads[2])):
        assert taken_up(heads[0] + heads[1] + heads[2][:end]) == [1, 2], end
        assert file.read_text() == heads[0] + heads[1]
    assert said == []
    assert taken_up(heads[0] + heads[1].replace("\n2\n", "\n7\n") + heads[2]) == [1, 3]
    assert "has a signature that is false" in said[0]
    assert heads[1].replace("\n2\n", "\n7\n") in (tmp_path / "heads.damaged").read_text()
    assert kept(tmp_path) == [heads[0], heads[2]]


def test_the_newest_stay_and_the_last_of_each_day_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NEWEST", 5)
    monkeypatch.setattr(module, "DAYS", 3)
    monkeypatch.setattr(module, "MOST", 12)
    liar = filled(60)
    witness = Witness(tmp_path, pytest.fail)
    witness.meet(liar.head_key)
    most = 0
    for seq in range(1, 61):
        note = liar.sign(seq, day=f"2026-11-{1 + seq // 4:02}")
        page = Page(liar.epoch.hex(), seq, seq, "", [], note)
        witness.look(page, STATION, seq, liar.hashes[seq].hex())
        most = max(most, len(kept(tmp_path)))
    assert most == 12
    witness._thin()
    seqs = [int(note.split("\n")[1]) for note in kept(tmp_path)]
    assert seqs == [47, 51, 55, 56, 57, 58, 59, 60]
