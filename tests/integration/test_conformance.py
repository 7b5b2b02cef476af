"""``carril conformance``: nothing is wrong with our station, and exactly the lie of a lying one is named."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from drivers.plant.rig import free_port
from station.api import connections
from station.api.directives import directives_router
from station.cli import conformance, main
from station.cli.client import Server
from station.cli.conformance import BROKEN, KEPT, NOT_ASKED, Result, _result, check
from station.cli.promises import PROMISES, Kit, Pace
from station.lane.host import LaneHost
from station.store.draft import BlobRef
from station.store.place import Consumer
from tests.support.directives import public_text
from tests.support.journal import append, draft, of_inspection, open_small, put_blob
from tests.support.liar import Liar, lying
from tests.support.served import serve
from tests.support.station import running_station

QUICK = Pace(wait_s=0.15, slack_s=3, settle_s=0.03, header_s=8.0)
NAMES = [promise.name for promise in PROMISES]
COSTLY = 240
"""Requests of one run at most."""
ISSUER, KEY = "urn:carril:client:central", Ed25519PrivateKey.generate()
LAST = 300


def populated(lie: str) -> Liar:
    """A station that gives an occasion for every promise."""
    liar = Liar(lie)
    for n in range(1, LAST + 1):
        blobs = [liar.put(b"picture")] if n == 290 else []
        liar.append(prio=0 if n == 20 else 2, simulated=n == 30, n=n, blobs=blobs)
        if n > 200 and n % 20 == 0:
            liar.sign()
    liar.oldest = 5
    liar.issuers[ISSUER] = KEY.public_key()
    liar.acked["conformance"] = 6
    return liar


def run(lie: str, soak: bool) -> tuple[list[Result], Liar, Kit]:
    """Ask a station that lies for every promise, in `make test` for those of the lie's own kind."""
    kind = {promise.name: promise.check.__module__ for promise in PROMISES}
    asked = [promise for promise in PROMISES if soak or not lie or kind[promise.name] == kind[lie]]
    liar = populated(lie)
    with lying(liar) as place:
        # On a busy machine an answer at once takes longer than a short wait.
        pace = replace(QUICK, wait_s=2.0) if lie == "long-poll" else QUICK
        kit = Kit(place, "conformance", pace, ISSUER, KEY)
        return [_result(kit, promise) for promise in asked], liar, kit


@pytest.fixture(scope="module")
def runs(soak: bool) -> dict[str, tuple[list[Result], Liar, Kit]]:
    """The kit against one honest station and one for each lie; they mostly wait, hence at once."""
    lies = [*reversed(NAMES), ""]  # the last one waits longest
    with ThreadPoolExecutor(12) as pool:
        return dict(zip(lies, pool.map(run, lies, repeat(soak)), strict=True))


def test_an_honest_station_keeps_every_promise(runs: dict[str, tuple[list[Result], Liar, Kit]]) -> None:
    results, liar, kit = runs[""]
    assert [result for result in results if result.result != KEPT] == []
    assert kit.requests <= COSTLY
    assert liar.acked == {"conformance": LAST + 1, "central": 0}, "one cursor moves, to the offered record"
    assert not [path for path in liar.asked if "/consumers/" in path and "/consumers/conformance" not in path]
    assert liar.refused == {"conformance": {}}, "nothing stays refused"
    (known,) = liar.directives.values()
    written = [(liar.event(seq)["type"], liar.event(seq)["data"]) for seq in range(LAST + 1, liar.head + 1)]
    assert [kind.removeprefix("carril.") for kind, _ in written] == [
        *("record.reoffered", "directive.received", "directive.armed"),
        *("directive.received", "directive.closed", "directive.closed"),
    ]
    assert written[-1][1]["how"] == "withdrawn"
    assert known["sent"]["body"]["action"] == "notify"


