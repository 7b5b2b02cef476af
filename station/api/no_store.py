"""What a station answers while its store cannot be opened: health, a page for the officer, and refusals."""

from __future__ import annotations

import base64
import errno
import hashlib
import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from station.api.auth import LocalOnly
from station.api.health import Health, StoreHealth
from station.api.limits import BodyLimit
from station.api.problems import from_store
from station.store.errors import StoreError, StoreFull, StoreUnavailable
from station.store.files import words_of

REASON = "store_unavailable"
_WHY = {
    "full": ("The disk is full. Make room on it.", "El disco está lleno. Libere espacio."),
    "read_only": (
        "The disk is read-only. It may be failing: call the technician.",
        "El disco es de solo lectura. Puede estar fallando: llame al técnico.",
    ),
    "missing": (
        "The disk for the records is not there. Call the technician.",
        "El disco de los registros no está. Llame al técnico.",
    ),
    "failed": (
        "The disk for the records cannot be used. Call the technician.",
        "El disco de los registros no se puede usar. Llame al técnico.",
    ),
}
_CODES = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read_only",
    errno.ENOENT: "missing",
    errno.EEXIST: "missing",  # a link to a folder that is not there
    errno.ENODEV: "missing",
    errno.ESTALE: "missing",
    errno.ENOTCONN: "missing",
}
_STYLE = (
    "body{margin:0;font:20px/1.5 sans-serif;background:#111;color:#eee}"
    "h1{margin:0;padding:1rem 2rem;background:#b3141b;color:#fff}section,footer{padding:0 2rem}"
    "code{overflow-wrap:anywhere}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; frame-ancestors 'none'; style-src 'sha256-{_HASH}'"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A station without its store, as people and programs hear of it."""

    station: str
    devices: tuple[str, ...]
    clock: str
    """``sync``, ``unsync`` or ``unknown``."""
    cause: Exception
    """Why the last try failed."""


def waiting_app(now: Callable[[], Waiting]) -> ASGIApp:
    """Return the application; ``now`` tells how it stands at each request."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        reads = scope["method"] in ("GET", "HEAD")
        match scope["path"]:
            case "/v1/health" if reads:
                response: Response = JSONResponse(_health(now()).model_dump(mode="json"))
            case "/" if reads:
                response = _page(now())
            case _:
                response = from_store(StoreUnavailable(sentence(now().cause))).response()
        await response(scope, receive, send)

    return LocalOnly(BodyLimit(answer))


def sentence(cause: Exception) -> str:
    """Return what failed, for whoever looks after the computer."""
    return (
        str(cause)
        if isinstance(cause, StoreError)
        else f"The state folder cannot be used: {words_of(cause)}."
    )


def numbers(error: BaseException | None) -> Iterator[int]:
    """Return the system's error numbers along the chain of causes, the last failure first."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            yield error.errno
        error = error.__cause__


def _kind(cause: Exception) -> str:
    if isinstance(cause, StoreFull):
        return "full"
    return next((_CODES[number] for number in numbers(cause) if number in _CODES), "failed")


def _health(waiting: Waiting) -> Health:
    return Health(
        lane="out_of_service",
        reasons=[REASON],
        devices=dict.fromkeys(waiting.devices, "starting"),
        store=StoreHealth(state="closed", cause=sentence(waiting.cause), quota=0.0, damaged=0),
        clock=waiting.clock,
        consumers={},
    )


def _page(waiting: Waiting) -> Response:
    """Return the page that stands in for the screen; it asks again until the screen is back."""
    english, spanish = _WHY[_kind(waiting.cause)]
    fact = html.escape(f"{waiting.station}: {sentence(waiting.cause)}")
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">'
        f"<title>Carril {html.escape(waiting.station)}</title><style>{_STYLE}</style>"
        '<h1>Lane out of service · <span lang="es">Carril fuera de servicio</span></h1>'
        f"<section><p>{english} The lane starts by itself as soon as records can be kept.</p>"
        f'<p lang="es">{spanish} El carril arranca solo en cuanto se puedan guardar registros.</p></section>'
        f"<footer><code>{fact}</code></footer>"
    )
    headers = {"Cache-Control": "no-store", "Retry-After": "5", "Content-Security-Policy": _POLICY}
    return HTMLResponse(text, 503, headers=headers)
