"""The reference page of the lane file says what the models say, and its examples are right."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from drivers.geometry import LaneGeometry
from station import plugins
from station.lanefile import Consumer, Device, Document, LaneTable, Radiation, Simulation, Ui, load_lane

TABLES: dict[str, type[BaseModel]] = {
    "[lane]": LaneTable,
    "[[consumer]]": Consumer,
    "[simulation]": Simulation,
    "[[device]]": Device,
    "[radiation]": Radiation,
    "[ui]": Ui,
}


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "reference" / "lane-file.md").read_text(encoding="utf-8")


def rows(page: str, heading: str) -> dict[str, str]:
    """Key and default of the first table under a heading."""
    section = page.split(f"\n## `{heading}`\n", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", section, re.MULTILINE))


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_stands_on_the_page_with_its_default(page: str, heading: str) -> None:
    documented = rows(page, heading)
    fields = TABLES[heading].model_fields
    assert list(documented) == list(fields)
    for name, field in fields.items():
        if field.is_required():
            assert documented[name] == "required", name
        elif field.default not in (None, PydanticUndefined):
            assert tomllib.loads("x = " + documented[name].strip("`"))["x"] == field.default, name


def test_every_place_of_the_geometry_stands_on_the_page(page: str) -> None:
    documented = rows(page, "[geometry]")
    assert set(documented) == set(LaneGeometry.__dataclass_fields__)
    optional = {key for key, default in documented.items() if default != "required"}
    assert optional == {"loop_length_m"}


def test_every_table_has_its_heading(page: str) -> None:
    headings = re.findall(r"^## `\[+(\w+)\]+`$", page, re.MULTILINE)
    assert headings == list(Document.model_fields)


def test_the_errors_on_the_page_are_what_check_says(page: str, root: Path, tmp_path: Path) -> None:
    demo = (root / "config" / "lanes" / "demo.toml").read_text()
    wrong = demo.replace('"in"', '"inn"').replace("detectors =", "detector =")
    wrong = wrong.replace('"http_push"\nmode = "emulated"', '"http_push"\nmode = "real"')
    wrong += "[device.options]\n"
    path = tmp_path / "lane.toml"
    path.write_text(wrong)
    with pytest.raises(Exception, match="direction") as caught:
        load_lane(path, plugins.find)
    said = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    shown = page.split("```text\n", 1)[1].split("```", 1)[0].removeprefix("carril: ").splitlines()
    assert set(shown) <= set(said)
