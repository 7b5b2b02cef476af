"""What a bundle held is acknowledged by its receipt, and no more; the whole way over a stick."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from station.cli.main import main
from station.store.bundle import Bundle, BundleError, write_bundle
from station.store.bundle_proof import read_receipt, verify_bundle, write_receipt
from station.store.heads import public_file
from tests.support.bundles import LAST, PHOTO, bundled_station, with_photos
from tests.support.journal import append, draft, of_inspection, put_blob
from tests.support.served import Served


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundled_station(tmp_path_factory.mktemp("bundle") / "state")


@pytest.fixture(scope="module")
def made(master: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "bundle"
    write_bundle(master, 2, folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A bundle of the records 3 to 12 on another machine."""
    return Path(shutil.copytree(made, tmp_path / "elsewhere"))


@pytest.fixture
def key(master: Path) -> str:
    return public_file(master).read_text()


# --- the receipt, and the whole way ---------------------------------------------------------------


def test_a_receipt_is_good_beside_its_manifest_alone(folder: Path, made: Path, key: str) -> None:
    proven = verify_bundle(folder, key)
    path = write_receipt(folder, proven)
    receipt = json.loads(path.read_bytes())
    assert (receipt["epoch"], receipt["seq"]) == (proven.epoch, LAST)
    assert len(receipt["manifest_sha256"]) == 64
    assert verify_bundle(folder, key) == proven, "it does not disturb the next proof"
    assert dataclasses.replace(proven, note="") == read_receipt(path)
    for name, value in {"seq": 11, "epoch": "00" * 16, "manifest_sha256": "00" * 32, "station": "X"}.items():
        path.write_text(json.dumps(receipt | {name: value}, separators=(",", ":"), sort_keys=True))
        with pytest.raises(
            BundleError, match=r"receipt\.json is not the receipt of the manifest\.json beside"
        ):
            read_receipt(path)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[str, str]]:
    def read() -> tuple[str, str]:
        out, err = capsys.readouterr()
        return out, err

    return read


async def test_from_the_station_over_a_stick_to_the_cursor(
    central: Served, tmp_path: Path, said: Callable[[], tuple[str, str]]
) -> None:
    store, state = central.store, central.store._place.state
    digest = await put_blob(store, PHOTO, "image/jpeg")
    await append(store, [draft(), draft()])
    await append(store, [with_photos(of_inspection("i1", "carril.inspection.sealed"), digest)])
    while (await central.client.get("/v1/checkpoints")).json()["items"] == []:
        await asyncio.sleep(0.01)

    async def carril(*arguments: str, code: int = 0) -> tuple[str, str]:
        assert await asyncio.to_thread(main, arguments) == code
        return said()

    def receive(folder: Path, *more: str) -> tuple[str, ...]:
        port = ("--port", str(central.port))
        return ("bundle", "receipt", str(folder / "receipt.json"), "--name", "central", *port, *more)

    stick, elsewhere = tmp_path / "stick", tmp_path / "elsewhere"
    making = ("bundle", "--state", str(state), "--to", str(stick))
    out, _ = await carril(*making, "--since", "0")
    assert out == f"{stick}: records 1 to 3, 1 blobs (1.3 MB)\n"
    # Elsewhere: only the stick and the key, which came another way.
    shutil.copytree(stick, elsewhere)
    line = (await central.client.get("/v1")).json()["head_key"]
    (tmp_path / "key").write_text(line)
    proving = ("bundle", "verify", str(elsewhere), "--key", str(tmp_path / "key"))
    out, _ = await carril(*proving)
    assert "records 1 to 3, none missing, none changed\n" in out
    assert out.endswith(f"receipt: {elsewhere / 'receipt.json'}\nnothing is wrong\n")
    out, _ = await carril(*proving[:3])
    assert "whose key that is, it cannot prove" in out
    # Back at the station.
    assert store.acked == {"central": 0}
    out, _ = await carril(*receive(elsewhere))
    assert out == "central has acknowledged record 3, 1 blobs received\n"
    assert store.acked == {"central": 3}
    received = await store.read(
        lambda view: view.connection.execute("SELECT consumer, sha256 FROM blob_receipt").fetchall()
    )
    assert received == [("central", bytes.fromhex(digest))]
    out, _ = await carril(*receive(elsewhere))  # twice is once
    assert out == "central has acknowledged record 3, 1 blobs received\n"
    # What was damaged on the way gets no receipt.
    shutil.copytree(stick, tmp_path / "damaged")
    records = tmp_path / "damaged" / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-5])
    out, _ = await carril("bundle", "verify", str(tmp_path / "damaged"), code=1)
    assert out.endswith("something is wrong: take the bundle for nothing, and keep it as it is\n")
    assert not (tmp_path / "damaged" / "receipt.json").exists()
    # A folder given by mistake is no damaged bundle.
    _, error = await carril("bundle", "verify", str(tmp_path), code=2)
    assert "holds no bundle" in error


