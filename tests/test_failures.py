"""What stops a run is said in one paragraph; what nobody foresaw is kept with its traceback."""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentError
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conftest import tiny_config

pytest.importorskip("lightning")
from runs import make_corpus, recipe
from vocoder.cli import main
from vocoder.data.corpora import CorpusError
from vocoder.training.failures import KeptTraceback, describe, is_foreseen
from vocoder.training.module import VocoderModule

# Lightning 2.6 calls jsonargparse and torch by names that these announce to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
]


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """`vocoder fit` of a tiny recipe, as from a shell: its exit code."""

    def run(*options: str) -> int:
        config = tiny_config(dilation_cycles=1)
        values = recipe(make_corpus(tmp_path / "corpus").parent, config.mel, config.network, max_steps=3)
        (tmp_path / "train.yaml").write_text(json.dumps(values))
        arguments = ["fit", "--config", str(tmp_path / "train.yaml"), *options]
        monkeypatch.setattr("sys.argv", ["vocoder", *arguments])
        return main(arguments)

    return run


def broken(*_: Any) -> None:
    raise AssertionError("what nobody foresaw")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model.learning_rate", "fast"],
            "learning_rate.* Got value: fast. `vocoder fit --help` lists the settings.",
        ),
        (["--modell.speed", "3"], "unrecognized arguments: --modell.speed 3. `vocoder fit --help` lists"),
        (["--config", "nowhere.yaml"], "File does not exist.*nowhere.yaml"),
        (["--data.root", "nowhere"], "A corpus is a folder of audio, or a manifest .*, but there is none at .*nowhere"),
        (["--trainer.max_steps", "-1", "--model.decay_steps", "5"], "so a run needs an end"),
    ],
)
def test_a_mistake_is_one_paragraph_without_traceback(fit, capsys, options, message):
    assert fit(*options) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert re.search(rf"^vocoder: error: .*{message}.*\n\Z", said, flags=re.MULTILINE)


def test_what_nobody_foresaw_is_kept_with_its_traceback(fit, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(VocoderModule, "training_step", broken)
    assert fit() == 2
    said = capsys.readouterr().err
    assert "vocoder: error: AssertionError: what nobody foresaw. `--debug` shows where it came from.\n" in said
    assert "Traceback" not in said
    kept = (tmp_path / "run" / "errors.log").read_text()
    assert "Traceback" in kept
    assert "step 0, rank 0" in kept
    assert __file__ in kept


def test_debug_shows_where_an_error_came_from(fit):
    with pytest.raises(ValueError, match="A corpus is a folder"):
        fit("--data.root", "nowhere", "--debug")


def test_the_disk_full_and_a_reader_that_died_say_what_to_do():
    full = OSError(28, "No space left on device", "last.ckpt")
    assert re.search(
        r"'last.ckpt'\. The disk is full: make room\. .*whole\. Go on with `--ckpt_path last`", describe(full)
    )
    died = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    assert re.search(r"lower data.num_workers\. Go on with", describe(died))
    assert is_foreseen(full)
    assert is_foreseen(died)
    allocator = RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."
    )
    for error in (torch.OutOfMemoryError("CUDA out of memory."), allocator, MemoryError()):
        assert re.search("lower data.batch_size", describe(error))
        assert is_foreseen(error)
    assert describe(ArgumentError(None, "x")) == "x. `vocoder fit --help` lists the settings."


def test_an_error_of_a_process_that_reads_ahead_is_told_as_if_it_were_ours():
    """torch puts the traceback of the other process into the message."""
    far = torch._utils.ExceptionWrapper(_caught(CorpusError("a.wav cannot be read.\nBring it back.")))
    with pytest.raises(CorpusError) as raised:
        far.reraise()
    assert describe(raised.value) == "a.wav cannot be read. Bring it back."


def _caught(error: Exception) -> Any:
    try:
        raise error
    except type(error):
        return sys.exc_info()


def test_rules_are_foreseen_where_our_code_states_them(tmp_path):
    """A ValueError of another library may be about anything, so its traceback is kept."""
    with pytest.raises(ValueError, match="Noise on the past") as ours:
        VocoderModule(network=tiny_config(linear_prediction_order=0).network, past_noise=0.2)
    with pytest.raises(ValueError, match="invalid literal") as other:
        int("x")
    assert is_foreseen(ours.value)
    assert not is_foreseen(other.value)
    for error in (ours.value, other.value, KeyboardInterrupt()):
        path = tmp_path / type(error).__name__ / str(error)[:5]
        KeptTraceback(path).on_exception(SimpleNamespace(global_step=3, global_rank=0), None, error)
        assert path.is_file() == (error is other.value)


def test_help_shows_our_settings_first_and_says_where_lightning_s_are(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["vocoder", "fit", "--help"])
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("usage: vocoder fit --config RECIPE [--SETTING VALUE ...]")
    assert "at the end stand those of Lightning's trainer, `--trainer.*`: https://lightning.ai" in said
    places = [
        said.index(f"--{name} ") for name in ("run.name", "data.batch_size", "model.learning_rate", "trainer.devices")
    ]
    assert places == sorted(places)
