"""``carril conformance``: does a running station keep the promises of the central interface?

It moves one cursor, under a name of its own, to the end, and sends some 180 requests, many of them lies. One
record is refused and offered anew; with an issuer's key a hold of no vehicle comes and is withdrawn.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from station.cli.client import server
from station.cli.errors import UserError
from station.cli.promises import PROMISES, Broken, Kit, NotAsked, Promise
from station.cli.verify import text_of

if TYPE_CHECKING:  # a library that most commands do not need
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEPT, BROKEN, NOT_ASKED = "kept", "broken", "not asked"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one promise; of a broken one what was sent, what came, and what was promised."""

    name: str
    promise: str
    result: str
    reason: str = ""
    sent: str = ""
    came: str = ""
    wanted: str = ""


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "conformance", help="hold a running station to the promises of its interface"
    )
    parser.add_argument("url", metavar="URL", type=server, help="address of the station")
    parser.add_argument(
        "--name", default="conformance", help="the consumer whose cursor is moved (%(default)s)"
    )
    parser.add_argument(
        "--issuer-key", type=Path, metavar="FILE", help="private key (PEM) with which to send a hold, too"
    )
    parser.add_argument(
        "--issuer", type=_issuer, metavar="URN", help="whose key it is: urn:carril:client:NAME"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(command=run)


def run(given: argparse.Namespace) -> int:
    """Print each promise as kept or broken; 0 all kept, 1 one broken, 2 not or not wholly run."""
    if (given.issuer_key is None) != (given.issuer is None):
        raise UserError("--issuer-key FILE and --issuer URN belong together: give both, or none")
    kit = Kit(given.url, given.name)
    if given.issuer_key:
        kit.issuer, kit.issuer_key = given.issuer, _private_key(given.issuer_key)
    results = []
    for result in check(kit):
        results.append(result)
        if not given.json:
            _tell(result)
    lacks = [result for result in results if result.reason == _lack(kit)]
    counts = {kind: sum(result.result == kind for result in results) for kind in (KEPT, BROKEN, NOT_ASKED)}
    if given.json:
        told = {"station": kit.start["station"], "requests": kit.requests} | counts
        print(json.dumps(told | {"promises": [asdict(result) for result in results]}, indent=1))
    else:
        print(
            ", ".join(f"{count} {kind}" for kind, count in counts.items()) + f", by {kit.requests} requests"
        )
    if counts[BROKEN]:
        return 1
    if lacks:
        raise UserError(_lack(kit))
    return 0


def check(kit: Kit) -> Iterator[Result]:
    """Check each promise; raises ``UserError`` when what answers is no station."""
    try:
        known = all(isinstance(kit.start[member], str) for member in ("station", "epoch"))
        known = known and all(isinstance(kit.start[member], int) for member in ("oldest", "head"))
    except (Broken, LookupError) as error:
        came = f" ({error.came})" if isinstance(error, Broken) else ""
        raise UserError(f"no Carril station answers at {kit.server.url}{came}; give its address") from error
    if not known:
        raise UserError(f"no Carril station answers at {kit.server.url}; give its address")
    cursor = kit.ask("GET", f"/v1/consumers/{kit.name}")
    has_cursor = cursor.status != 404
    if cursor.status == 200 and cursor.json().get("required"):
        raise UserError(
            f"{kit.name!r} is a required consumer of {kit.server.url}: records that only it needs would be "
            "acknowledged unread. Give --name of one that has required = false in the lane file"
        )
    for promise in PROMISES:
        if promise.needs_cursor and not has_cursor:
            yield Result(promise.name, promise.sentence, NOT_ASKED, _lack(kit))
        else:
            yield _result(kit, promise)


def _result(kit: Kit, promise: Promise) -> Result:
    try:
        promise.check(kit)
    except Broken as broken:
        return Result(promise.name, promise.sentence, BROKEN, "", broken.sent, broken.came, broken.wanted)
    except NotAsked as reason:
        return Result(promise.name, promise.sentence, NOT_ASKED, str(reason))
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # an answer of the wrong shape
        return Result(
            promise.name, promise.sentence, BROKEN, "", "", repr(error)[:200], "an answer of the right shape"
        )
    return Result(promise.name, promise.sentence, KEPT)


def _issuer(text: str) -> str:
    if not re.fullmatch(r"urn:carril:client:[a-z][a-z0-9_-]{0,31}", text):
        raise argparse.ArgumentTypeError(f"{text}: the name of an issuer, like urn:carril:client:central")
    return text


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text_of(path).encode(), None)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path} is no private key; give an Ed25519 key in PEM, without a password"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"{path} is another kind of key; give an Ed25519 key in PEM")
    return key


def _lack(kit: Kit) -> str:
    return (
        f'the lane file names no consumer {kit.name}; add [[consumer]] name = "{kit.name}", '
        "required = false, and start the station again"
    )


def _tell(result: Result) -> None:
    """Print one promise."""
    print(f"{result.result:<9}  {result.name:<19}  {result.promise}", flush=True)
    for word in ("reason", "sent", "came", "wanted"):
        if text := getattr(result, word):
            print(f"           {word}: {text}", flush=True)
