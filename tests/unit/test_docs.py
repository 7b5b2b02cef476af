"""The pages say what the code says: links lead somewhere, tables are those of the models and the events."""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from statistics import NormalDist
from typing import Any

import annotated_types
import pytest
from pydantic.fields import FieldInfo

from drivers.camera.push.codec import REFUSALS
from drivers.io.modbus.codec import COILS, INPUTS
from drivers.plant import chaos
from imaging.radiation.gross import GrossConfig, integer_limit, k_for, window_false_alarm
from station import plugins
from station.cli import main
from station.domain import alarms, events
from station.domain.directive_events import DirectiveEvent
from station.domain.schemas import catalogue
from station.lanefile import load_lane

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DEVICES = (
    "tsa_ascii",
    "aspect_modbus",
    "generic_modbus",
    "n42_drop",
    "linestream",
    "gige_vision",
    "http_push",
    "modbus_io",
)
CELL = re.compile(r"(?<!\\)\|")


def read(*place: str) -> str:
    return (ROOT / "docs").joinpath(*place).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    return page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """Cells of every table row whose first cell is code."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in CELL.split(line)[1:-1]] for line in lines]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


# --- every page -----------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_place_of_the_machine_it_was_written_on(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w.])/(?:home|work|root|tmp|Users)/\S*", text)


def test_every_page_under_docs_can_be_reached_from_the_readme() -> None:
    seen, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        for link in re.findall(r"\]\(([^)#]+\.md)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                ahead.append((page.parent / link).resolve())
    missing = {page for page in PAGES if page not in seen and page.parent.name != "decisions"}
    assert missing == set()


def test_every_decision_has_a_number_of_its_own() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert len(set(numbers)) == len(numbers)
    for page, number in zip(pages, numbers, strict=True):
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. ")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


# --- the events -----------------------------------------------------------------------------------

FAMILIES = {
    "Events of an inspection": events.InspectionEvent,
    "Events of an alarm": events.AlarmEvent,
    "Events of the lane and its devices": events.LaneEvent,
    "Events of a directive": DirectiveEvent,
}


def event_table(family: type[events.Event]) -> list[str]:
    """The rows that the page must have: name, what it says, priority, own fields."""
    wanted = []
    for event in catalogue().values():
        if issubclass(event, family):
            own = [field.alias or name for name, field in event.model_fields.items()]
            common = {field.alias or name for name, field in family.model_fields.items()}
            fields = ", ".join(f"`{name}`" for name in own if name not in common)
            says = " ".join((event.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")
            wanted.append(f"| `{events.schema_name(event)}` | {says} | {int(event.PRIO)} | {fields} |")
    return wanted


@pytest.mark.parametrize("heading", FAMILIES)
def test_the_events_page_is_the_catalogue(heading: str) -> None:
    shown = [line for line in section(read("reference", "events.md"), heading).splitlines() if "| `" in line]
    wanted = event_table(FAMILIES[heading])
    assert shown == wanted, "the table must be:\n" + "\n".join(wanted)


def test_every_event_belongs_to_one_family() -> None:
    tables = [row for family in FAMILIES.values() for row in event_table(family)]
    assert len(tables) == len(catalogue())


def test_the_fields_of_every_event_are_those_of_the_base() -> None:
    page = section(read("reference", "events.md"), "Fields of every event")
    assert re.findall(r"`(\w+)`", " ".join(row[0] for row in rows(page))) == list(events.Event.model_fields)


# --- the devices ----------------------------------------------------------------------------------


def allowed(field: FieldInfo) -> str:
    """The bounds of a number as the page writes them, or nothing."""
    low = next((m for m in field.metadata if isinstance(m, annotated_types.Ge | annotated_types.Gt)), None)
    high = next((m for m in field.metadata if isinstance(m, annotated_types.Le)), None)
    if low is None or high is None:
        return ""
    if isinstance(low, annotated_types.Gt):
        return f"above {low.gt}, at most {high.le}"
    return f"{low.ge} to {high.le}"


def plain(value: Any) -> Any:
    """A default as TOML would hold it."""
    if isinstance(value, tuple):
        return list(value)
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


@pytest.mark.parametrize("driver", DEVICES)
def test_every_option_stands_on_the_page_of_its_device(driver: str) -> None:
    options = section(read("reference", "devices", f"{driver}.md"), "Options")
    documented = {row[0].strip("`"): row for row in rows(options)}
    fields = plugins.find(driver).options.model_fields
    assert list(documented) == list(fields)
    for name, field in fields.items():
        _, default, bounds, meaning = documented[name]
        assert meaning, f"{name}: what does it mean?"
        if field.is_required():
            assert default == "required", name
        elif default == "none":
            assert field.default is None, name
        elif default != "the table above":
            assert tomllib.loads(f"x = {default.strip('`')}")["x"] == plain(field.default), name
        assert not allowed(field) or bounds == allowed(field), name


@pytest.mark.parametrize("driver", DEVICES)
def test_every_fault_of_an_emulator_stands_on_the_page_of_its_device(driver: str) -> None:
    page = read("reference", "devices", f"{driver}.md")
    module, _, name = plugins.find(driver).simulator.partition(":")
    faults = [row[0].strip("`") for row in rows(section(page, "Faults of the emulator"))]
    assert len(set(faults)) == len(faults)
    assert set(faults) == getattr(import_module(module), name).FAULTS


@pytest.mark.parametrize("driver", DEVICES)
def test_a_page_of_a_device_says_what_is_not_known_and_where_it_is_from(driver: str) -> None:
    page = read("reference", "devices", f"{driver}.md")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == [
        *("The wire", "Options", "Units", "What it tolerates"),
        *("Faults of the emulator", "What is not known", "Sources"),
    ]


@pytest.mark.parametrize("driver", DEVICES)
def test_the_example_of_a_device_is_taken_by_its_model(driver: str) -> None:
    (example,) = blocks(read("reference", "devices", f"{driver}.md"), "toml")
    (device,) = tomllib.loads(example)["device"]
    assert device["driver"] == driver
    plugins.find(driver).options.model_validate(device["options"])


def test_the_map_of_the_board_is_the_one_of_the_driver() -> None:
    wire = rows(section(read("reference", "devices", "modbus_io.md"), "The wire"))
    shown = {row[0].strip("`"): int(row[1]) for row in wire}
    assert list(shown.items()) == [*COILS.items(), *INPUTS.items()]


def test_the_answers_to_a_camera_are_those_of_the_codec() -> None:
    page = section(read("reference", "devices", "http_push.md"), "What it tolerates")
    shown = {int(number) for number in re.findall(r"\| (\d{3}) \|$", page, re.MULTILINE)}
    assert shown <= {status for status, _ in REFUSALS.values()} | {503}


def test_every_fault_of_a_link_stands_on_its_page() -> None:
    assert [row[0].strip("`") for row in rows(read("reference", "link-faults.md"))] == list(chaos.FAULTS)


# --- the commands ---------------------------------------------------------------------------------


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Each command that does something: the parser itself, and those below it."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups or parser.get_default("command"):
        yield parser
    for group in groups:
        for below in group.choices.values():
            yield from commands(below)


def argument_rows(command: argparse.ArgumentParser) -> dict[str, str]:
    """Each argument as the page writes it, and its default; empty where words say what it is."""
    wanted = {}
    for action in command._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
        name = " ".join([*action.option_strings[-1:], value]).strip()
        if not action.option_strings:
            name = str(action.metavar or action.dest)
        default = action.default
        fixed = isinstance(default, int | float | str) and default not in (False, argparse.SUPPRESS)
        number = f"{default:g}" if isinstance(default, float) else default
        wanted[name] = "required" if action.required else f"`{number}`" if fixed else ""
    return wanted


COMMANDS = {command.prog: command for command in commands(main._parser([]))}


def test_every_command_has_its_section_and_no_other() -> None:
    page = read("reference", "commands.md")
    assert re.findall(r"^## `(.+)`$", page, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_of_a_command_stands_in_its_section(name: str) -> None:
    told = section(read("reference", "commands.md"), f"`{name}`")
    documented = {row[0].strip("`").replace("\\|", "|"): row[1] for row in rows(told)}
    wanted = argument_rows(COMMANDS[name])
    assert set(documented) == set(wanted)
    for argument, default in wanted.items():
        assert not default or documented[argument] == default, argument
    assert "\nExit code: 0" in told
    assert len(blocks(told, "text")) == 1, "one real output"


def test_the_commands_page_names_no_option_that_is_gone() -> None:
    known = {
        option
        for command in COMMANDS.values()
        for action in command._actions
        for option in action.option_strings
    }
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", read("reference", "commands.md")))
    assert told - known == {"--version"}


# --- explanations ---------------------------------------------------------------------------------


def test_the_figures_of_the_explanation_are_those_of_the_code() -> None:
    page = read("explanation", "k-sigma-alarm.md")
    told = re.findall(r"^\| (\d+) \| (\d) \| (\d+) s \| (\S+) \| (\S+) \| (\S+) \|$", page, re.MULTILINE)
    assert len(told) == 8
    for b, k, t_b, *shown in told:
        exact, bell = window_false_alarm(float(b), float(t_b))(float(k)), 1 - NormalDist().cdf(float(k))
        assert shown == [
            f"{exact:.3e}".replace("e-0", "e-"),
            f"{bell:.3e}".replace("e-0", "e-"),
            f"{exact / bell:.1f}",
        ]
    for tests, shown_k, limit in ((1, "4.774", "3,365"), (3, "5.010", "3,378")):
        k_sigma = k_for(3100, 20, GrossConfig().design_windows, GrossConfig().p_occupancy / tests)
        assert k_sigma is not None
        assert (f"{k_sigma:.3f}", f"{integer_limit(62_000, 20, 1, k_sigma):,}") == (shown_k, limit)
        assert f"{shown_k} and the limit {limit}" in page


# --- how to ---------------------------------------------------------------------------------------


def test_the_portals_of_the_how_to_fit_the_demonstration_lane(tmp_path: Path) -> None:
    demo = (ROOT / "config" / "lanes" / "demo.toml").read_text(encoding="utf-8")
    emulated = re.compile(r'\[\[device\]\][^\n]*\nname = "rpm1".*?(?=\n\[\[device)', re.DOTALL)
    texts = [*blocks(read("how-to", "replace-an-emulator.md"), "toml")]
    texts += [block for block in blocks((ROOT / "README.md").read_text(encoding="utf-8"), "toml")]
    assert len(texts) == 3
    for text in texts:
        path = tmp_path / "lane.toml"
        path.write_text(emulated.sub(lambda _, portal=text: portal, demo, count=1), encoding="utf-8")
        lane = load_lane(path, plugins.find)
        assert [device.mode for device in lane.devices] == ["real", "emulated", "emulated", "emulated"]
        assert any("radiation safety officer" in warning for warning in map(str, lane.warnings))


SCREEN: dict[str, str] = json.loads(
    (ROOT / "station" / "web" / "i18n" / "en.json").read_text(encoding="utf-8")
)
BOLD = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)


def test_words_in_bold_on_the_page_of_the_officer_are_those_of_the_screen() -> None:
    said = [re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(text))) for text in SCREEN.values()]
    told = {" ".join(words.split()) for words in BOLD.findall(read("how-to", "work-a-lane.md"))}
    pairs = {"Hold is repeated until the station answers."}  # two lines of one sentence on the screen
    assert {words for words in told - pairs if not any(one.fullmatch(words) for one in said)} == set()


@pytest.mark.parametrize(
    ("heading", "group"),
    [("What the recommendation means", "level."), ("When Release is locked", "lock."), ("Alarms", "alarm.")],
)
def test_every_level_lock_and_alarm_is_explained_to_the_officer(heading: str, group: str) -> None:
    told = {
        " ".join(words.split()) for words in BOLD.findall(section(read("how-to", "work-a-lane.md"), heading))
    }
    wanted = {text for key, text in SCREEN.items() if key.startswith(group)}
    if group == "alarm.":
        wanted = {SCREEN[f"alarm.{code}"] for code in (*alarms.PRIORITY, "calibration_failed")}
    assert wanted - told == set()


def test_the_client_has_at_most_thirty_lines_and_needs_the_standard_library_alone() -> None:
    (client,) = blocks(read("how-to", "poll-the-station.md"), "python")
    assert len(client.splitlines()) <= 30
    compile(client, "poll.py", "exec")
    imported = set(re.findall(r"^import (.+)$", client, re.MULTILINE).pop().split(", "))
    assert imported <= {"http.client", "json", "os", "sys", "time", "urllib.request"}
