"""Plan files: which phases run in which order, with which limits; nothing in them is run as code."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from hil.measure import Limits, Strict
from hil.steps.library import Step, library
from station.lanefile import nearest

SHIPPED = Path(__file__).parent / "plans"
Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Seconds = Annotated[float, Field(gt=0, le=86_400, strict=False)]


class PlanError(Exception):
    """One sentence for the person who wrote the plan."""


class Title(Strict):
    """The plan's name for people."""

    en: Annotated[str, Field(min_length=1)]
    es: Annotated[str, Field(min_length=1)]


class Repeat(Strict):
    """``repeat``: how often a phase is tried; every attempt is kept."""

    max: Annotated[int, Field(ge=2, le=100)]
    on: Literal["error", "fail"]
    """``fail`` repeats after an error as well."""


class Phase(Strict):
    """``[[setup]]``, ``[[main]]``, ``[[teardown]]``: one use of a step."""

    id: Id
    use: str
    """Name of a step of the library."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Checked by the step's own model."""
    timeout_s: Seconds = 60.0
    repeat: Repeat | None = None
    on_fail: Literal["continue", "stop"] = "continue"
    measure: Annotated[tuple[Limits, ...], Field(strict=False)] = ()

    @property
    def step(self) -> Step:
        """The step of the library."""
        return library()[self.use]

    @model_validator(mode="after")
    def _fits_its_step(self) -> Phase:
        steps = library()
        if self.use not in steps:
            raise ValueError(f"step {self.use!r} is unknown{_near(self.use, steps)}")
        step = steps[self.use]
        try:
            step.args.model_validate(self.args)
        except ValidationError as error:
            raise ValueError(f"args: {_told(error)}") from error
        names = [limits.name for limits in self.measure]
        for limits in self.measure:
            gives = step.gives.get(limits.name)
            if gives is None:
                raise ValueError(f"{self.use} measures no {limits.name!r}{_near(limits.name, step.gives)}")
            if gives.unit != limits.unit:
                raise ValueError(f"{limits.name} is measured in {gives.unit!r}, not in {limits.unit!r}")
            if names.count(limits.name) > 1:
                raise ValueError(f"{limits.name} has limits twice")
        return self


class Head(Strict):
    """``[plan]``."""

    id: Id
    version: Annotated[int, Field(ge=1)]
    title: Title
    target: Literal["device", "lane"]
    timeout_s: Seconds


class _File(Strict):
    plan: Head
    setup: Annotated[tuple[Phase, ...], Field(strict=False)] = ()
    main: Annotated[tuple[Phase, ...], Field(strict=False, min_length=1)]
    teardown: Annotated[tuple[Phase, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _distinct(self) -> _File:
        ids = [phase.id for phase in (*self.setup, *self.main, *self.teardown)]
        if doubled := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"two phases are called {', '.join(doubled)}: give each an id of its own")
        return self


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked plan and the SHA-256 of the bytes that it was read from."""

    head: Head
    setup: tuple[Phase, ...]
    main: tuple[Phase, ...]
    teardown: tuple[Phase, ...]
    sha256: str


def load_plan(name: str) -> Plan:
    """Return the shipped plan ``name``, or the one in the file when ``name`` ends in ``.toml``.

    Raises ``PlanError`` with a sentence for a plan that is not there or says something not allowed.
    """
    path = Path(name) if name.endswith(".toml") else SHIPPED / f"{name}.toml"
    known = sorted(file.stem for file in SHIPPED.glob("*.toml"))
    if path.parent == SHIPPED and path.stem not in known:
        raise PlanError(f"--plan {name}: there is no such plan{_near(name, known)}")
    try:
        content = path.read_bytes()
        read = _File.model_validate(tomllib.loads(content.decode()))
    except OSError as error:
        raise PlanError(f"--plan {path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise PlanError(f"--plan {path}: {_told(error)}") from error
    except (ValueError, RecursionError) as error:  # no TOML, or no UTF-8
        raise PlanError(f"--plan {path}: is no TOML file: {error}") from error
    return Plan(read.plan, read.setup, read.main, read.teardown, hashlib.sha256(content).hexdigest())


def shipped_plans() -> Iterator[Plan]:
    """Yield the shipped plans in the order of their names."""
    for path in sorted(SHIPPED.glob("*.toml")):
        yield load_plan(str(path))


def _told(error: ValidationError) -> str:
    """Return what is wrong in one line: where, and what."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'plan'}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors()
    )


def _near(name: str, known: Any) -> str:
    close = nearest(name, known)
    return f"; did you mean {close}?" if close else f"; there are {', '.join(sorted(known))}"
