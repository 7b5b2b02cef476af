"""Drivers are found by name; one that is broken costs only itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from drivers.api import Role
from drivers.readings import Inputs
from station import plugins
from station.lanefile import UnknownName, config_folder, load_lane
from station.runtime.health import Health
from station.runtime.supervisor import Supervisor
from tests.support.manual_clock import ManualClock

GOOD = """
from drivers.api import DriverSpec, Options, Role
SPEC = DriverSpec("{name}", Role.CAMERA, Options, lambda options, context: None, "x:X"{more})
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Write modules and announce them as the only installed drivers: ``name=source`` or a list of them."""
    entries: list[EntryPoint] = []

    def _install(name: str, source: str, module: str = "") -> None:
        module = module or f"plugin_{name}"
        (tmp_path / f"{module}.py").write_text(source)
        entries.append(EntryPoint(name, f"{module}:SPEC", plugins.GROUP))

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    plugins.find.cache_clear()
    yield _install
    plugins.find.cache_clear()
    for module in [module for module in sys.modules if module.startswith("plugin_")]:
        del sys.modules[module]


def test_a_driver_is_found_by_its_name(install: Install) -> None:
    install("gate", GOOD.format(name="gate", more=""))
    assert plugins.names() == ("gate",)
    assert plugins.find("gate").role == Role.CAMERA


def test_looking_for_one_driver_imports_no_other(install: Install) -> None:
    install("gate", GOOD.format(name="gate", more=""))
    install("other", "raise SystemExit('imported')")
    plugins.find("gate")
    assert plugins.names() == ("gate", "other")
    assert "plugin_other" not in sys.modules


def test_an_unknown_name_gets_the_nearest_one(install: Install) -> None:
    install("gate", GOOD.format(name="gate", more=""))
    with pytest.raises(UnknownName) as caught:
        plugins.find("gaet")
    assert str(caught.value) == (
        "'gaet': no driver of this name is installed; there are gate; did you mean 'gate'?"
    )


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import nothing_like_this", "cannot be imported (plugin_gate:SPEC: ModuleNotFoundError: No module"),
        ("SPEC = oops", "cannot be imported (plugin_gate:SPEC: NameError"),
        ("this is no Python", "cannot be imported (plugin_gate:SPEC: SyntaxError"),
        ("raise ValueError('no')", "cannot be imported (plugin_gate:SPEC: ValueError: no); reinstall it"),
        ("x = 1", "cannot be imported (plugin_gate:SPEC: AttributeError"),
        ("SPEC = 'a word'", "plugin_gate:SPEC is no driver of this name"),
        (GOOD.format(name="door", more=""), "plugin_gate:SPEC is no driver of this name"),
        (
            GOOD.format(name="gate", more=", api_version=99"),
            "was written for driver interface 99, and this station has 1; install the version",
        ),
    ],
)
def test_a_broken_driver_is_a_sentence_and_costs_only_itself(
    install: Install, source: str, sentence: str
) -> None:
    install("gate", source)
    install("sound", GOOD.format(name="sound", more=""))
    with pytest.raises(plugins.BadPlugin) as caught:
        plugins.find("gate")
    assert sentence in str(caught.value)
    assert plugins.find("sound").name == "sound"


def test_two_packages_with_one_name_are_refused(install: Install) -> None:
    install("gate", GOOD.format(name="gate", more=""), "plugin_one")
    install("gate", GOOD.format(name="gate", more=""), "plugin_two")
    with pytest.raises(plugins.BadPlugin, match="plugin_one:SPEC and plugin_two:SPEC"):
        plugins.find("gate")


def test_a_package_that_is_listed_twice_is_one(install: Install) -> None:
    for _ in range(2):
        install("gate", GOOD.format(name="gate", more=""))
    assert plugins.find("gate").name == "gate"


DEVICE = """
from drivers.api import DeviceIdentity, DriverSpec, Options, Role
from drivers.readings import Inputs

class Unheard(Options):
    host: str = ""
    port: int = 0
    colour: str

class Board:
    def __init__(self, options, context):
        self.options, self.context = options, context

    async def open(self):
        return DeviceIdentity(make="Never heard of")

    async def readings(self):
        yield Inputs(self.context.clock.stamp(), {self.options.colour: True})
        await self.context.clock.sleep(60)

    async def close(self):
        pass

SPEC = DriverSpec("unheard", Role.DIGITAL_IO, Unheard, Board, "x:X")
"""


async def test_peer_fault_4_a_new_make_of_device_needs_no_line_in_the_station(
    install: Install, tmp_path: Path
) -> None:
    """From the lane file to the first reading, the station asks for the role and never for the make."""
    install("unheard", DEVICE)
    lanes = config_folder() / "lanes"
    demo = (lanes / "demo.toml").read_text()
    lane = demo[: demo.index("[[device]]")].replace('["rpm", "scanner", "lpr"]', '["rpm"]')
    board = '[[device]]\nname = "io9"\ndriver = "unheard"\nmode = "emulated"\noptions = { colour = "red" }\n'
    portal = '[[device]]\nname = "rpm1"\ndriver = "portal"\nmode = "emulated"\n'
    install("portal", GOOD.format(name="portal", more="").replace("CAMERA", "PORTAL_MONITOR"))
    path = tmp_path / "lane.toml"
    path.write_text(lane + board + portal)
    device = load_lane(path, plugins.find).devices[0]
    clock, heard = ManualClock(), []
    supervisor = Supervisor(
        [device], clock, lambda name, item: heard.append((name, item)), lambda *_: None, tmp_path
    )
    supervisor.start()
    await clock.settle()
    assert heard == [("io9", Inputs(clock.stamp(), {"red": True}))]
    assert supervisor.health("io9").state == Health.ONLINE
    await supervisor.stop()
