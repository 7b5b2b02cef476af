"""The schema of an event, by its name on the wire."""

from __future__ import annotations

from station.domain.schemas import json_schema


def test_a_schema_has_its_address_and_what_the_event_carries() -> None:
    schema = json_schema("plate.read")
    assert schema is not None
    assert schema["$id"] == "urn:carril:schema:plate.read:1"
    assert "confidence" in schema["properties"]


def test_what_no_event_is_called_has_none() -> None:
    assert json_schema("plate") is None
