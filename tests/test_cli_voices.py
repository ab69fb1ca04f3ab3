"""`vocoder voices` says of each voice what its bundle says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import tiny_config, tiny_network
from vocoder.bundles.names import DEFAULT_MODEL, VOICES, voices
from vocoder.cli import main
from vocoder.columns import WIDTH, align, wrap
from vocoder.inference.vocoder import Vocoder


def listed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["voices", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the voices that ship."""
    for module in ("vocoder.bundles.names", "vocoder.cli.voices"):
        monkeypatch.setattr(f"{module}.VOICES", tmp_path)
    return tmp_path


def test_objects_say_all_that_the_bundles_say(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {one["name"]: one for one in listed(capsys)}
    assert list(facts) == voices()
    assert [name for name, one in facts.items() if one["default"]] == [DEFAULT_MODEL]
    for name, one in facts.items():
        voice = Vocoder.from_pretrained(name)
        assert one["training"] == voice.training
        assert one["sample_rate"] == voice.sample_rate
        assert one["parameters"] == sum(parameter.numel() for parameter in voice.network.parameters())
        assert one["bytes"] == sum(file.stat().st_size for file in (VOICES / name).iterdir())


def test_each_voice_has_a_row_with_licence_size_measures_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    facts = listed(capsys)
    assert main(["voices"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= WIDTH
    assert f"{DEFAULT_MODEL} (default)" in text
    for one in facts:
        [line] = [line for line in text.splitlines() if line.split()[:1] == [one["name"]]]
        training = one["training"]
        wanted = [f"{one['bytes'] / 1e6:.1f}", training["licence"], f"{training['test_nll_bits']:.3f}"]
        assert {*wanted, f"{training['test_pesq_wb']:.2f}", training["data"].split()[0]} <= set(line.split())


def test_a_voice_that_says_nothing_of_itself_is_listed_all_the_same(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config()
    Vocoder(config, tiny_network(config)).save_pretrained(elsewhere / "plain")
    assert main(["voices"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("plain")]
    assert line.split()[1] == "8000"
    assert line.split()[-4:] == ["unknown", "-", "-", "unknown"]


@pytest.mark.usefixtures("elsewhere")
def test_that_no_voice_is_installed_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["voices"]) == 0
    assert "No voice is installed" in capsys.readouterr().out
    assert listed(capsys) == []


def test_a_misspelt_voice_is_answered_with_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", "kathlen", "user/name"]) == 2
    message = capsys.readouterr().err
    assert f"({', '.join(voices())}), but there is no 'kathlen'" in message


def test_cells_stand_below_each_other() -> None:
    assert align([("a", "bc"), ("def", "1")], right=(1,)) == ["a    bc", "def   1"]


def test_a_long_last_cell_goes_on_below_itself() -> None:
    first, *others = wrap([("name", "about"), ("a", "word " * 40)])[1:]
    assert first.startswith("a     word")
    assert len(first) <= WIDTH
    assert others
    assert all(line.startswith("      word") for line in others)
