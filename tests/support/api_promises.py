"""What the interface has promised to programs, one line each: nothing of it may vanish unseen.

``python -m tests.support.api_promises`` adds what is new to the list. It never takes a line away: whoever
breaks a promise deletes its line by hand, for everybody to see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from station.api.openapi import description

LIST = Path(__file__).resolve().parents[1] / "integration" / "api_promises.txt"


def promises(described: Mapping[str, Any]) -> set[str]:
    """Return all lines of a description: operations, inputs, answers, and fields with their types."""
    lines: set[str] = set()
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            lines |= set(_operation(f"{method.upper()} {path}", operation))
    for name, schema in described["components"]["schemas"].items():
        for field, kind in schema.get("properties", {}).items():
            optional = "" if field in schema.get("required", ()) else " optional"
            lines.add(f"{name}.{field}: {_kind(kind)}{optional}")
    return lines


def _operation(name: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield name
    for parameter in operation.get("parameters", ()):
        optional = "" if parameter.get("required") else " optional"
        yield f"{name} {parameter['in']} {parameter['name']}: {_kind(parameter['schema'])}{optional}"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"{name} takes {media}: {_kind(content['schema'])}"
    for status, answer in operation["responses"].items():
        yield f"{name} answers {status}"
        for media, content in answer.get("content", {}).items():
            yield f"{name} answers {status} {media}: {_kind(content.get('schema', {}))}"


def _kind(schema: Mapping[str, Any]) -> str:
    """Return a type in short: what a reader of the field relies on."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return "|".join(_kind(each) for each in schema["anyOf"])
    kind = str(schema.get("type", "any"))
    return f"{kind}[{_kind(schema['items'])}]" if "items" in schema else kind


def broken(kept: set[str], now: set[str]) -> list[str]:
    """Return in sentences what an older client would miss, or would not know to send."""
    bodies = {line.rsplit(": ", 1)[1] for line in kept if " takes " in line}
    demanded = []
    for line in sorted(now - kept):
        name = line.rsplit(": ", 1)[0].split(" ")
        parameter = len(name) == 4 and name[2] in ("query", "header") and " ".join(name[:2]) in kept
        if (parameter or line.split(".")[0] in bodies) and not line.endswith(" optional"):
            demanded.append(f"is demanded of those who never sent it: {line}")
    return [f"is gone: {line}" for line in sorted(kept - now)] + demanded


def read() -> set[str]:
    """Return the promises as they are committed."""
    return set(LIST.read_text(encoding="utf-8").splitlines()) if LIST.exists() else set()


if __name__ == "__main__":
    LIST.write_text("\n".join(sorted(read() | promises(description()))) + "\n", encoding="utf-8")
