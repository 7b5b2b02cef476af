"""Every operation of the interface, asked by a machine that has read only its description: right and wrong
requests get the answers that the description promises, and never a 500."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from station.api.app import create_app
from station.api.services import Services
from tests.support.journal import append, draft, of_inspection, open_small, put_blob
from tests.support.served import Served, serve

HERE = create_app(cast(Services, None)).openapi()["paths"]
OPERATIONS = [f"{method.upper()} {path}" for path, methods in HERE.items() for method in methods]
EXAMPLES, SOAK_EXAMPLES = 6, 300
BLOB_BYTES = 3000
SUBJECT = "01900000-0000-7000-8000-000000000001"


class Target(NamedTuple):
    """A served station with something in it, and values that lead to it."""

    operations: dict[str, Any]
    known: dict[str, Any]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    store = open_small(tmp_path_factory.mktemp("station") / "state")
    for n in range(5):
        store.append_soon([draft(n=n)]).result(10)
    opened = of_inspection(SUBJECT, "carril.inspection.opened", opened_by="entry_loop")
    store.append_soon([opened]).result(10)
    sha256 = store.keep_blob(b"x" * BLOB_BYTES, "application/octet-stream")
    ready, ended = threading.Event(), threading.Event()
    port = 0

    async def run() -> None:
        nonlocal port
        async with serve(store, Path("absent")) as served:
            port = served.port
            ready.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert ready.wait(20)
        schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/v1/openapi.json", wait_for_schema=10)
        operations = {found.ok().label: found.ok() for found in schema.get_all_operations()}
        known = {"epoch": store.epoch, "name": "central", "sha256": sha256, "seq": 3, "after": 2}
        known |= {"inspection_id": SUBJECT, "consumer": "central", "bytes": BLOB_BYTES}
        yield Target(operations, known)
    finally:
        ended.set()
        thread.join()
        store.close()


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
def test_an_operation_is_as_it_is_described(
    target: Target, label: str, mode: GenerationMode, soak: bool
) -> None:
    operation = target.operations[label]
    right = mode is GenerationMode.POSITIVE

    @examples(soak)
    @seed(1)
    @given(case=operation.as_strategy(generation_mode=mode), leads=st.booleans())
    def ask(case: Any, leads: bool) -> None:
        if right:
            steer(case, target.known if leads else {})
        case.call_and_validate(timeout=35)

    try:
        ask()
    except Unsatisfiable:
        assert not right, "no request at all can be made"  # a free text alone cannot be wrong


def steer(case: Any, known: dict[str, Any]) -> None:
    """Let a right request meet something that exists, and never wait."""
    for values in (case.path_parameters, case.query, case.body):
        if isinstance(values, dict):
            values |= {name: known[name] for name in values if name in known}
    if isinstance(case.query, dict) and "wait" in case.query:
        case.query["wait"] = 0
    # No schema can say that a refused record must be acknowledged, too.
    if isinstance(case.body, dict) and case.body.get("nack"):
        case.body["nack"] = [{**case.body["nack"][0], "seq": 1}]


def test_all_operations_of_the_station_were_asked(target: Target) -> None:
    assert set(target.operations) == set(OPERATIONS)


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
