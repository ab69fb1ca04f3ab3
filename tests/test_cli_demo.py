"""`vocoder demo`: the voice that ships, beside the recording that it copies, on a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vocoder
from vocoder.cli import main
from vocoder.features.audio import load_audio

pytest.importorskip("torchmetrics")
pytest.importorskip("librosa")


@pytest.mark.slow
def test_the_demo_makes_a_page_of_the_recording_and_its_copies_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    example = vocoder.example()
    for _ in range(2):  # the second time it is there already
        assert main(["demo"]) == 0
        out = capsys.readouterr().out
        assert example.text in out
        assert "Listen: runs/hear/report/index.html" in out
    page = (tmp_path / "runs/hear/report/index.html").read_text(encoding="utf-8")
    assert example.text in page
    evaluation = json.loads((tmp_path / "runs/hear/metrics.json").read_text(encoding="utf-8"))
    assert evaluation["systems"] == ["original", "universal", "griffin-lim"]
    [utterance] = evaluation["utterances"]
    sounds = {name: tmp_path / "runs/hear" / one["audio"] for name, one in utterance["systems"].items()}
    assert load_audio(sounds["original"], example.sample_rate).equal(example.waveform)
    copy = load_audio(sounds["universal"], example.sample_rate)
    assert (copy - vocoder.infer(example.mel)).abs().max() <= 0.5 / 32768 + 1e-9


def test_another_evaluation_is_not_discarded_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.json").write_text("{}")
    assert main(["demo", "--output-dir", str(tmp_path)]) == 2
    assert "holds another evaluation" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
