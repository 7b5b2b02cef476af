"""Who may use the station's interface, what is answered to nonsense, and how the screen is served."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.journal import append, draft, open_small
from tests.support.served import Served, ack, problem, serve

# --- who may speak, and what is answered to nonsense ----------------------------------------------


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"Host": "evil.example"}, "Host 'evil.example' is not this computer"),
        ({"Host": "127.0.0.1.evil.example"}, "is not this computer"),
        ({"Host": "[::1"}, "is not this computer"),
        ({"Origin": "https://evil.example"}, "Origin 'https://evil.example' is not this station"),
        ({"Origin": "null"}, "Origin 'null' is not this station"),
        ({"Origin": "http://127.0.0.1:1"}, "is not this station"),
    ],
)
async def test_pages_from_elsewhere_are_refused(
    central: Served, headers: dict[str, str], sentence: str
) -> None:
    for reply in (
        await central.client.get("/v1", headers=headers),
        await central.client.post("/v1/consumers/central/ack", json={}, headers=headers),
    ):
        assert sentence in problem(reply, 403, "forbidden")["detail"]


async def test_our_own_pages_and_names_are_let_in(central: Served) -> None:
    for host in (f"127.0.0.1:{central.port}", f"localhost:{central.port}", "[::1]"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert (await central.client.get("/v1", headers=headers)).status_code == 200


async def test_a_command_needs_its_header_and_a_program_acknowledges_without(central: Served) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        reply = await central.client.request(method, "/v1/lane/decisions", json={})
        assert "X-Carril: 1" in problem(reply, 403, "forbidden")["detail"]
        reply = await central.client.request(method, "/v1/feed", headers={"X-Carril": "1"})
        found = problem(reply, 405, "method-not-allowed")
        assert found["detail"] == f"{method} is no method of /v1/feed."
        assert reply.headers["allow"] == "GET"
    assert (await ack(central, 0)).status_code == 200
    sneaky = await central.client.post("/v1/consumers/a/ack/../../lane/decisions", json={})
    assert sneaky.status_code in (403, 404)


async def test_unknown_paths_are_problems(central: Served) -> None:
    for path in (
        "/v1/nothing",
        "/nothing",
        "/v1/lane/",
        "/docs",
        "/assets/x.js",
        "/assets/../pyproject.toml",
        "/%00",
        "/assets/%00",
        f"/{'x' * 5000}",
    ):
        found = problem(await central.client.get(path), 404, "not-found")
        assert found["detail"].startswith("There is nothing at /")


async def test_every_answer_carries_the_content_policy(central: Served) -> None:
    for path in ("/", "/v1", "/nothing", "/v1/feed"):
        headers = (await central.client.get(path)).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


async def test_a_body_has_at_most_1_mib_whether_it_says_so_or_not(central: Served) -> None:
    url = "/v1/consumers/central/ack"
    declared = await central.client.post(url, content=b"x" * (1024 * 1024 + 1))
    assert problem(declared, 413, "too-large")["limit"] == 1024 * 1024

    async def chunks() -> Any:
        for _ in range(30):
            yield b" " * 65536

    undeclared = await central.client.post(url, content=chunks())
    problem(undeclared, 413, "too-large")
    just_right = await central.client.post(
        url, content=b" " * (1024 * 1024 - 2) + b"[]", headers={"Content-Type": "application/json"}
    )
    problem(just_right, 422, "invalid")
    assert (await central.client.get("/v1")).status_code == 200


async def test_half_a_body_is_no_command(central: Served) -> None:
    await append(central.store, [draft()])
    body = json.dumps({"epoch": central.store.epoch, "seq": 1}).encode()
    head = (
        f"POST /v1/consumers/central/ack HTTP/1.1\r\nHost: 127.0.0.1:{central.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body) + 10}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", central.port)
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await central.client.get("/v1/consumers/central")).json()["acked"] == 0


# --- the screen -----------------------------------------------------------------------------------


async def test_a_missing_screen_says_how_to_build_it(central: Served) -> None:
    reply = await central.client.get("/")
    assert reply.status_code == 503
    assert reply.headers["content-type"].startswith("text/html")
    assert "Screen not built: run <code>make web</code>" in reply.text
    assert (await central.client.get("/v1")).status_code == 200


async def test_the_built_screen_is_served_with_the_right_caching(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<!doctype html>screen")
    (dist / "favicon.svg").write_text("<svg/>")
    (dist / "assets" / "index-Ab12.js").write_text("1")
    (tmp_path / "secret").write_text("no")
    store = await asyncio.to_thread(open_small, tmp_path / "state")
    async with serve(store, dist) as served:
        page = await served.client.get("/")
        assert (page.status_code, page.text) == (200, "<!doctype html>screen")
        assert page.headers["cache-control"] == "no-store"
        script = await served.client.get("/assets/index-Ab12.js")
        assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert script.headers["content-type"].startswith("text/javascript")
        assert (await served.client.get("/favicon.svg")).headers["cache-control"] == "no-cache"
        for path in (
            "/%00",
            f"/{'x' * 5000}",
            "/%2e%2e%2fsecret",
            "/assets/%2e%2e%2f%2e%2e%2fsecret",
            "/..%2fsecret",
            "/assets",
        ):
            problem(await served.client.get(path), 404, "not-found")
    await asyncio.to_thread(store.close)
