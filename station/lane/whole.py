"""All of a call or nothing: what a bug left half done must not be carried out by the next call."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from station.domain.decision import Refused
from station.lane.core import Core
from station.lane.effects import Effect

P = ParamSpec("P")


class HasCore(Protocol):
    """A lane, as far as it matters here."""

    core: Core


L = TypeVar("L", bound=HasCore)


def whole(call: Callable[Concatenate[L, P], list[Effect]]) -> Callable[Concatenate[L, P], list[Effect]]:
    """Take back what a call prepared when it fails; a refusal has prepared nothing."""

    @wraps(call)
    def guarded(lane: L, /, *args: P.args, **kwargs: P.kwargs) -> list[Effect]:
        try:
            return call(lane, *args, **kwargs)
        except Refused:
            raise
        except BaseException:
            lane.core.drop_call()
            raise

    return guarded
