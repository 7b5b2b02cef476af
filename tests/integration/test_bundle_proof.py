"""A bundle proves itself elsewhere, with the public key alone; whatever was done to it is named."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from station.store.bundle import BundleError, write_bundle
from station.store.bundle_proof import read_receipt, verify_bundle, write_receipt
from station.store.chain import link
from station.store.heads import Head, HeadKey, public_file
from tests.support.bundles import bundled_station
from tests.support.journal import STATION


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


# --- proving one ----------------------------------------------------------------------------------


def fault_of(folder: Path, key: str | None) -> str:
    with pytest.raises(BundleError) as caught:
        verify_bundle(folder, key)
    return str(caught.value)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_any_flipped_byte_of_any_file_is_named(folder: Path, key: str, soak: bool) -> None:
    chance = random.Random(3)
    assert len(files_of(folder)) == 6
    for path in files_of(folder):
        sound = path.read_bytes()
        # Each file whole, but for the photographs and the longest ones.
        places = (
            range(len(sound)) if soak and len(sound) < 20_000 else chance.choices(range(len(sound)), k=40)
        )
        for at in [0, len(sound) - 1, *places]:
            path.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << chance.randrange(8)]) + sound[at + 1 :])
            said = fault_of(folder, key)
            named = {"records.jsonl": "record", "heads.jsonl": "head"}.get(path.name, path.name)
            assert named in said, f"byte {at} of {path.name}: {said}"
        path.write_bytes(sound)
    verify_bundle(folder, key)


def test_a_hash_in_capitals_is_not_what_was_written(folder: Path, key: str) -> None:
    path = folder / "records.jsonl"
    first, rest = path.read_text().split("\n", 1)
    prev = json.loads(first)["prev"]
    assert prev.upper() != prev
    path.write_text(first.replace(prev, prev.upper(), 1) + "\n" + rest)
    assert fault_of(folder, key) == "record 3 is not what was written"


def test_every_missing_file_is_named(folder: Path, key: str) -> None:
    for path in files_of(folder):
        sound = path.read_bytes()
        path.unlink()
        assert fault_of(folder, key).startswith(f"{path.relative_to(folder)} is missing")
        path.write_bytes(sound)


@pytest.mark.parametrize("name", ["letter", "blobs/letter", "blobs/ab/" + "ab" * 32, "records.jsonl.new"])
def test_an_added_file_is_named(folder: Path, key: str, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    assert fault_of(folder, key) == f"{name} does not belong to it"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    file = {"name": name, "bytes": 1, "sha256": sha256(b"x").hexdigest()}
    manifest["files"] = sorted([*manifest["files"], file], key=lambda each: str(each["name"]))
    (folder / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":"), sort_keys=True))
    assert fault_of(folder, key).startswith(name)


def test_a_link_is_not_followed(folder: Path, tmp_path: Path, key: str) -> None:
    (folder / "records.jsonl").rename(tmp_path / "records.jsonl")
    (folder / "records.jsonl").symlink_to(tmp_path / "records.jsonl")
    assert fault_of(folder, key) == "records.jsonl is missing, which manifest.json names"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def put_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    path.write_text(text)


def swap(lines: list[dict[str, Any]]) -> None:
    lines[2], lines[3] = lines[3], lines[2]


@pytest.mark.parametrize(
    ("name", "forge", "said"),
    [
        ("records.jsonl", lambda lines: lines.pop(), "the signed head of record 12 stands beside no record"),
        (
            "records.jsonl",
            lambda lines: lines.pop(0),
            "manifest.json is not what the folder holds: after, .*prev",
        ),
        ("records.jsonl", lambda lines: lines.pop(4), "record 7 is missing: 8 follows 6"),
        ("records.jsonl", lambda lines: lines.clear(), "the signed head of record 6 stands beside no record"),
        ("records.jsonl", swap, "record 5 is missing: 6 follows 4"),
        ("records.jsonl", lambda lines: lines[1].update(body=[]), "records.jsonl is not .*: line 2"),
        ("heads.jsonl", lambda lines: lines[0].update(note=7), "heads.jsonl is not .*: line 1"),
        ("heads.jsonl", lambda lines: lines[1].update(note=None), "heads.jsonl is not .*: line 2"),
        ("records.jsonl", lambda lines: lines[1].update(body="{}"), "record 4 is not what was written"),
        ("records.jsonl", lambda lines: lines[1].update(prev="00" * 32), "record 4 is not what was written"),
        ("records.jsonl", lambda lines: lines[1].update(seq=True), "records.jsonl is not .*: line 2"),
        ("records.jsonl", lambda lines: lines[1].update(more=1), "records.jsonl is not .*: line 2"),
        ("heads.jsonl", lambda lines: lines.pop(), "record 12 is the last, and no signed head covers it"),
        ("heads.jsonl", lambda lines: lines.clear(), "heads.jsonl holds no signed head"),
        ("heads.jsonl", lambda lines: lines.reverse(), "the signed head of record 6 stands .* out of order"),
        (
            "heads.jsonl",
            lambda lines: lines[0].update(note="x"),
            "the signed head of record 6 is no signed head",
        ),
        ("heads.jsonl", lambda lines: lines[0].update(note=lines[1]["note"]), "record 6 is that of another"),
    ],
)
def test_what_was_forged_is_named(
    folder: Path, key: str, name: str, forge: Callable[[list[dict[str, Any]]], object], said: str
) -> None:
    lines = lines_of(folder / name)
    forge(lines)
    put_lines(folder / name, lines)
    with pytest.raises(BundleError, match=said):
        verify_bundle(folder, key)


@pytest.mark.parametrize("name", ["records.jsonl", "heads.jsonl"])
def test_there_is_one_way_to_write_a_line(folder: Path, key: str, name: str) -> None:
    lines = lines_of(folder / name)
    (folder / name).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    assert fault_of(folder, key) == f"{name} is not what was written: line 1"


def test_a_chain_that_was_computed_anew_fails_at_its_signed_head(folder: Path, key: str) -> None:
    lines = lines_of(folder / "records.jsonl")
    epoch = bytes.fromhex(json.loads(lines[0]["body"])["id"][:32])
    prev = lines[0]["prev"]
    lines[0]["body"] = lines[0]["body"].replace("Olé", "Ola")
    for line in lines:
        digest = link(bytes.fromhex(prev), epoch, line["seq"], line["body"].encode())
        line["prev"], line["hash"] = prev, digest.hex()
        prev = line["hash"]
    put_lines(folder / "records.jsonl", lines)
    assert fault_of(folder, key) == "the signed head of record 6 is that of another: the record was rewritten"


def test_the_key_of_somebody_else_proves_nothing(folder: Path) -> None:
    stranger = HeadKey(STATION, Ed25519PrivateKey.generate())
    assert "the signed head of record 6 is signed with a key that is not known here" in fault_of(
        folder, stranger.line
    )
    assert fault_of(folder, "nothing") == "the key 'nothing' … is no public key"


def test_a_blob_that_was_taken_out_of_the_manifest_too_is_told_of(folder: Path, key: str) -> None:
    """Who removes a blob and says so in the manifest hides nothing: the record names it."""
    (name, *_) = verify_bundle(folder, key).blobs
    (path,) = folder.rglob(name)
    path.unlink()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"] = [file for file in manifest["files"] if not file["name"].endswith(name)]
    (folder / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":"), sort_keys=True))
    assert fault_of(folder, key) == "manifest.json is not what the folder holds: missing"
    manifest["missing"] = [name]
    (folder / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":"), sort_keys=True))
    assert verify_bundle(folder, key).missing == (name,)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format":"carril.bundle:2"}', b"[" * 100_000])
def test_a_manifest_that_is_none_is_named(folder: Path, key: str, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    assert fault_of(folder, key).startswith("manifest.json is not what was written")


# --- whatever stands in it ------------------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())  # half surrogate pairs, too
    | st.sampled_from([10**400, 2**53, -1, "ab" * 32, "carril.record.salvaged"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["name", "data", "original", "blobs"]), inner)
    ),
    max_leaves=5,
)


def planted(value: Any, chance: st.DataObject, new: Any) -> Any:
    """A copy in which something at any depth is ``new`` instead."""
    if not value or not isinstance(value, dict | list) or chance.draw(st.integers(0, 3)) == 0:
        return new
    places = list(value) if isinstance(value, dict) else range(len(value))
    place, copied = chance.draw(st.sampled_from(places)), value.copy()
    copied[place] = planted(value[place], chance, new)
    return copied


def told_or_refused(folder: Path, key: str | None) -> None:
    for proof in (lambda: verify_bundle(folder, key), lambda: read_receipt(folder / "receipt.json")):
        said = "sound"
        try:
            proof()
        except BundleError as error:
            said = str(error)
        assert said.encode(), "it can be shown"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_json_in_any_field_of_any_file_gives_a_sentence(
    made: Path, folder: Path, key: str, data: st.DataObject
) -> None:
    shutil.copytree(made, folder, dirs_exist_ok=True)
    write_receipt(folder, verify_bundle(folder, key))
    names = ["manifest.json", "receipt.json", "records.jsonl", "heads.jsonl"]
    path = folder / data.draw(st.sampled_from(names))
    lines = lines_of(path)
    at = data.draw(st.integers(0, len(lines) - 1))
    forged = [*lines[:at], planted(lines[at], data, data.draw(anything)), *lines[at + 1 :]]
    texts = (json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in forged)
    path.write_bytes("".join(f"{text}\n" for text in texts).encode(errors="surrogatepass"))
    told_or_refused(folder, key)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_record_that_a_stranger_signs_gives_a_sentence(
    made: Path, folder: Path, data: st.DataObject
) -> None:
    """Who gives no key trusts the one in the bundle: hashes and signatures then hold nothing off."""
    stranger = HeadKey(STATION, Ed25519PrivateKey.from_private_bytes(bytes(32)))
    (folder / "head.pub").write_text(stranger.line)
    shutil.rmtree(folder / "blobs", ignore_errors=True)
    manifest = json.loads((made / "manifest.json").read_bytes())
    names = ("heads.jsonl", "records.jsonl")
    own = {"name": "head.pub", "sha256": sha256(stranger.line.encode()).hexdigest()}
    manifest["files"] = [own, *({"name": name} for name in names)]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    line = lines_of(made / "records.jsonl")[0]
    event = planted(json.loads(line["body"]), data, data.draw(anything))
    epoch = json.loads(line["body"])["id"][:32]
    line["seq"] = seq = data.draw(st.sampled_from([3, 2**53, 10**16 - 1]))
    line["body"] = json.dumps(event)
    digest = link(bytes.fromhex(line["prev"]), bytes.fromhex(epoch), seq, line["body"].encode())
    line["hash"] = digest.hex()
    put_lines(folder / "records.jsonl", [line])
    note = stranger.sign(Head(STATION, epoch, seq, digest, "2026-11-24T04:00:00Z", "sync"))
    put_lines(folder / "heads.jsonl", [{"seq": seq, "note": note}])
    (folder / "receipt.json").write_bytes(b"{}")
    told_or_refused(folder, None)


def test_a_stray_file_whose_name_is_no_text_is_named(folder: Path, key: str) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))).write_text("x")
    assert fault_of(folder, key) == "caf? does not belong to it"
