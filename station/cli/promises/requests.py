"""Promises about wrong requests: none is guessed at, none does harm, each is answered in one form."""

from __future__ import annotations

import contextlib
import socket
import time

from station.cli.promises.kit import Kit, Reply, promise

MIB = 1 << 20
DRIP_S = 0.2


@promise("parameters", "No parameter is ignored or guessed: unknown, double and wrong ones are named")
def parameters(kit: Kit) -> None:
    """Ask with each kind of wrong parameter."""
    good = kit.feed_path(kit.oldest - 1)
    most = {name: int(kit.start.get("limits", {}).get(name, 2000)) for name in ("limit", "wait")}
    wrong = [("since", "2026-01-01"), ("offset", "3"), ("after", "5"), ("limit", "0"), ("limit", "x")]
    wrong += [
        ("limit", str(most["limit"] + 1)),
        ("wait", str(most["wait"] + 1)),
        ("wait", "-1"),
        ("prio", "1"),
    ]
    cases = [(name, f"{good}&{name}={value}") for name, value in wrong]
    cases += [("epoch", f"/v1/feed?after={kit.oldest - 1}"), ("after", f"/v1/feed?epoch={kit.epoch}")]
    for name, path in cases:
        reply = kit.ask("GET", path)
        problem = kit.refusal(reply, 400, "bad-parameter", "errors")
        named = [str(error.get("field")).split(".")[-1] for error in problem["errors"]]
        kit.expect(reply, name in named, f"errors that name {name}")


@promise("paths", "An unknown path is a problem, never a page")
def paths(kit: Kit) -> None:
    """Ask for what does not exist."""
    for path in ("/v1/nothing", "/v1/feeds"):
        kit.refusal(kit.ask("GET", path), 404, "not-found")


@promise("methods", "A wrong method is refused, and Allow names the right ones")
def methods(kit: Kit) -> None:
    """Send what no route takes."""
    for method, path in (
        ("POST", "/v1/feed"),
        ("DELETE", "/v1/feed"),
        ("PUT", "/v1"),
        ("PATCH", "/v1/records/1"),
    ):
        reply = kit.ask(method, path, headers={"X-Carril": "1"})
        kit.refusal(reply, 405, "method-not-allowed")
        kit.expect(reply, "GET" in reply.header("Allow"), "Allow: GET")


@promise("too-large", "A body above 1 MiB is refused")
def too_large(kit: Kit) -> None:
    """Send 1 MiB and a byte of spaces."""
    reply = kit.ask(
        "POST", f"/v1/consumers/{kit.name}/ack", b" " * (MIB + 1), {"Content-Type": "application/json"}
    )
    kit.refusal(reply, 413, "too-large")


@promise("header", "A header that never ends costs one connection for a limited time")
def header(kit: Kit) -> None:
    """Send a byte now and then, and see the connection end while the station answers others."""
    kit.requests += 1
    ends_s = time.monotonic() + kit.pace.header_s
    with contextlib.suppress(ConnectionError), socket.create_connection(kit.server, DRIP_S) as link:
        link.sendall(f"GET /v1 HTTP/1.1\r\nHost: {kit.server.host}\r\nX-Slow: ".encode())
        while time.monotonic() < ends_s:
            link.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                if not link.recv(1000):
                    break
    sent = Reply("a header, a byte now and then", None, f"nothing within {kit.pace.header_s:g} s")
    kit.expect(sent, time.monotonic() < ends_s, "the end of the connection")
    kit.ok(kit.ask("GET", "/v1"))
