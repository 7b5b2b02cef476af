"""Every operation of the interface, asked by a machine that has read only its description: right and wrong
requests get the answers that the description promises, and never a 500.

The operations are those of the committed description, and a whole daemon answers: a route that no test asks,
or that the daemon does not have, fails here. A right request is steered to things that exist (the vehicle at
the booth, an alarm, a directive, a scan …): of each operation at least one must be granted.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.support.directives import MANIFEST, OF_NOW, public_text, signed, terms
from tests.support.journal import append, draft, put_blob
from tests.support.served import Served
from tests.support.station import ROOT, TRUCK, Station, lane_file

COMMITTED = ROOT / "docs" / "reference" / "openapi.json"
DESCRIBED = json.loads(COMMITTED.read_text(encoding="utf-8"))
HERE = DESCRIBED["paths"]
OPERATIONS = [f"{method.upper()} {path}" for path, methods in HERE.items() for method in methods]
EVENTS = "GET /v1/lane/events"
FINDING = "POST /v1/lane/adjudications"
"""Of a vehicle that has gone."""
NOT_NOW = {
    "POST /v1/lane/devices/{device}/tamper-clear": 409,  # no cabinet was opened
    "POST /v1/lane/consumers/{name}/drop": 409,  # the lane file names it
}
"""What cannot be granted in this lane, and the status of that."""
EXAMPLES, SOAK_EXAMPLES = 5, 300
RATE = 5.0
KEY = Ed25519PrivateKey.generate()
ISSUER = f"""
[[issuer]]
name = "central"
key = "{public_text(KEY)}"
kinds = ["hold", "manifest", "release", "trust", "lane_mode"]
"""
OF_OPERATION = {
    "GET /v1/devices/{name}": {"name": "rpm1"},
    "GET /v1/schemas/{name}": {"name": "inspection.sealed:1"},
    "POST /v1/lane/decisions": {"verdict": "hold"},  # the vehicle stays
    FINDING: {"before": 0, "code": 0},
}
PLATES = ("LXR 4800", "LXR 4801")
HOT = "[[truck.sources]]\nat_m = 4.0\ngamma_cps = 9000.0\n"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT")


@dataclass
class Lane:
    """A running station with a vehicle at its booth, and what right requests are steered to."""

    station: Station
    operations: dict[str, Any]
    fixed: dict[str, Any]
    """Right values by the name of the parameter or field."""
    turn: Iterator[int] = field(default_factory=itertools.count)

    def known(self, label: str) -> dict[str, Any]:
        """Return right values of now for an operation."""
        known = {**self.fixed, "Idempotency-Key": f"key-{next(self.turn):06}"}
        if "/v1/lane/" in label and label != FINDING:
            view = self.station.lane()
            seen = view["inspection"] or {}
            known |= {name: seen[name] for name in ("inspection_id", "version") if name in seen}
            if view["alarms"]:
                known["alarm_id"] = view["alarms"][0]["alarm_id"]
            if "/directives/" in label and seen.get("directives"):
                known |= {name: seen["directives"][0][name] for name in ("directive_id", "version")}
        if label.endswith("/clear"):  # what others refused here was taken meanwhile
            refuse(self.station, known["epoch"], known["seq"])
        return known | OF_OPERATION.get(label, {})


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    folder = tmp_path_factory.mktemp("lane")
    path = lane_file(folder, "demo", RATE)
    salt = 'port_salt = { credential = "port_salt" }'
    text = path.read_text(encoding="utf-8").replace("[lane]\n", f"[lane]\n{salt}\n", 1)
    path.write_text(text + ISSUER, encoding="utf-8")
    (folder / "port_salt").write_text("s" * 32 + "\n", encoding="utf-8")
    (folder / "port_salt").chmod(0o600)
    station = Station(path, folder / "state", folder / "daemon.log", hot_trucks(folder))
    station.environment["CREDENTIALS_DIRECTORY"] = str(folder)
    try:
        station.start()
        with station.officer_away():
            schema = schemathesis.openapi.from_dict(without_tuples(DESCRIBED))
            rejection = schema.config.checks.negative_data_rejection
            rejection.expected_statuses = [
                *rejection.expected_statuses,
                "413",
            ]  # a list too long for any body
            operations = {found.ok().label: found.ok() for found in schema.get_all_operations()}
            yield Lane(station, operations, furnished(station))
            station.assert_sound()
    finally:
        station.end()


def hot_trucks(folder: Path) -> tuple[str, ...]:
    """Return the options of ``carril run`` for trucks that alarm, close behind each other."""
    trucks = [TRUCK.format(n=n, plate=plate, cab="blue") + HOT for n, plate in enumerate(PLATES)]
    path = folder / "trucks.toml"
    path.write_text('title = "Hot trucks"\ngap_s = 0.0\n' + "".join(trucks), "utf-8")
    return ("--scenario", str(path))


def furnished(station: Station) -> dict[str, Any]:
    """Bring into the lane what right requests need, and return the names of it."""
    for n, plate in enumerate(PLATES):
        hold = {"hold_kind": "legal", "authority": "Customs", "keys": {"plate": plate}, "action": "notify"}
        for name, kind, body in (
            (f"H-{n}", "hold", hold),
            (f"M-{n}", "manifest", {**MANIFEST, "conveyance": {"plate": plate}}),
        ):
            assert station.call("PUT", f"/v1/directives/{name}", directive(name, kind, body)).status == 201
    station.until(station.all_online, "every device is online")
    sealed = station.send_on(station.next_vehicle())
    seen = station.until_state("awaiting_decision")
    assert seen["directives"], "the plate of the vehicle is on hold"
    alarms = station.records("radiation_alarm.raised", inspection_id=sealed["inspection_id"])
    epoch = station.get("/v1").json()["epoch"]
    refuse(station, epoch, 2)
    blob = sealed["blobs"][0]
    return {
        "epoch": epoch,
        "name": "central",
        "consumer": "central",
        "seq": 2,
        "sha256": blob["sha256"],
        "bytes": blob["bytes"],
        "inspection_id": sealed["inspection_id"],
        "alarm_id": alarms[0]["alarm_id"],
        "scan_id": sealed["scan"]["scan_id"],
        "directive_id": "H-0",
        "device": "rpm1",
        "after": 2,
        "from": 0,
        "to": 8,
    }


def refuse(station: Station, epoch: str, seq: int) -> None:
    """Let the centre refuse a record."""
    nack = {"epoch": epoch, "seq": 3, "nack": [{"seq": seq, "reason": "unknown"}]}
    assert station.post("/v1/consumers/central/ack", nack).status == 200


def directive(name: str, kind: str, body: dict[str, Any], version: int = 1) -> dict[str, Any]:
    return signed(name, KEY, terms(kind, version, body=body, **OF_NOW))


def examples(soak: bool) -> settings:
    return settings(
        max_examples=SOAK_EXAMPLES if soak else EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_an_operation_is_as_it_is_described(lane: Lane, label: str, mode: GenerationMode, soak: bool) -> None:
    operation = lane.operations[label]
    right = mode is GenerationMode.POSITIVE
    base = f"http://127.0.0.1:{lane.station.port}"
    statuses, every_second = [], itertools.cycle((True, False))

    @examples(soak)
    @seed(1)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if right:
            steer(case, lane.known(label) if next(every_second) else {})
        if label == EVENTS:
            reply = begun(case, base)
            case.validate_response(reply)
        else:
            reply = case.call_and_validate(base, headers={"X-Carril": "1"}, timeout=35)
        statuses.append(reply.status_code)

    try:
        ask()
    except Unsatisfiable:
        assert not right, "no request at all can be made"  # a free text alone cannot be wrong
    if right:
        wanted = NOT_NOW.get(label)
        assert any(status == wanted if wanted else status < 300 for status in statuses), statuses


def without_tuples(node: Any) -> Any:
    """Return a description with plain lists for tuples of one type, which Schemathesis 4.32 misreads."""
    if isinstance(node, list):
        return [without_tuples(each) for each in node]
    if not isinstance(node, dict):
        return node
    first, *others = node.get("prefixItems", [None])
    assert all(other == first for other in others)
    items = {} if first is None else {"items": first}
    return {name: without_tuples(each) for name, each in node.items() if name != "prefixItems"} | items


def steer(case: Any, known: dict[str, Any]) -> None:
    """Let a right request meet something that exists, and never wait; keep the rules that no schema says."""
    for values in (case.path_parameters, case.query, case.body):
        if isinstance(values, dict):
            values |= {name: known[name] for name in values if name in known}
    if case.headers and "Idempotency-Key" in known and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = known["Idempotency-Key"]
    query = case.query if isinstance(case.query, dict) else {}
    if "wait" in query:
        query["wait"] = 0
    if "from" in query:
        query["to"] = max(query["from"], min(query["to"], query["from"] + 8))
    body = case.body if isinstance(case.body, dict) else {}
    if body.get("nack"):  # what is refused must be acknowledged, too
        body["nack"] = [{**body["nack"][0], "seq": 1}]
    if case.operation.label.endswith("/observations"):
        body["seals"] = body.get("seals") or []  # something was looked at
        body["placards"] = [{**each, "un": "1203"} for each in body.get("placards") or ()]
    if "second" in body:  # two persons are two
        body |= {"first": "M. Ortiz", "second": "A. Diaz"}
    if "sig" in body:
        case.body = meant(case.path_parameters["directive_id"], body)


def meant(name: str, sent: dict[str, Any]) -> dict[str, Any]:
    """Return a directive as its issuer would send it: with days that exist, keys, and a signature."""
    more = {
        "hold": {"keys": {"plate": "ABC 123"}},
        "manifest": {"trip_no": "SCAC12345"},
        "trust": {"part": 1, "parts": 1},
    }
    kind = sent["kind"]
    body = {**real(sent["body"]), **more.get(kind, {})}
    whole = {**sent, **terms(kind, sent["version"], body=body, **OF_NOW)}
    return signed(name, KEY, {each: value for each, value in whole.items() if each != "sig"})


def real(value: Any) -> Any:
    """Return it with moments and time zones that there are."""
    if isinstance(value, list):
        return [real(each) for each in value]
    if isinstance(value, dict):
        return {name: "UTC" if name == "tz" else real(each) for name, each in value.items()}
    return "2026-01-01T00:00:00Z" if isinstance(value, str) and MOMENT.match(value) else value


def begun(case: Any, base: str) -> requests.Response:
    """Ask for a stream that never ends, and take only its beginning."""
    reply = requests.request(**case.as_transport_kwargs(base_url=base), stream=True, timeout=10)
    with reply:
        if reply.ok:
            parts, told = reply.iter_content(None), b""
            while told.count(b"\n\n") < 2:  # to begin anew, and the lane
                told += next(parts)
            reply._content = told
        else:
            assert reply.content
    return reply


def test_the_daemon_has_all_operations_that_are_described_and_no_other(lane: Lane) -> None:
    served = lane.station.get("/v1/openapi.json").json()["paths"]
    assert {path: set(methods) for path, methods in served.items()} == {
        path: set(methods) for path, methods in HERE.items()
    }
    assert set(lane.operations) == set(OPERATIONS)


# --- what it found -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seq", ["3.0", "3", "30e-1", "0.3e1"])
async def test_a_whole_number_with_a_point_is_an_integer(central: Served, seq: str) -> None:
    for _ in range(3):
        await append(central.store, [draft()])
    body = f'{{"epoch":"{central.store.epoch}","seq":{seq}}}'
    reply = await central.client.post(
        "/v1/consumers/central/ack", content=body, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 200, reply.text
    assert reply.json()["acked"] == 3


@pytest.mark.parametrize("method", ["get", "head"])
async def test_the_media_types_of_blobs_are_described(central: Served, method: str) -> None:
    sha256 = await put_blob(central.store, b"x", "image/jpeg")
    reply = await central.client.request(method.upper(), f"/v1/blobs/{sha256}")
    described = HERE["/v1/blobs/{sha256}"][method]["responses"]["200"]["content"]
    assert {reply.headers["content-type"], "*/*"} & described.keys()
