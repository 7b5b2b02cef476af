"""A calibration as it is kept: JSON that a person can read and that gives the same numbers back."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from imaging.radiograph.model import Calibration, RadiographError

FORMAT = "carril.calibration/1"


def as_json(calibration: Calibration) -> bytes:
    """Return the calibration; the same one gives the same bytes."""
    values = {field.name: getattr(calibration, field.name) for field in fields(Calibration)}
    plain = {name: each.tolist() if isinstance(each, np.ndarray) else each for name, each in values.items()}
    return json.dumps({"format": FORMAT, **plain}, separators=(",", ":")).encode()


def from_json(data: bytes) -> Calibration:
    """Return a kept calibration; ``RadiographError`` for what is none."""
    try:
        found = json.loads(data)
        if found.pop("format") != FORMAT:
            raise ValueError(f"format {FORMAT} expected")
        arrays: dict[str, Any] = {
            name: np.array(found.pop(name), dtype=np.float64) for name in ("dark_mean", "dark_sigma", "gain")
        }
        dead = np.array(found.pop("dead"), dtype=np.bool_)
        references = tuple(int(row) for row in found.pop("reference_detectors"))
        calibration = Calibration(**arrays, dead=dead, reference_detectors=references, **found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RadiographError(f"this is no calibration that was kept here: {error}") from error
    if len({array.shape for array in (*arrays.values(), dead)}) != 1:
        raise RadiographError("this is no calibration that was kept here: its rows are of different lengths")
    return calibration
