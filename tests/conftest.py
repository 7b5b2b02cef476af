"""What every kind of test shares: where the repository is, the optional data, how hard to try."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from station.store import readers
from tests.support.fault_list import FaultReport

ROOT = Path(__file__).resolve().parent.parent
SOAK = os.environ.get("CARRIL_SOAK") == "1"

# Two busy cores make any deadline per example a false alarm: pytest's own time-out is the limit.
settings.register_profile("test", deadline=None, print_blob=True)
settings.register_profile("soak", parent=settings.get_profile("test"), max_examples=5_000)
settings.load_profile("soak" if SOAK else "test")
# Nor do the limits of a look-up hold in this process, niced and traced: the test of them sets its own.
readers.LIMIT_S, readers.WALL_LIMIT_S = 5.0, 60.0
# A shell's background job ignores Ctrl-C, and so would each program that a test starts and then interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `make soak` what counts higher then: all else is the same in `make test`."""
    if SOAK:
        longer = [item for item in items if _counts(item)]
        config.hook.pytest_deselected(items=[item for item in items if not _counts(item)])
        items[:] = longer


def _counts(item: pytest.Item) -> bool:
    asks = "soak" in getattr(item, "fixturenames", ())
    return asks or item.get_closest_marker("soak") is not None or item.path.parent.name == "property"


def pytest_configure(config: pytest.Config) -> None:
    """Write down what became of the faults of the catalogue."""
    config.pluginmanager.register(FaultReport())


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Recorded passages and photographs, which are not part of the repository."""
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip("the recorded data of ../shared/data is not on this machine")
    return data


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether `make soak` runs: tests that count take their larger count then."""
    return SOAK
