"""A signed head is what an independent implementation makes of it, and its key is kept as a key must be."""

from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from station.store.errors import StoreUnavailable
from station.store.heads import Head, HeadKey, load_key, public_file, public_keys, public_line, read_note

# Key: the first test vector of RFC 8032. Text, key id and signature: made with OpenSSL 3.0 alone
# (pkeyutl -sign -rawin; printf 'LAR-04\n\001' and the public key through dgst -sha256).
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
LINE = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
NOTE = (
    "carril/LAR-04/0b8e0b8e0b8e0b8e0b8e0b8e0b8e0b8e\n"
    "48213\n"
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    "2026-11-24T04:00:00Z sync\n"
    "\n"
    "— LAR-04 BMPgUNfbk3214HlHQhgRyT3bebbGKAKp3yLiQ9MiY2nUzLh/uOrBhLC6EwkvfYeZnTwlAs/Jo9xC/QBB3OdoK7LZ0QM=\n"
)
HEAD = Head("LAR-04", "0b8e" * 8, 48213, bytes(range(32)), "2026-11-24T04:00:00Z", "sync")
KEY = HeadKey("LAR-04", Ed25519PrivateKey.from_private_bytes(SEED))


# --- the note -------------------------------------------------------------------------------------


def test_a_note_is_the_one_that_openssl_makes() -> None:
    assert KEY.sign(HEAD) == NOTE
    assert (KEY.public, KEY.line) == (PUBLIC, LINE)


def test_a_note_says_what_was_signed() -> None:
    assert read_note(NOTE, [bytes(32), PUBLIC]) == HEAD


def test_no_byte_of_a_note_can_be_changed() -> None:
    raw = NOTE.encode()
    for at in range(len(raw)):
        for bit in (1, 4, 32):
            changed = raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :]
            with pytest.raises(ValueError, match=r"^(is|has) "):
                read_note(changed.decode(errors="replace"), [PUBLIC])


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("", "is no signed head"),
        (NOTE + "\n", "is no signed head"),
        (NOTE.rstrip("\n"), "is no signed head"),
        (NOTE.replace("\n", "\r\n"), "is no signed head"),
        (NOTE + NOTE.splitlines()[-1] + "\n", "is no signed head"),
        (NOTE.replace("48213", "048213"), "is no signed head"),
        (NOTE.replace("— LAR-04", "— LAR-05"), "is signed as LAR-05, not as LAR-04"),
        (NOTE.replace("48213", "48214"), "has a signature that is false"),
        # The last sign before "=" carries two bits that no byte has: they must be those of the encoder.
        (NOTE.replace("0QM=", "0QN="), "has a signature that is not written as it should be"),
    ],
)
def test_what_is_wrong_with_a_note_is_said(note: str, said: str) -> None:
    with pytest.raises(ValueError, match="^" + said + "$"):
        read_note(note, [PUBLIC])


def test_a_note_of_an_unknown_key_names_its_id() -> None:
    with pytest.raises(ValueError, match=r"a key that is not known here \(id 04c3e050\)"):
        read_note(NOTE, [sha256(b"another").digest()])


# --- the key --------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def pem(private: Ed25519PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_the_first_start_makes_a_key_and_the_next_ones_take_it(tmp_path: Path) -> None:
    key = load_key(tmp_path, "LAR-04")
    path = tmp_path / "head.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(tmp_path, "LAR-04").public == key.public
    assert public_file(tmp_path).read_text().splitlines()[1] == key.line
    private = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    assert HeadKey("LAR-04", private).sign(HEAD) == key.sign(HEAD)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["head.key", "head.pub"]


def test_another_key_is_added_to_the_public_ones(tmp_path: Path) -> None:
    first = load_key(tmp_path, "LAR-04")
    (tmp_path / "head.key").unlink()
    second = load_key(tmp_path, "LAR-04")
    assert public_keys(public_file(tmp_path).read_text()) == [first.public, second.public]