def test_where_the_time_is_not_known_the_hold_ends_by_its_scope() -> None:
    liar = populated("")
    liar.clock = "unsync"
    with lying(liar) as place:
        kit = Kit(place, "conformance", QUICK, ISSUER, KEY)
        results = [_result(kit, promise) for promise in PROMISES if promise.name.startswith("directive-")]
    assert [result for result in results if result.result != KEPT] == []
    assert liar.event(liar.head)["data"]["how"] == "not_applicable"


def test_without_a_key_a_directive_is_only_refused() -> None:
    liar = populated("")
    with lying(liar) as place:
        kit = Kit(place, "conformance", QUICK)
        results = [_result(kit, promise) for promise in PROMISES if promise.name.startswith("directive-")]
    assert [result.result for result in results] == [KEPT] * 2 + [NOT_ASKED] * 5
    assert results[-1].reason == "it needs --issuer-key and --issuer"
    assert (liar.head, liar.directives) == (LAST, {})


@pytest.mark.parametrize("lie", NAMES)
def test_the_broken_promise_is_named_and_no_other(runs: dict[str, Any], lie: str) -> None:
    results, _, kit = runs[lie]
    broken = [result for result in results if result.result == BROKEN]
    assert [result.name for result in broken] == [lie], broken
    assert all(result.result == KEPT for result in results if result.name != lie), results
    assert broken[0].sent, "what was sent"
    assert broken[0].came, "what came"
    assert broken[0].wanted, "what was promised"
    assert kit.requests <= COSTLY


async def test_a_real_station_keeps_every_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 2.0)
    consumers = (Consumer("central"), Consumer("conformance", required=False))
    store = await asyncio.to_thread(open_small, tmp_path / "state", consumers=consumers)
    content = os.urandom(1_500_000)
    name = await put_blob(store, content, "image/png")
    blob = {"role": "raw", "sha256": name, "media": "image/png", "bytes": len(content)}
    for n in range(150):
        made = draft(n=n, prio=0 if n == 3 else 2, simulated=n == 5)
        if n == 145:
            made = of_inspection("i1", "carril.inspection.sealed")  # is signed at once
        if n == 140:
            made = draft(n=n)
            object.__setattr__(made, "data", dict(made.data) | {"blobs": [blob]})
            object.__setattr__(made, "blobs", (BlobRef("raw", name),))
        await append(store, [made])
    try:
        async with serve(store) as served:
            served.app.include_router(directives_router(cast(LaneHost, None), store, {}))
            while not (await served.client.get("/v1/checkpoints")).json()["items"]:
                await asyncio.sleep(0.01)
            kit = Kit(Server("127.0.0.1", served.port), "conformance", Pace(1, 5, 0.2, 3.0))
            results = await asyncio.to_thread(lambda: list(check(kit)))
        wrong = {result.name: result for result in results if result.result != KEPT}
        # Nothing was removed yet; no lane is there to take what an issuer signs.
        wants_key = {f"directive-{what}" for what in ("signature", "taken", "again", "older", "records")}
        assert wrong.keys() == {"feed-trimmed"} | wants_key, wrong
        assert all(result.result == NOT_ASKED for result in wrong.values())
        assert store.acked == {"central": 0, "conformance": 151}
    finally:
        await asyncio.to_thread(store.close)


def test_a_running_lane_takes_the_holds_of_its_issuer_and_offers_what_was_refused(tmp_path: Path) -> None:
    more = '\n[[consumer]]\nname = "conformance"\nrequired = false\n'
    more += f'\n[[issuer]]\nname = "central"\nkey = "{public_text(KEY)}"\nkinds = ["hold"]\n'
    with running_station(tmp_path, more=more) as station:
        station.until(lambda: len(station.feed()) > 3, "something is recorded")
        kit = Kit(Server("127.0.0.1", station.port), "conformance", QUICK, ISSUER, KEY)
        names = ("nack", "directive", "receipt", "head-", "checkpoints", "body-whole")
        asked = [promise for promise in PROMISES if promise.name.startswith(names)]
        station.until(lambda: station.get("/v1/checkpoints").json()["items"], "a head is signed")
        results = [_result(kit, promise) for promise in asked]
        wrong = [result for result in results if result.result != KEPT and "blob" not in result.reason]
        assert wrong == []
        assert station.get("/v1/consumers/conformance/quarantine").json()["items"] == []
        sent = {record["directive_id"] for record in station.records("directive.received")}
        (state,) = (station.get(f"/v1/directives/{name}").json()["state"] for name in sent)
        assert state.startswith("closed")


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run of the command waits as little as the others."""
    monkeypatch.setattr(conformance, "Kit", lambda place, name: Kit(place, name, QUICK))


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """The issuer's private key, as a file."""
    path = tmp_path / "issuer.pem"
    path.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(path)


