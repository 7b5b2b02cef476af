"""``carril conformance``: nothing is wrong with our station, and exactly the lie of a lying one is named."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from drivers.plant.rig import free_port
from station.api import connections
from station.cli import conformance, main
from station.cli.client import Server
from station.cli.conformance import BROKEN, KEPT, NOT_ASKED, Result, check
from station.cli.promises import PROMISES, Kit, Pace
from station.store.draft import BlobRef
from station.store.place import Consumer
from tests.support.journal import append, draft, open_small, put_blob
from tests.support.liar import Liar, lying
from tests.support.served import serve

QUICK = Pace(wait_s=0.15, slack_s=3, settle_s=0.03, header_s=2.0)
NAMES = [promise.name for promise in PROMISES]
COSTLY = 200
"""Requests of one run at most."""


def populated(lie: str) -> Liar:
    """A station that gives an occasion for every promise."""
    liar = Liar(lie)
    for n in range(1, 301):
        blobs = [liar.put(b"picture")] if n == 290 else []
        liar.append(prio=0 if n == 20 else 2, simulated=n == 30, n=n, blobs=blobs)
    liar.oldest = 5
    liar.acked["conformance"] = 6
    return liar


def run(lie: str) -> tuple[list[Result], Liar, Kit]:
    liar = populated(lie)
    with lying(liar) as place:
        kit = Kit(place, "conformance", QUICK)
        return list(check(kit)), liar, kit


@pytest.fixture(scope="module")
def runs() -> dict[str, tuple[list[Result], Liar, Kit]]:
    """The kit against one honest station and one for each lie; they mostly wait, hence at once."""
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(["", *NAMES], pool.map(run, ["", *NAMES]), strict=True))


def test_an_honest_station_keeps_every_promise(runs: dict[str, tuple[list[Result], Liar, Kit]]) -> None:
    results, liar, kit = runs[""]
    assert [result for result in results if result.result != KEPT] == []
    assert kit.requests <= COSTLY
    assert liar.acked == {"conformance": 10, "central": 0}, "one cursor moves, by four records"
    assert not [
        path
        for path in liar.asked
        if path.startswith("POST") and "/conformance/" not in path and "/ack" in path
    ]


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
    monkeypatch.setattr(connections, "HEADER_S", 0.3)
    consumers = (Consumer("central"), Consumer("conformance", required=False))
    store = await asyncio.to_thread(open_small, tmp_path / "state", consumers=consumers)
    content = os.urandom(1_500_000)
    name = await put_blob(store, content, "image/png")
    blob = {"role": "raw", "sha256": name, "media": "image/png", "bytes": len(content)}
    for n in range(150):
        made = draft(n=n, prio=0 if n == 3 else 2, simulated=n == 5)
        if n == 140:
            made = draft(n=n)
            object.__setattr__(made, "data", dict(made.data) | {"blobs": [blob]})
            object.__setattr__(made, "blobs", (BlobRef("raw", name),))
        await append(store, [made])
    try:
        async with serve(store) as served:
            assert (await served.client.get("/v1")).status_code == 200
            kit = Kit(Server("127.0.0.1", served.port), "conformance", Pace(1, 5, 0.2, 3.0))
            results = await asyncio.to_thread(lambda: list(check(kit)))
        wrong = {result.name: result for result in results if result.result != KEPT}
        assert wrong.keys() == {"feed-trimmed"}, wrong  # nothing was removed yet
        assert store.acked == {"central": 0, "conformance": 4}
    finally:
        await asyncio.to_thread(store.close)


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run of the command waits as little as the others."""
    monkeypatch.setattr(conformance, "Kit", lambda place, name: Kit(place, name, QUICK))


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
    assert said.splitlines()[-1].startswith(f"{len(NAMES) - 1} kept, 1 broken, 0 not asked, by ")


def test_the_command_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    with lying(populated("")) as place:
        assert main.main(["conformance", place.url, "--json"]) == 0
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
    assert said.out.count(f"{NOT_ASKED}  ") == len(cursors) > 10
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
