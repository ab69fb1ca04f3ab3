"""Published results are of what ships, and their commands are commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("torchmetrics")
from vocoder.bundles.names import voices
from vocoder.cli import _parser
from vocoder.evaluation.run import hash_ids, hash_weights
from vocoder.inference.vocoder import Vocoder

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"


def page(name: str) -> str:
    return (RESULTS / f"{name}.md").read_text(encoding="utf-8")


def fact(name: str, of: str) -> str:
    return re.search(rf"^\| {of} \| (.*) \|$", page(name), re.MULTILINE)[1]  # type: ignore[index]


def mean(name: str, measure: str) -> float:
    """The voice's, before its confidence interval."""
    return float(re.search(rf"^\| {re.escape(measure)} +\| ([0-9.]+)", page(name), re.MULTILINE)[1])  # type: ignore[index]


def commands(text: str) -> list[str]:
    return re.findall(r"^(vocoder .*)$", text, re.MULTILINE)


def test_each_voice_that_ships_has_its_results() -> None:
    assert {path.stem for path in RESULTS.glob("*.md")} == set(voices())


@pytest.mark.parametrize("name", voices())
def test_the_command_parses_and_names_the_model(name: str) -> None:
    found = commands(page(name))
    assert any(command.startswith("vocoder evaluate ") for command in found)
    for command in found:
        options = _parser().parse_args(shlex.split(command, comments=True)[1:])
        if command.startswith("vocoder evaluate "):
            assert options.model == name
            assert f"{options.seed}" == fact(name, "seed")


@pytest.mark.parametrize("name", voices())
def test_what_was_measured_is_what_ships(name: str) -> None:
    voice = Vocoder.from_pretrained(name)
    assert fact(name, "model hash") == hash_weights(voice)
    assert mean(name, "NLL (bits/sample) ↓") == pytest.approx(voice.training["test_nll_bits"], abs=0.002)
    assert mean(name, "PESQ-WB (MOS-LQO) ↑") == voice.training["test_pesq_wb"]


@pytest.mark.parametrize("name", voices())
def test_the_version_is_one_of_the_changelog_s(name: str) -> None:
    assert f"## [{fact(name, 'vocoder')}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", voices())
def test_the_table_of_utterances_is_of_the_split_that_is_named(name: str) -> None:
    lines = (RESULTS / f"{name}.csv").read_text(encoding="utf-8").splitlines()[1:]
    ids = list(dict.fromkeys(line.split(",")[0] for line in lines))
    assert len(ids) == int(fact(name, "utterances"))
    assert hash_ids(ids) == fact(name, "split hash")
