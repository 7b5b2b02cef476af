"""The committed description of the interface is the one that the program has."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from station.api.openapi import description, text
from station.api.problems import MEDIA_TYPE, PROBLEMS
from tests.support.api_promises import broken, promises, read


def test_the_committed_description_is_what_the_program_serves(root: Path) -> None:
    committed = root / "docs" / "reference" / "openapi.json"
    assert committed.read_text() == text(), "run: python -m station.api.openapi > docs/reference/openapi.json"


def test_it_is_openapi_3_1_and_every_operation_has_a_name_and_its_problems() -> None:
    found = description()
    assert found["openapi"].startswith("3.1")
    assert "ProblemBody" in found["components"]["schemas"]
    operations = [operation for path in found["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all({"4XX", "5XX"} <= operation["responses"].keys() for operation in operations)
    own = [list(o["responses"]["422"]["content"]) for o in operations if "422" in o["responses"]]
    assert own
    assert all(types == ["application/problem+json"] for types in own), "FastAPI's own form is not ours"


def test_every_answer_of_every_operation_is_described() -> None:
    for path, operations in description()["paths"].items():
        for method, operation in operations.items():
            bare = [
                status
                for status, answer in operation["responses"].items()
                if status not in ("204", "304")
                and not any(content.get("schema") for content in answer.get("content", {}).values())
            ]
            assert bare == [], f"{method} {path}"


def test_every_refusal_that_is_described_is_a_problem() -> None:
    for path, operations in description()["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if status[0] in "45":
                    assert list(answer["content"]) == [MEDIA_TYPE], f"{method} {path} {status}"
                    schema = answer["content"][MEDIA_TYPE]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ProblemBody"}, f"{method} {path} {status}"


# --- nothing that was promised vanishes -----------------------------------------------------------


def test_no_route_field_or_status_that_was_promised_is_gone() -> None:
    """Whoever means to break one deletes its line in tests/integration/api_promises.txt."""
    assert broken(read(), promises(description())) == []


def test_everything_that_programs_see_is_on_the_list_of_promises() -> None:
    new = promises(description()) - read()
    assert new == set(), "run: python -m tests.support.api_promises"


FEED = "/v1/feed"
BREAKS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "is gone: GET /v1/feed": lambda told: told["paths"].pop(FEED),
    "is gone: GET /v1/feed answers 410": lambda told: told["paths"][FEED]["get"]["responses"].pop("410"),
    "is gone: GET /v1/feed query after: integer": lambda told: told["paths"][FEED]["get"]["parameters"].pop(
        0
    ),
    "is gone: FeedPage.next: integer": lambda told: told["components"]["schemas"]["FeedPage"][
        "properties"
    ].pop("next"),
    "is gone: FeedPage.head: integer": lambda told: told["components"]["schemas"]["FeedPage"]["properties"][
        "head"
    ].update(type="string"),
    "is gone: AckBody.nack: array[NackBody] optional": lambda told: told["components"]["schemas"]["AckBody"][
        "required"
    ].append("nack"),
    "is demanded of those who never sent it: GET /v1/feed query token: string": lambda told: told["paths"][
        FEED
    ]["get"]["parameters"].append(
        {"in": "query", "name": "token", "required": True, "schema": {"type": "string"}}
    ),
    "is demanded of those who never sent it: AckBody.token: string": lambda told: (
        told["components"]["schemas"]["AckBody"]["properties"].update(token={"type": "string"}),
        told["components"]["schemas"]["AckBody"]["required"].append("token"),
    ),
}


@pytest.mark.parametrize("seen", BREAKS)
def test_the_gate_sees(seen: str) -> None:
    told = description()
    kept = promises(told)
    changed = copy.deepcopy(told)
    BREAKS[seen](changed)
    assert seen in broken(kept, promises(changed))


def test_the_gate_lets_additions_pass() -> None:
    told = description()
    kept = promises(told)
    told["paths"]["/v1/new"] = copy.deepcopy(told["paths"][FEED])
    optional = {"in": "query", "name": "new", "schema": {"type": "string"}}
    told["paths"][FEED]["get"]["parameters"].append(optional)
    told["components"]["schemas"]["FeedPage"]["properties"]["new"] = {"type": "integer"}
    assert broken(kept, promises(told)) == []


def test_every_problem_has_its_status_and_its_meaning(root: Path) -> None:
    """Each ``Problem(status, name, …)`` of the interface is the one that the description knows."""
    for file in sorted((root / "station" / "api").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            values = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if node.func.id == "Problem" and len(values) > 1 and isinstance(values[1], str):
                assert PROBLEMS[values[1]][0] == values[0], f"{file.name}:{node.lineno}"


def test_the_page_for_pollers_names_the_problems_of_the_feed_and_of_an_acknowledgement(root: Path) -> None:
    page = (root / "docs" / "how-to" / "poll-the-station.md").read_text(encoding="utf-8")
    paths = description()["paths"]
    for operation in (paths["/v1/feed"]["get"], paths["/v1/consumers/{name}/ack"]["post"]):
        own = [
            answer["description"] for status, answer in operation["responses"].items() if status[1:] != "XX"
        ]
        for name, (_, meaning) in PROBLEMS.items():
            if any(f"`{name}`: {meaning}" in each for each in own):
                assert f"`{name}`" in page, name


def test_the_page_of_the_contract_has_every_problem(root: Path) -> None:
    page = (root / "docs" / "reference" / "feed.md").read_text(encoding="utf-8")
    rows = [f"| {status} | `{name}` | {meaning} |" for name, (status, meaning) in PROBLEMS.items()]
    shown = [line for line in page.split("\n## Problems\n")[1].splitlines() if "| `" in line]
    assert shown == rows, "the table must be:\n" + "\n".join(rows)