def test_the_command_says_what_was_sent_and_what_came(capsys: pytest.CaptureFixture[str]) -> None:
    with lying(populated("ack-stale")) as place:
        assert main.main(["conformance", place.url]) == 1
    said = capsys.readouterr().out
    broken = said[said.index("broken     ack-stale") :].splitlines()
    assert broken[1].startswith(
        "           sent: POST /v1/consumers/conformance/ack Content-Type: application/json with"
    )
    assert broken[2].startswith('           came: 200 {"epoch": ')
    assert broken[3].startswith("           wanted: a cursor that stays at ")
    assert said.splitlines()[-1].startswith(f"{len(NAMES) - 6} kept, 1 broken, 5 not asked, by ")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--issuer", ISSUER], "--issuer-key FILE and --issuer URN belong together"),
        (["--issuer-key", "nowhere", "--issuer", ISSUER], "nowhere cannot be read"),
        (["--issuer-key", __file__, "--issuer", ISSUER], "is no private key; give an Ed25519 key in PEM"),
    ],
)
def test_half_an_issuer_is_none(more: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["conformance", "http://127.0.0.1:1", *more]) == 2
    assert sentence in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main.main(["conformance", "http://127.0.0.1:1", "--issuer", "central"])


def test_the_command_speaks_json(capsys: pytest.CaptureFixture[str], key_file: str) -> None:
    with lying(populated("")) as place:
        command = ["conformance", place.url, "--json", "--issuer-key", key_file, "--issuer", ISSUER]
        assert main.main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kept"], told["broken"], told["station"]) == (len(NAMES), 0, "LIAR-01")
    assert [each["name"] for each in told["promises"]] == NAMES


def test_without_its_consumer_it_runs_the_rest_and_says_what_to_add(
    capsys: pytest.CaptureFixture[str],
) -> None:
    liar = populated("")
    with lying(liar) as place:
        assert main.main(["conformance", place.url, "--name", "port"]) == 2
    said = capsys.readouterr()
    assert 'add [[consumer]] name = "port", required = false' in said.err
    assert said.out.count(f"\n{KEPT}") > 15
    cursors = [promise.name for promise in PROMISES if promise.needs_cursor]
    assert said.out.count(f"{NOT_ASKED}  ") == len(cursors) + 5 > 14, "and there is no issuer's key"
    assert liar.acks == []


def test_it_never_acknowledges_for_whom_the_records_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    liar = populated("")
    with lying(liar) as place:
        assert main.main(["conformance", place.url, "--name", "central"]) == 2
    assert "'central' is a required consumer" in capsys.readouterr().err
    assert liar.acks == []


@pytest.mark.parametrize("what", ["nobody", "html"])
def test_what_is_no_station_is_not_run(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    liar = populated("")
    liar.next.append(lambda handler: handler.reply(200, {"Content-Type": "text/html"}, b"<html>") or True)
    with lying(liar) as place:
        url = place.url if what == "html" else f"http://127.0.0.1:{free_port()}"
        assert main.main(["conformance", url]) == 2
    assert f"no Carril station answers at {url}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1", "127.0.0.1:8080", "http://x:99999", "http://x/y", "http://"]
)
def test_an_address_that_is_none_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main.main(["conformance", url])
    assert f"{url}: give the address of a station" in capsys.readouterr().err
