"""The committed description of the interface is the one that the program has."""

from __future__ import annotations

from pathlib import Path

from station.api.openapi import description, text


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
    assert all("422" not in operation["responses"] for operation in operations)
