"""Whatever bytes a folder brings: a picture or a sentence, never anything else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.formats import dicos, tiff
from drivers.formats.raster import Raster
from tests.unit.test_dicos import written
from tests.unit.test_tiff import archive

SOUND = {"dicos": written(), "tiff": archive()}
READ: dict[str, Callable[[bytes], Raster]] = {"dicos": dicos.read, "tiff": tiff.read}


@pytest.mark.filterwarnings("ignore")  # the libraries warn of what they then refuse
@pytest.mark.parametrize("kind", list(READ))
@given(st.data())
def test_a_broken_file_is_a_picture_or_a_sentence(kind: str, data: st.DataObject) -> None:
    content = bytearray(SOUND[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content), 3_000) - 1))
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    with contextlib.suppress(ValueError):
        found = READ[kind](bytes(content))
        assert found.pixels.dtype == np.dtype("<u2")
        assert found.pixels.ndim == 2
