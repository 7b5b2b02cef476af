"""The rules of the house that no linter knows: each test is one rule."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("station", "drivers", "imaging", "hil")
ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def tracked(*under: str) -> list[Path]:
    """Files that are, or are about to be, in git."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nobody can say which files belong to the project")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *under]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def texts(*under: str) -> Iterator[tuple[str, str]]:
    """Name and text of each tracked text file."""
    for path in tracked(*under):
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture, a font


def modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Name and syntax tree of each Python file of the packages."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "node_modules" not in path.parts:
                yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def lines_with(pattern: re.Pattern[str], files: Iterator[tuple[str, str]]) -> list[str]:
    return [
        f"{name}:{number}: {found[0]}"
        for name, text in files
        for number, line in enumerate(text.splitlines(), 1)
        if (found := pattern.search(line))
    ]


# --- the station knows roles, never makes ---------------------------------------------------------

VENDOR = re.compile(
    r"(?<![a-z])(tsa|rapiscan|vacis|leidos|nuctech|smiths|ludlum|polimaster|mirion|hikvision|dahua"
    r"|axis communications|bosch|basler|moxa|wago)(?![a-z])",
    re.IGNORECASE,
)


def test_no_file_of_the_station_names_a_vendor() -> None:
    files = ((name, text) for name, text in texts("station") if not name.endswith("package-lock.json"))
    assert lines_with(VENDOR, files) == []


@pytest.mark.parametrize("line", ["import drivers.rpm.tsa.driver", 'if make == "Hikvision":', "// TSA lines"])
def test_the_vendor_rule_sees(line: str) -> None:
    assert VENDOR.search(line)


@pytest.mark.parametrize("line", ["the x axis of the strip", "whatsapp", "mitsake"])
def test_the_vendor_rule_spares(line: str) -> None:
    assert not VENDOR.search(line)


def test_no_file_of_the_station_names_a_driver() -> None:
    drivers = set(PROJECT["entry-points"]["carril.drivers"])
    named = [
        f"{name}:{node.lineno}: {node.value}"
        for name, tree in modules("station")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in drivers
    ]
    assert named == []


# --- nobody but SQLite touches its files ----------------------------------------------------------
# A second open and close of the database within the process drops SQLite's POSIX locks; after that
# another process may delete the live write-ahead log and committed records are gone.

DATABASE = re.compile(r"station\.db|-wal\b|-shm\b")
TOUCHING = {
    *("open", "fdopen", "read_bytes", "read_text", "write_bytes", "write_text", "touch", "truncate"),
    *("unlink", "remove", "rename", "replace", "copy", "copy2", "copyfile", "copytree", "move", "mmap"),
}


def database_touches(tree: ast.AST) -> list[str]:
    """Calls that open or change a file named like the database, also through a variable."""
    tainted: set[str] = set()

    def speaks_of_database(node: ast.AST) -> bool:
        return any(
            (isinstance(part, ast.Constant) and isinstance(part.value, str) and DATABASE.search(part.value))
            or (isinstance(part, ast.Name) and part.id in tainted)
            or (isinstance(part, ast.Attribute) and part.attr in tainted)
            for part in ast.walk(node)
        )

    def is_path(value: ast.AST) -> bool:
        # The result of a call is a path only when a path class or method made it; an engine is none.
        if isinstance(value, ast.Call):
            return ast.unparse(value.func).split(".")[-1] in {"Path", "joinpath", "join", "with_name", "str"}
        return True

    assignments = [node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AnnAssign)]
    known = -1
    while known < len(tainted):  # names of names, until nothing new is found
        known = len(tainted)
        for node in assignments:
            if node.value is not None and is_path(node.value) and speaks_of_database(node.value):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                tainted |= {ast.unparse(target).split(".")[-1] for target in targets}
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] in TOUCHING
        and speaks_of_database(node)
    ]


def test_nobody_but_sqlite_touches_its_files() -> None:
    for name, tree in modules("station", "hil"):
        assert database_touches(tree) == [], name


@pytest.mark.parametrize(
    "code",
    [
        "open(folder / 'station.db', 'rb')",
        "(folder / 'journal' / 'station.db').read_bytes()",
        "DB = 'station.db'\npath = root / DB\nos.open(path, os.O_RDONLY)",
        "self.path = root / 'station.db'\nshutil.copy(self.path, backup)",
        "Path(f'{name}-wal').unlink()",
    ],
)
def test_the_database_rule_sees(code: str) -> None:
    assert database_touches(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "sqlite3.connect(root / 'station.db')",
        "DB = 'station.db'\nengine = create_engine(root / DB)\nengine.open()",
        "open(root / 'mark.bin', 'rb')",
        "(root / 'journal' / 'station.db').stat()",
    ],
)
def test_the_database_rule_spares(code: str) -> None:
    assert not database_touches(ast.parse(code))


