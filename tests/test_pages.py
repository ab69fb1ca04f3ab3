"""What README and the pages of `docs/` show works: Python runs, commands are ours, make targets and extras exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

import vocoder
from vocoder.cli import TRAINING, _parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHORT, SHORTER = 8, 5  # frames


def blocks(page: Path, language: str) -> list[str]:
    """Each block of a page in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def commands(page: Path) -> Iterator[list[str]]:
    """Each command that the shell blocks of a page show, in words; those joined by a pipe one by one."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while "|" in words:
                yield words[: words.index("|")]
                words = words[words.index("|") + 1 :]
            if words:
                yield words


def names(**others: Any) -> dict[str, Any]:
    """The names that the pages take for granted."""
    mel = vocoder.example().mel[:, :SHORT]
    voice = vocoder.Vocoder.from_pretrained("universal")
    speech = vocoder.example().waveform[:2048]
    return {"vocoder": vocoder, "voice": voice, "mel": mel, "mels": [mel, mel[:, :SHORTER]], "speech": speech, **others}


def test_the_readme_s_first_block_makes_sound_without_network_and_torchaudio(
    tmp_path: Path, without_package: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_package("torchaudio")
    monkeypatch.setattr("socket.socket.connect", None)
    monkeypatch.chdir(tmp_path)
    exec(blocks(PAGES[0], "python")[0], {})  # our own page
    [written] = tmp_path.iterdir()
    samples, sample_rate = soundfile.read(written, dtype="float32")
    example = vocoder.example()
    assert sample_rate == example.sample_rate
    assert len(samples) == len(example.waveform)
    loudness = torch.from_numpy(samples).square().mean() / example.waveform.square().mean()
    assert 10 * loudness.log10() == pytest.approx(0, abs=2)  # in dB; a copy's level is within 0.3 of it on average


def test_the_readme_s_second_block_infers() -> None:
    known = names()
    exec(blocks(PAGES[0], "python")[1], known)
    hop_length = known["voice"].hop_length
    assert known["waveform"].shape == (SHORT * hop_length,)
    assert [len(waveform) for waveform in known["waveforms"]] == [SHORT * hop_length, SHORTER * hop_length]


def test_the_readme_s_third_block_streams_what_infer_gives() -> None:
    played: list[torch.Tensor] = []
    known = names(acoustic_model=vocoder.example().mel[:, :SHORT].split(3, dim=1), play=played.append)
    exec(blocks(PAGES[0], "python")[2], known)
    assert torch.equal(torch.cat(played), known["voice"].infer(known["mel"], seed=7))


@pytest.mark.parametrize("index", range(2))
def test_the_blocks_of_the_page_about_usage_run(index: int) -> None:
    pytest.importorskip("torchaudio")
    page = blocks(ROOT / "docs/usage.md", "python")
    assert len(page) == 2
    exec(page[index], names(normalised_mel=torch.zeros(80, SHORT), wavernn_mel=torch.full((80, SHORT), 0.5)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_is_one_that_we_take(page: Path) -> None:
    for words in commands(page):
        if words[0] == "vocoder" and words[1] not in TRAINING:  # whose options are Lightning's
            _parser().parse_args(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_and_extra_shown_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for words in commands(page):
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.M), words
            for recipe in re.findall(r"RECIPE=([\w-]+)", " ".join(words)):
                assert (ROOT / "recipes" / recipe / "train.yaml").is_file(), words
        if words[:2] == ["pip", "install"]:
            for extra in re.findall(r"\[([\w,]+)\]", " ".join(words)):
                assert all(re.search(rf"^{name} = \[", project, re.M) for name in extra.split(",")), words
