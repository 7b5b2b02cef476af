"""Seals and placards: what an officer saw at the vehicle, held against what was declared of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from station.domain.events import InspectionEvent
from station.domain.manifest import Hazmat, ManifestMatch
from station.domain.signed import ListOf, Strict, Text

Why = Literal["broken", "missing", "different", "undeclared"]
COMPARED = ("matched", "partial")
"""Answers of the matching that say whose papers these are."""


class SeenSeal(Strict):
    """A seal at the vehicle, or the place of one; ``missing``: declared, and not there."""

    no: Text
    state: Literal["intact", "broken", "missing"]


class SeenPlacard(Strict):
    """A placard at the vehicle: UN number, hazard class, or both, as far as it shows them."""

    un: Annotated[str | None, Field(pattern=r"^[0-9]{4}$")] = None
    hazard_class: Annotated[str | None, Field(alias="class", pattern=r"^[1-9](\.[1-6])?$")] = None

    @model_validator(mode="after")
    def _some(self) -> SeenPlacard:
        if self.un is None and self.hazard_class is None:
            raise ValueError("a placard shows a UN number or a class")
        return self


class Seen(Strict):
    """What was looked at; ``None``: not looked at, empty: looked, and none there."""

    seals: ListOf[SeenSeal] | None = None
    placards: ListOf[SeenPlacard] | None = None

    @model_validator(mode="after")
    def _some(self) -> Seen:
        if self.seals is None and self.placards is None:
            raise ValueError("say what was looked at: seals, placards or both")
        return self


class InspectionObserved(InspectionEvent, Seen):
    """An officer said what seals and placards are at the vehicle; a later word replaces an earlier one."""

    officer: str


class Difference(Strict):
    """One thing that is not as it was declared."""

    what: Literal["seal", "placard"]
    name: str
    why: Why


def later(before: Seen | None, now: Seen) -> Seen:
    """Return all that is known: of each thing the later word."""
    if before is None:
        return now
    seals = before.seals if now.seals is None else now.seals
    return Seen(seals=seals, placards=before.placards if now.placards is None else now.placards)


def differences(seen: Seen | None, manifest: ManifestMatch | None) -> Iterator[Difference]:
    """Return what is not as declared. Without the vehicle's own papers a broken seal is all that can be."""
    papers = manifest if manifest is not None and manifest.status in COMPARED else None
    if seen is None:
        return
    if seen.seals is not None:
        yield from _seals(seen.seals, papers)
    if seen.placards is not None and papers is not None:
        yield from _placards(seen.placards, papers.hazmat)


def _seals(seen: Sequence[SeenSeal], papers: ManifestMatch | None) -> Iterator[Difference]:
    for seal in seen:
        if seal.state != "intact":
            yield Difference(what="seal", name=seal.no, why=seal.state)
    if papers is None:
        return
    there = Counter(_plain(seal.no) for seal in seen)
    for no in papers.seals:
        if not there[_plain(no)]:
            yield Difference(what="seal", name=no, why="missing")
        there[_plain(no)] = 0
    for seal in seen:
        if there[_plain(seal.no)] and seal.state == "intact":
            yield Difference(what="seal", name=seal.no, why="different" if papers.seals else "undeclared")


def _placards(seen: Sequence[SeenPlacard], declared: Sequence[Hazmat]) -> Iterator[Difference]:
    """Compare both ways. A placard of a class stands for all its divisions: 1 for 1.4, as on the road."""
    for placard in seen:
        if not any(_agree(placard, goods) for goods in declared):
            yield Difference(what="placard", name=_name(placard.un, placard.hazard_class), why="undeclared")
    for goods in declared:
        if not any(_agree(placard, goods) for placard in seen):
            yield Difference(what="placard", name=_name(goods.un, goods.hazard_class), why="missing")


def _agree(placard: SeenPlacard, goods: Hazmat) -> bool:
    if placard.un is not None and placard.un != goods.un:
        return False
    seen, said = placard.hazard_class, _division(goods.hazard_class)
    if seen is None or said is None:
        return placard.un is not None
    return said == seen or said.startswith(f"{seen}.") or seen.startswith(f"{said}.")


def _division(declared: str | None) -> str | None:
    """Class and division without a compatibility group: 1.4 of 1.4G."""
    found = re.match(r"[1-9](\.[1-6])?", declared or "")
    return found.group() if found else None


def _name(un: str | None, hazard_class: str | None) -> str:
    return " ".join(filter(None, (f"UN {un}" if un else "", f"class {hazard_class}" if hazard_class else "")))


def _plain(no: str) -> str:
    """Letters and digits alone; a seal is read by a person, so nothing else is folded."""
    return re.sub(r"[^A-Z0-9]", "", no.upper())
