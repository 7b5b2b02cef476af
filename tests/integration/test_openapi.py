"""The committed description of the interface is the one that the program has."""

from __future__ import annotations

import ast
from pathlib import Path

from station.api.openapi import description, text
from station.api.problems import PROBLEMS


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
