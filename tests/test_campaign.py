"""A small dose of the campaign: whatever comes is refused in words or gives sound, and nothing is left half-written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("uvicorn", reason="needs the extra `serve`")
pytest.importorskip("websockets", reason="needs the extra `serve`")

from campaign.fuzz import run_cases
from campaign.generators import GENERATORS
from conftest import speech_like_mel, tiny_config, tiny_network
from vocoder.bundles.bundle import save_bundle
from vocoder.engines.cpu.library import load_library

DOSE = {"periods": 6, "predictions": 4}
SEED = 17


@pytest.mark.skipif(load_library() is None, reason="the native library was not built")
@pytest.mark.parametrize("name", GENERATORS)
def test_whatever_comes_is_refused_in_words_or_gives_what_was_asked_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOCODER_ISA", os.environ.get("VOCODER_ISA", ""))  # what a generator sets ends with the test
    assert run_cases(name, SEED, 0, DOSE.get(name, 40)).findings == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="commands run in forks")
def test_an_export_that_is_killed_leaves_a_whole_bundle_or_none_and_is_gone_on_with() -> None:
    command = [
        sys.executable,
        "-m",
        "campaign",
        "--cases",
        "0",
        "--kills",
        "3",
        "--faults",
        "0",
        "--soak",
        "0",
        "--only",
        "export",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        command, cwd=Path(__file__).parent, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stdout


def test_a_stream_that_goes_on_keeps_its_memory_its_level_and_its_voice() -> None:
    pytest.importorskip("librosa", reason="needs the extra `eval`")
    from campaign.soak import soak

    made = soak(0, SEED)
    assert (made.rounds >= 4, made.findings) == (True, [])


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, ""),
        ({"memory": [500.0 + round for round in range(60)]}, "memory grew from 506 to 559 MiB"),
        ({"level": [-0.1] * 30 + [-1.1] * 30}, r"the level moved by -1\.00 dB"),
        ({"bursts": [0.0] * 40 + [1.0] * 20}, "rounds with bursts went from 0 in the first third to 20"),
    ],
)
def test_what_does_not_stay_as_it_was_is_found(changed: dict[str, list[float]], found: str) -> None:
    pytest.importorskip("librosa", reason="needs the extra `eval`")
    from campaign.soak import Soak

    steady = {"memory": [500.0] * 60, "level": [-0.1] * 60, "bursts": [0.0, 1.0] * 30, "clicks": [0.0] * 60}
    told = [what for _, what in Soak(rounds=60, **{**steady, **changed}).findings]
    assert [bool(re.fullmatch(found, what)) for what in told] == [True] * bool(found), told


WITHOUT_SPACE = """
import resource, signal, sys
from vocoder.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs limits of a Unix")
@pytest.mark.parametrize("command", ["infer", "export"])
def test_where_there_is_no_space_nothing_is_left_and_the_end_is_a_sentence(command: str, tmp_path: Path) -> None:
    config = tiny_config()
    network = tiny_network(config)
    save_bundle(tmp_path / "bundle", config, network)
    np.save(tmp_path / "mel.npy", speech_like_mel(config.mel, 500)[0].numpy())
    arguments = {
        "infer": ["infer", "--model", "bundle", "-o", "out.wav", "mel.npy"],
        "export": ["export", "bundle", "exported"],
    }
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_SPACE, *arguments[command]],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (run.returncode, run.stderr.count("\n")) == (2, 1), run.stderr
    assert run.stderr.startswith("vocoder: error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "mel.npy"]
