"""Canonical JSON (RFC 8785), fast where Python's own encoder in C writes the very same bytes.

The package ``rfc8785`` is the rule and does everything unusual; for an ordinary event it takes four times as
long, in the event loop. The short way is open to values on which both agree by construction, and a property
test holds them to it: texts, truth values, integers within ±(2^53−1), floats that both write without exponent
and with a fraction, and containers of these whose keys are ASCII (their UTF-16 order is then Python's).
"""

from __future__ import annotations

import json
from typing import Any

import rfc8785

_LARGEST = 2**53 - 1
_encode = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False
).encode


def canonical(value: Any) -> bytes:
    """Return ``value`` as canonical JSON.

    Raises ``rfc8785.CanonicalizationError``, or ``RecursionError`` for one that is nested too deep.
    """
    if _is_plain(value):
        try:
            return _encode(value).encode()
        except UnicodeEncodeError:
            pass  # half a surrogate pair: the other way has the right error
    return rfc8785.dumps(value)


def _is_plain(value: Any) -> bool:
    kind = type(value)  # subclasses may write themselves otherwise
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_LARGEST <= value <= _LARGEST)
    if kind is float:
        # Without a fraction ECMAScript drops the ".0"; outside of these bounds Python takes an exponent.
        return bool(1e-4 <= abs(value) < 1e16 and not value.is_integer())
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii() or not _is_plain(item):
                return False
        return True
    if kind is list or kind is tuple:
        for item in value:
            if not _is_plain(item):
                return False
        return True
    return False