def test_damaged_public_keys_keep_no_station_from_starting(tmp_path: Path) -> None:
    public_file(tmp_path).write_bytes(b"\xff\0")
    key = load_key(tmp_path, "LAR-04")
    assert public_keys(public_file(tmp_path).read_text()) == [key.public]


def test_damage_to_one_public_key_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = [load_key(tmp_path, "LAR-04")]
    for _ in range(2):
        (tmp_path / "head.key").unlink()
        keys.append(load_key(tmp_path, "LAR-04"))
    first, second, third = (key.public for key in keys)
    whole = public_file(tmp_path).read_bytes()
    places = range(whole.index(keys[1].line.encode()), whole.index(keys[1].line.encode()) + 16)
    for at in places:  # its algorithm
        for bit in (1, 2, 4, 0x80):
            damaged = whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
            public_file(tmp_path).write_bytes(damaged)
            caplog.clear()
            load_key(tmp_path, "LAR-04")
            assert public_keys(public_file(tmp_path).read_text()) == [first, third]
            kept = [path for path in tmp_path.glob("head.pub.*.damaged") if path.read_bytes() == damaged]
            assert len(kept) == 1
            assert f"The 2 keys that can be read stay in it, the file as it was is {kept[0]}" in caplog.text
    public_file(tmp_path).write_bytes(whole)
    load_key(tmp_path, "LAR-04")
    assert public_keys(public_file(tmp_path).read_text()) == [first, second, third]


def test_the_credential_comes_first_and_no_key_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "head_key").write_bytes(pem(Ed25519PrivateKey.from_private_bytes(SEED)))
    (folder / "head_key").chmod(0o440)  # so systemd shows its access list
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert load_key(tmp_path, "LAR-04").public == PUBLIC
    assert not (tmp_path / "head.key").exists()
    (folder / "head_key").write_bytes(b"nothing")
    with pytest.raises(StoreUnavailable, match="credentials/head_key is no Ed25519 key in PEM"):
        load_key(tmp_path, "LAR-04")
    (folder / "head_key").unlink()  # other credentials, not this one
    assert load_key(tmp_path, "LAR-04").public != PUBLIC


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    load_key(tmp_path, "LAR-04")
    (tmp_path / "head.key").chmod(mode)
    with pytest.raises(
        StoreUnavailable, match=f"may be read by others \\(mode {mode:04o}\\): take .* chmod 600"
    ):
        load_key(tmp_path, "LAR-04")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\n",
        generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
)
def test_what_is_no_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "head.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match=r"head\.key is no Ed25519 key in PEM: put the right one back"):
        load_key(tmp_path, "LAR-04")
    assert path.read_bytes() == content


def test_a_key_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "head.key").mkdir()
    with pytest.raises(StoreUnavailable, match=r"head\.key cannot be read \(is a directory\)"):
        load_key(tmp_path, "LAR-04")


def test_a_key_that_cannot_be_kept_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"cannot be kept in .*gone"):
        load_key(tmp_path / "gone", "LAR-04")


def test_public_keys_are_read_from_pem_and_from_the_line_alone() -> None:
    assert public_line(PUBLIC) == LINE
    block = f"-----BEGIN PUBLIC KEY-----\n{LINE}\n-----END PUBLIC KEY-----\n"
    assert public_keys(block + block) == [PUBLIC, PUBLIC]
    assert public_keys(f"  {LINE}\n\n") == [PUBLIC]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no public key"),
        ("-----BEGIN PUBLIC KEY-----\n", "holds no public key"),
        ("no key at all", "is no public key"),
        (LINE[:-2], "is no public key"),
        (
            base64.b64encode(
                generate_private_key(SECP256R1())
                .public_key()
                .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            ).decode(),
            "is no Ed25519 key",
        ),
    ],
)
def test_what_is_no_public_key_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        public_keys(text)
