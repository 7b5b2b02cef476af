"""Promises of directives: nothing unsigned is taken; with an issuer's key a hold comes and goes.

The hold names a plate that no vehicle has, tells and does nothing else, and is withdrawn at the end.
"""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from station.cli.promises.kit import Broken, Kit, NotAsked, Reply, promise
from station.store.canonical import canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LIFE = timedelta(hours=1)
"""What is not withdrawn ends by itself."""


def _moment(after: timedelta) -> str:
    return (datetime.now(UTC) + after).strftime("%Y-%m-%dT%H:%M:%SZ")


def _hold(kit: Kit, name: str, version: int, key: Ed25519PrivateKey | None, **change: Any) -> dict[str, Any]:
    """Return a signed hold; without a key its signature is nobody's."""
    if key is None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.generate()
    keys = {"plate": f"NO VEHICLE {name.upper()}"}
    terms = {
        "kind": "hold",
        "version": version,
        "issuer": kit.issuer,
        "issued_at": _moment(timedelta()),
        "valid_from": _moment(-LIFE),
        "valid_to": _moment(LIFE),
        "scope": {"lanes": [kit.start["station"]]},
        "body": {"hold_kind": "lookout", "authority": "conformance", "keys": keys, "action": "notify"},
        **change,
    }
    signature = key.sign(canonical({**terms, "id": name}))
    return {**terms, "sig": base64.b64encode(signature).decode()}


def _name() -> str:
    return f"conformance-{secrets.token_hex(8)}"


def _put(kit: Kit, name: str, hold: dict[str, Any]) -> Reply:
    return kit.send("PUT", f"/v1/directives/{name}", hold)


# --- without a key --------------------------------------------------------------------------------


LACKS = "it needs --issuer-key and --issuer"


@promise("directive-unknown", "A directive that nobody sent is not found")
def directive_unknown(kit: Kit) -> None:
    """Ask for one under a name that nobody has."""
    kit.refusal(kit.ask("GET", f"/v1/directives/{_name()}"), 404, "not-found")


@promise("directive-kind", "A directive of an unknown kind is refused, and its field named")
def directive_kind(kit: Kit) -> None:
    """Send one that no lane knows."""
    name = _name()
    reply = _put(kit, name, _hold(kit, name, 1, None, kind="nonsense"))
    named = [str(error.get("field")) for error in kit.refusal(reply, 422, "invalid", "errors")["errors"]]
    kit.expect(reply, "body.kind" in named, "errors that name body.kind")


@promise("directive-signature", "A directive that its issuer did not sign is refused and not kept")
def directive_signature(kit: Kit) -> None:
    """Sign a hold with a key that nobody knows, in the name of an issuer that the station knows."""
    if kit.issuer_key is None:
        raise NotAsked(LACKS)
    name = _name()
    kit.refusal(_put(kit, name, _hold(kit, name, 1, None)), 403, "forbidden")
    kept = kit.ask("GET", f"/v1/directives/{name}")
    kit.expect(kept, kept.status != 200, "no directive of this name")


# --- with one -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Life:
    """What was answered to a hold from its coming to its end."""

    name: str
    began: int
    """The last record before it."""
    taken: Reply
    again: Reply
    older: Reply
    withdrawn: Reply


def _life(kit: Kit) -> _Life:
    """Send version 2, again, version 1, and the withdrawal; it happens once in a run."""
    known = kit.memory.get("hold")
    if isinstance(known, _Life):
        return known
    key = kit.issuer_key
    if key is None:
        raise NotAsked(LACKS)
    name, began = _name(), kit.head()
    hold = _hold(kit, name, 2, key)
    taken, again = _put(kit, name, hold), _put(kit, name, hold)
    older = _put(kit, name, _hold(kit, name, 1, key))
    past = {"valid_from": _moment(-2 * LIFE), "valid_to": _moment(-LIFE)}
    withdrawn = _put(kit, name, _hold(kit, name, 3, key, **past))
    if kit.start.get("clock") != "sync":  # then nothing is ever over: end it by a scope that is not ours
        elsewhere = {"scope": {"lanes": ["nowhere"]}}
        _put(kit, name, _hold(kit, name, 4, key, **past, **elsewhere))
    found = _Life(name, began, taken, again, older, withdrawn)
    kit.memory["hold"] = found
    return found


@promise("directive-taken", "A signed hold is new, and stored in a record of the feed")
def directive_taken(kit: Kit) -> None:
    """Send it."""
    found = _life(kit)
    kit.expect(found.taken, found.taken.status == 201, "201")
    told = found.taken.json()
    holds = (told["id"], told["version"]) == (found.name, 2) and told["record"]["epoch"] == kit.epoch
    kit.expect(
        found.taken, holds and told["record"]["seq"] > found.began, "its id, version 2, and its record"
    )


@promise("directive-again", "The same directive again changes nothing")
def directive_again(kit: Kit) -> None:
    """Send it twice."""
    found = _life(kit)
    wanted = found.taken.json().get("record")
    kit.expect(found.again, kit.ok(found.again).get("record") == wanted, f"200, and the record {wanted}")


@promise("directive-older", "An older version is refused, and told which one stands")
def directive_older(kit: Kit) -> None:
    """Send version 1 behind version 2."""
    found = _life(kit)
    problem = kit.refusal(found.older, 409, "version-conflict", "version")
    kit.expect(found.older, problem["version"] == 2, "version: 2")


@promise("directive-records", "A hold and its withdrawal are records: received, in force, received, closed")
def directive_records(kit: Kit) -> None:
    """Find them in the feed."""
    found = _life(kit)
    kit.ok(found.withdrawn)
    wanted = [("received", 2, ""), ("armed", 2, ""), ("received", 3, ""), ("closed", 2, "superseded")]
    if kit.start.get("clock") == "sync":  # else nothing is ever over
        wanted.append(("closed", 3, "withdrawn"))
    ends_s = time.monotonic() + kit.pace.slack_s
    while True:
        reply = kit.feed(found.began, include="simulated", limit=500)
        told = [each for each in _steps(kit.ok(reply), found.name) if each in wanted]
        if told == wanted:
            return
        if time.monotonic() > ends_s:
            raise Broken(reply, f"these records of {found.name}: {wanted}; there are {told}")
        time.sleep(kit.pace.wait_s)


def _steps(page: dict[str, Any], name: str) -> list[tuple[str, int, str]]:
    """Return what a page says became of a directive."""
    events = [item["event"] for item in page["items"] if "event" in item]
    return [
        (event["type"].rpartition(".")[2], event["data"]["directive_version"], event["data"].get("how", ""))
        for event in events
        if event["data"].get("directive_id") == name
    ]