# --- nothing of one machine, nothing of one registry ----------------------------------------------

# In pieces, so that this file does not name what it forbids.
HOSTS = ("py" + r"pi\.org", "python" + r"hosted\.org", "registry" + r"\.npmjs", "deb" + r"\.debian\.org")
HERE = re.compile("|".join(HOSTS) + r"|(?<![\w./~-])/(root|work|Users|home/\w+)/")


def test_no_tracked_file_names_a_registry_host_or_a_place_on_one_machine() -> None:
    assert lines_with(HERE, texts()) == []


def test_every_line_of_a_lock_carries_a_hash_and_no_host() -> None:
    pinned = re.compile(r"[a-z0-9-]+==\S+( ; [^-]+)?(\s+--hash=sha256:[0-9a-f]{64})+")
    locks = sorted((ROOT / "locks").glob("*.txt"))
    assert {lock.stem for lock in locks} == {"build", "dev", "lock", "mutation", "node", "run"}
    for lock in locks:
        for requirement in lock.read_text().replace("\\\n", " ").splitlines():
            assert pinned.fullmatch(requirement), lock.name


def test_the_run_lock_and_the_dev_lock_agree() -> None:
    def pins(lock: str) -> dict[str, str]:
        return dict(re.findall(r"^(\S+)==(\S+)", (ROOT / "locks" / lock).read_text(), re.MULTILINE))

    run, dev = pins("run.txt"), pins("dev.txt")
    assert {name for name in run.keys() & dev.keys() if run[name] != dev[name]} == set()
    declared = {re.split(r"[<>=~]", each)[0] for each in PROJECT["dependencies"]}
    assert declared <= run.keys(), "pyproject.toml has grown: run `make lock`"


def test_the_npm_lock_carries_integrity_and_no_address() -> None:
    packages = json.loads((ROOT / "station/web/package-lock.json").read_text())["packages"]
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert name == "" or "integrity" in package, name


# --- small files ----------------------------------------------------------------------------------

LINES = 400
GENERATED = "/** Made by "
"""How a file begins that nobody writes."""


@pytest.mark.parametrize("package", PACKAGES)
def test_a_file_is_one_idea(package: str) -> None:
    long = [
        f"{name}: {text.count(chr(10))} lines"
        for name, text in texts(package)
        if text.count("\n") > LINES and name.endswith((".py", ".ts", ".tsx", ".css", ".toml", ".sql"))
        if not text.startswith(GENERATED)
    ]
    assert long == []


# --- what is installed and what is shipped --------------------------------------------------------


@pytest.mark.parametrize("group", ["carril.drivers", "carril.commands", "console_scripts"])
def test_every_entry_point_loads(group: str) -> None:
    declared = PROJECT["scripts"] if group == "console_scripts" else PROJECT["entry-points"][group]
    points = [p for p in importlib.metadata.entry_points(group=group) if p.dist and p.dist.name == "carril"]
    assert {point.name: point.value for point in points} == declared
    for point in points:
        assert point.load() is not None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from this tree without any network."""
    pytest.importorskip("hatchling", reason="hatchling of locks/build.txt is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("carril-*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_ships_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    web = [name for name in names if name.startswith("station/web/")]
    assert [name for name in web if not name.startswith("station/web/dist/")] == []
    assert not [name for name in names if "__pycache__" in name or name.endswith(".state")]


def test_the_wheel_ships_every_file_of_config(wheel: zipfile.ZipFile) -> None:
    config = {f"station/_config/{path.relative_to(ROOT / 'config')}" for path in tracked("config")}
    assert config, "config/ is empty"
    assert config <= set(wheel.namelist())


def test_the_wheel_ships_the_built_screen(wheel: zipfile.ZipFile) -> None:
    if not (ROOT / "station/web/dist/index.html").exists():
        pytest.skip("the screen is not built: make web")
    assert "station/web/dist/index.html" in wheel.namelist()


def test_the_installed_packages_stand_side_by_side() -> None:
    folders = {Path(importlib.import_module(package).__file__ or "").parent.parent for package in PACKAGES}
    assert folders == {ROOT}