async def test_a_receipt_acknowledges_only_what_the_bundle_held(
    central: Served, tmp_path: Path, said: Callable[[], tuple[str, str]], folder: Path, key: str
) -> None:
    store, state = central.store, central.store._place.state

    async def refused(where: Path, name: str = "central") -> str:
        port = ("--port", str(central.port))
        command = ("bundle", "receipt", str(where / "receipt.json"), "--name", name, *port)
        assert await asyncio.to_thread(main, command) == 2
        assert store.acked == {"central": 0}
        return said()[1]

    await append(store, [draft(), draft()])
    await append(store, [of_inspection("i1", "carril.inspection.sealed")])
    while (await central.client.get("/v1/checkpoints")).json()["items"] == []:
        await asyncio.sleep(0.01)
    part: Bundle = await asyncio.to_thread(write_bundle, state, 1, tmp_path / "part")
    write_receipt(tmp_path / "part", part)
    assert await refused(tmp_path / "part") == (
        "carril: the bundle begins after record 1, but central has only those up to 0: "
        "nothing was acknowledged; make a bundle --since 0\n"
    )
    assert "There is no consumer 'other'" in await refused(tmp_path / "part", "other")
    write_receipt(folder, verify_bundle(folder, key))
    assert "the receipt is for station LAR-04, epoch " in await refused(folder)
    # Of this station and epoch, but of a record that it has not written so.
    whole = await asyncio.to_thread(write_bundle, state, 0, tmp_path / "whole")
    false = dataclasses.replace(whole, hash="00" * 32)
    (tmp_path / "whole" / "manifest.json").write_bytes(false.manifest())
    write_receipt(tmp_path / "whole", false)
    assert "record 3 of this station is not the one that the bundle held" in await refused(tmp_path / "whole")
    (tmp_path / "whole" / "receipt.json").unlink()
    assert "receipt.json cannot be read (No such file or directory)" in await refused(tmp_path / "whole")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "x"], "a bundle needs --since SEQ and --to DIR"),
        (["--since", "0"], "a bundle needs --since SEQ and --to DIR"),
        (["--since", "0", "--to", "x", "--state", "nowhere"], "does not exist: nowhere holds no journal"),
        (
            ["receipt", "nowhere/receipt.json", "--name", "central"],
            "cannot be read (No such file or directory)",
        ),
    ],
)
def test_what_is_missing_is_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: Callable[[], tuple[str, str]],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bundle", *arguments]) == 2
    assert message in said()[1]


@pytest.mark.parametrize("since", ["-1", "x", "9007199254740992", "1.5"])
def test_a_wrong_number_is_refused(said: Callable[[], tuple[str, str]], since: str) -> None:
    with pytest.raises(SystemExit):
        main(["bundle", f"--since={since}", "--to", "x"])
    assert "the number of a record, or 0" in said()[1]
