"""What is wrong with a lane file: the place, the value read, what is allowed, the nearest name."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

LONGEST_VALUE = 60
"""Characters of a value that a sentence repeats."""

Place = tuple[str | int, ...]
"""Keys and positions from the top of the file, as pydantic counts them."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; ``str`` gives the sentence.

    ``place`` is empty for the file as a whole. ``value`` is what was read, as it would stand in TOML;
    ``None`` where nothing stands.
    """

    place: str
    value: str | None
    rule: str
    nearest: str | None = None

    def __str__(self) -> str:
        read = self.place if self.value is None else f"{self.place} = {self.value}"
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{read}: {self.rule}{hint}" if read else f"{self.rule}{hint}"


class LaneFileError(Exception):
    """A lane file that cannot be used; ``problems`` says everything that was found."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        """Keep the problems; the message has one line for each."""
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))
        self.path = path
        self.problems = list(problems)


class UnknownName(LookupError):
    """A name that is not among the names that there are."""

    def __init__(self, rule: str, name: str, names: Iterable[str]) -> None:
        """Build the sentence; ``rule`` says what there is."""
        self.rule = rule
        self.nearest = nearest(name, names)
        super().__init__(str(Problem(repr(name), None, rule, self.nearest)))


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of ``names`` that was probably meant, or ``None``."""
    by_folded = {each.casefold(): each for each in names}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return by_folded[close[0]] if close else None


def shown(value: object) -> str:
    """Return a value as it would stand in the file, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def translate(
    error: ValidationError, model: type[BaseModel], raw: Mapping[str, Any], prefix: str = ""
) -> Iterator[Problem]:
    """Turn pydantic's errors about ``raw`` into problems.

    Values are looked up in ``raw``, never taken from the error: that one may hold a resolved secret.
    """
    for each in error.errors(include_url=False):
        place = each["loc"]
        where = ".".join(part for part in (prefix, spelled(place, raw)) if part)
        value = shown(found) if (found := _at(raw, place)) is not _NOTHING else None
        if each["type"] == "too_short" and each["ctx"]["actual_length"] < len(found):
            continue  # pydantic counts only entries that are right; what is wrong with the others is said
        rule, names = _rule(each, model)
        if isinstance(found, dict) and each["type"] == "value_error":
            # The sentences name the culprits; the whole table would not help.
            yield from (Problem(where, None, line) for line in rule.splitlines())
        elif each["type"] in _UNKNOWN_KEY:
            yield Problem(where, None, rule, nearest(str(place[-1]), names))
        else:
            near = each.get("ctx", {}).get("nearest") or nearest(str(found), names)
            yield Problem(where, value, rule, near)


_NOTHING = object()
_UNKNOWN_KEY = {"extra_forbidden", "unexpected_keyword_argument"}


def _rule(error: ErrorDetails, model: type[BaseModel]) -> tuple[str, list[str]]:
    """Return what is allowed, and the allowed names where there is a list of them."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "is missing; it is required", []
    if kind in _UNKNOWN_KEY:
        names = list(_schema_at(model, error["loc"][:-1]).get("properties", {}))
        return f"unknown key; allowed are {', '.join(names)}", names
    if kind in {"literal_error", "enum"}:
        expected = str(context["expected"])
        return f"must be {expected}", re.findall(r"'([^']*)'", expected)
    if kind == "string_pattern_mismatch":
        meaning = _schema_at(model, error["loc"]).get("description", f"text like {context['pattern']}")
        return f"must be {meaning}", []
    if kind == "too_short":
        return f"must have at least {context['min_length']}", []
    message = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return message[0].lower() + message[1:], []


def _schema_at(model: type[BaseModel], place: Place) -> dict[str, Any]:
    """Walk the model's JSON Schema to a place; empty where the schema does not tell."""
    schema = model.model_json_schema()
    node: dict[str, Any] = schema
    for part in place:
        node = node.get("items" if isinstance(part, int) else "properties", {})
        node = node if isinstance(part, int) else node.get(part, {})
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def spelled(place: Place, raw: Any) -> str:
    """Write a place as people say it: an entry of a list of tables by its name, else by its number."""
    words: list[str] = []
    for part in place:
        raw = _at(raw, (part,))
        if isinstance(part, str):
            words.append(part)
        elif isinstance(raw, dict) and isinstance(name := raw.get("name"), str):
            words.append(name)
        else:
            words[-1:] = [f"{words[-1]}[{part + 1}]"] if words else [f"[{part + 1}]"]
    return ".".join(words)


def _at(raw: Any, place: Place) -> Any:
    for part in place:
        try:
            raw = raw[part]
        except (LookupError, TypeError):
            return _NOTHING
    return raw
