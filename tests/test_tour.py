"""The tour in `docs/` says what is so: it is a notebook, its imports resolve, and it runs from top to bottom."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")

TOUR = Path(__file__).parents[1] / "docs" / "tour.ipynb"


@pytest.fixture(scope="module")
def tour() -> Any:
    return nbformat.read(TOUR, as_version=4)


def code(tour: Any) -> list[str]:
    """Source of each code cell, without what only a notebook understands."""
    return [re.sub(r"(?m)^%.*$", "", cell.source) for cell in tour.cells if cell.cell_type == "code"]


def test_it_is_a_notebook_that_can_be_mailed(tour: Any) -> None:
    nbformat.validate(tour)
    assert TOUR.stat().st_size < 1_000_000


def test_it_names_no_place_on_somebodys_machine(tour: Any) -> None:
    place = re.compile(r"(?<![\w.])/(work|home|root|Users|tmp|mnt)/\w")
    pictures_left_out = re.sub(r'"(image/png|text/html)": "[^"]*"', "", nbformat.writes(tour))
    assert place.search(pictures_left_out) is None


def test_what_it_imports_is_there(tour: Any) -> None:
    imported = 0
    for source in code(tour):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vocoder"):
                module = importlib.import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name), f"{node.module} has no {name.name}"
                    imported += 1
    assert imported > 10


def test_no_cell_was_left_with_an_error(tour: Any) -> None:
    outputs = [output for cell in tour.cells if cell.cell_type == "code" for output in cell.outputs]
    assert len(outputs) > 10
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_its_links_lead_somewhere(tour: Any) -> None:
    prose = "\n".join(cell.source for cell in tour.cells if cell.cell_type == "markdown")
    headings = {line.lstrip("# ").replace(" ", "-") for line in prose.splitlines() if line.startswith("#")}
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    assert targets
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in headings, f"it has no section {target}"
        elif not re.match(r"[a-z]+:", target):
            assert (TOUR.parent / target).exists(), f"it links to {target}, which is not there"


def test_a_new_run_changes_nothing_but_what_came_out(tour: Any) -> None:
    assert all(cell.execution_count is None for cell in tour.cells if cell.cell_type == "code")
    assert set(tour.metadata) <= {"kernelspec", "language_info"}


@pytest.mark.slow
@pytest.mark.parametrize("folder", [TOUR.parent, TOUR.parents[1]], ids=["from docs", "from the root"])
def test_it_runs_from_top_to_bottom(tour: Any, folder: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbclient.NotebookClient(nbformat.from_dict(tour), timeout=300, resources={"metadata": {"path": folder}}).execute()
