"""What holds for the package as a whole: its import, its rooms, its papers."""

import ast
import importlib
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vocoder"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")

PROSE_AND_CODE = {".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".html", ".json", ".cpp", ".h", ".txt"}

HEAVY = ("lightning", "wandb", "librosa", "torchaudio", "matplotlib", "huggingface_hub", "fastapi", "uvicorn", "triton")

# In signal order: a room may import itself and the rooms before it, never a later one.
ROOMS = (
    "constants", "files", "columns", "config", "formats", "memory", "machine",
    "features", "model", "bundles", "engines", "inference", "plots", "data", "evaluation", "training",
    "interop", "service", "bench", "cli",
)  # fmt: skip


def run_python(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)


def test_import_is_light_and_silent():
    result = run_python(f"import json, sys, vocoder; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))")
    assert json.loads(result.stdout) == []
    assert result.stderr == ""


def test_public_names_resolve():
    vocoder = importlib.import_module("vocoder")
    assert "Vocoder" in vocoder.__all__
    for name in vocoder.__all__:
        assert getattr(vocoder, name) is not None


def test_annotations_are_part_of_the_interface():
    assert (PACKAGE / "py.typed").is_file()


def imports_of(path):
    """All that a file imports, at its top or inside a function, in dotted parts."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the full name."
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return [name.split(".") for name in names]


def imported_rooms(path):
    return {parts[1] for parts in imports_of(path) if parts[0] == "vocoder" and len(parts) > 1}


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/*.py")) + MODULES, ids=lambda path: str(path.name))
def test_arrows_between_rooms_point_up(path):
    if path.name == "__main__.py":
        return
    allowed = ROOMS[: ROOMS.index(room_of(path)) + 1]
    for room in imported_rooms(path) & set(ROOMS):
        assert room in allowed, f"{path.relative_to(ROOT)} imports vocoder.{room}, which comes later in {ROOMS}."


def imported_neighbours(path, room):
    """What a file imports of its room: files, folders, and `__init__` for a name that the room itself gives."""
    place = ["vocoder", *room.relative_to(PACKAGE).parts]
    names = {parts[len(place)] for parts in imports_of(path) if parts[: len(place)] == place and parts != place}
    return {name if (room / name).is_dir() or (room / f"{name}.py").is_file() else "__init__" for name in names}


@pytest.mark.parametrize(
    "room", sorted(path.parent for path in PACKAGE.glob("*/**/__init__.py")), ids=lambda room: room.name
)
def test_no_room_has_a_circle_of_imports(room):
    """A folder inside counts as one: what it needs of its room comes before it, what needs it comes after."""
    arrows = {}
    for path in room.iterdir():
        files = [path] if path.suffix == ".py" else list(path.rglob("*.py"))
        if files:
            arrows[path.stem] = set().union(*(imported_neighbours(file, room) for file in files)) - {path.stem}
    TopologicalSorter(arrows).prepare()  # CycleError names the circle


def test_the_network_knows_no_lightning_and_no_files():
    for path in (PACKAGE / "model").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in {"lightning", "soundfile", "yaml", "json", "matplotlib", "pathlib"}


def docstrings(path):
    """The docstrings of a file's module, classes and functions."""
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    nodes = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds))
    return [text for text in map(ast.get_docstring, nodes) if text]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_name_what_they_explain(path):
    """`network: Of the utterances.` leaves open what of them: a number, their names, a network."""
    for text in docstrings(path):
        found = re.search(r"\AOf .*|^ +\**\w+: Of .*|^Returns:\n +Of .*", text, re.MULTILINE)
        assert found is None, f'{path.relative_to(ROOT)}: {found[0].strip()!r} must say what of it: "The … of …".'


def words_of(name):
    return len((ROOT / name).read_text(encoding="utf-8").split())


def mapped(block):
    """Rooms in order, and the files, that a block of ARCHITECTURE.md lists: one a line, a room's indented below it."""
    rooms, files = [], []
    for name in re.findall(r"^ *[\w./]+", block, re.MULTILINE):
        if not name.startswith(" "):
            rooms.append(name)
        if not name.endswith("/"):
            files.append((rooms[-1] if name.startswith(" ") else "") + name.strip())
    return rooms, files


def test_architecture_maps_every_file_once_and_no_other():
    architecture = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    _, package, native = re.findall(r"^```\n(.*?)^```$", architecture, re.MULTILINE | re.DOTALL)
    rooms, files = mapped(package)
    assert sorted(files) == sorted(path.relative_to(PACKAGE).as_posix() for path in MODULES)
    assert [room.rstrip("/").removesuffix(".py") for room in rooms if room != "__main__.py"] == list(ROOMS)
    sources = [path.name for path in (PACKAGE / "engines/cpu").iterdir() if path.suffix in (".h", ".cpp")]
    assert sorted(mapped(native)[1]) == sorted(sources)


def test_architecture_names_tests_that_exist():
    architecture = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(test_\w+\.py)`", architecture):
        assert (ROOT / "tests" / name).is_file(), f"ARCHITECTURE.md names {name}, which is not there."


def test_architecture_is_one_page():
    assert words_of("ARCHITECTURE.md") <= 1500, "Put the reason beside the line that it explains."


def test_readme_is_a_front_page():
    assert words_of("README.md") <= 700


@pytest.mark.parametrize(
    "path",
    sorted(page for pages in ("*.md", "docs/*.md", "results/*.md", "recipes/**/*.md") for page in ROOT.glob(pages)),
    ids=lambda p: p.name,
)
def test_relative_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / target.split("#")[0]).exists(), f"{path.name} links to {target}, which is not there."


def test_version_is_the_newest_in_the_changelog():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)[1]
    assert re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)[0] == version


def test_no_file_names_a_place_on_somebodys_machine():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("This is not a git checkout.")
    place = re.compile(r"(?<![\w.])/(work|home|root|Users|mnt|scratch)/\w")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix in PROSE_AND_CODE:
            found = place.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{name} mentions {found[0]}…: write a path that exists everywhere."


def test_no_page_waits_for_a_number() -> None:
    for path in ROOT.rglob("*.md"):
        if ".venv" not in path.parts:
            assert not re.search(r"@[A-Z]+@", path.read_text(encoding="utf-8")), path
