"""A small dose of the campaign: whatever comes is refused in words or gives sound, and nothing is left half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("uvicorn", reason="needs the extra `serve`")
pytest.importorskip("websockets", reason="needs the extra `serve`")

from campaign.fuzz import run_cases
from campaign.generators import GENERATORS
from vocoder.engines.library import load_library

DOSE = 40
SEED = 17


@pytest.mark.skipif(load_library() is None, reason="the native library was not built")
@pytest.mark.parametrize("name", GENERATORS)
def test_whatever_comes_is_refused_in_words_or_gives_what_was_asked_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOCODER_ISA", os.environ.get("VOCODER_ISA", ""))  # what a generator sets ends with the test
    assert run_cases(name, SEED, 0, DOSE) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="commands run in forks")
def test_an_export_that_is_killed_leaves_a_whole_bundle_or_none_and_is_gone_on_with() -> None:
    command = [sys.executable, "-m", "campaign", "--cases", "0", "--kills", "5", "--only", "export"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        command, cwd=Path(__file__).parent, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
