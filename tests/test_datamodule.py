"""A corpus as batches: their shapes, who sees what, and one word about files left out."""

from __future__ import annotations

import logging
import math
import re
from types import SimpleNamespace

import pytest
import soundfile
import torch

from conftest import tiny_mel_config
from runs import make_corpus
from vocoder.data.corpora import CorpusError
from vocoder.data.datamodule import VocoderDataModule

HOP = 16
MARGIN = 3 * HOP + (64 - HOP) // 2


def datamodule(root, *, step: int = 0, rank: int = 0, world_size: int = 1, accumulate: int = 1, **changes):
    sizes = {"batch_size": 2, "segment_frames": 8, "validation_frames": 40, "num_workers": 0, **changes}
    data = VocoderDataModule(root if isinstance(root, list) else str(root), tiny_mel_config(), 3, **sizes)
    data.trainer = SimpleNamespace(
        max_steps=6,
        global_step=step,
        global_rank=rank,
        world_size=world_size,
        accumulate_grad_batches=accumulate,
        accelerator=None,
    )
    data.setup("fit")
    return data


def test_training_batches_have_segments_with_margins(tmp_path):
    batches = list(datamodule(make_corpus(tmp_path)).train_dataloader())
    assert len(batches) == 6
    for batch in batches:
        assert batch["waveform"].shape == (2, MARGIN + 8 * HOP + MARGIN)
        assert batch["mask"].shape == (2, 8 * HOP)
        assert batch["span"].shape == (2, 2)


def test_segments_go_on_beyond_an_utterance_as_the_dialect_says(tmp_path):
    mel = tiny_mel_config(edges="zero")
    assert VocoderDataModule(str(tmp_path), mel, 3).cut.edges == "zero"
    assert VocoderDataModule(str(tmp_path), tiny_mel_config(), 3).cut.edges == "reflect"


@pytest.mark.parametrize("part", ["val", "test"])
def test_held_out_utterances_come_one_at_a_time_and_always_the_same(tmp_path, part):
    data = datamodule(make_corpus(tmp_path, 100))
    loader = getattr(data, f"{part}_dataloader")()
    first, again = list(loader), list(loader)
    assert {tuple(batch["mask"].shape) for batch in first} == {(1, 40 * HOP)}
    assert all(torch.equal(one["waveform"], other["waveform"]) for one, other in zip(first, again, strict=True))


def test_the_smallest_corpus_has_an_utterance_for_each_part(tmp_path):
    data = datamodule(make_corpus(tmp_path, 3))
    assert {name: len(part) for name, part in data.splits.items()} == {"validation": 1, "test": 1, "train": 1}
    with pytest.raises(CorpusError, match="need an utterance each, but the corpus has 2"):
        datamodule(make_corpus(tmp_path / "smaller", 2))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_entered_at_a_step_sees_the_batches_that_were_left(tmp_path, workers):
    make_corpus(tmp_path)
    whole = list(datamodule(tmp_path, accumulate=2).train_dataloader())
    rest = list(datamodule(tmp_path, accumulate=2, step=4, num_workers=workers).train_dataloader())
    assert len(whole) == 12
    assert [b["waveform"].tolist() for b in rest] == [b["waveform"].tolist() for b in whole[8:]]


def segments(loader) -> list[list[float]]:
    return [waveform.tolist() for batch in loader for waveform in batch["waveform"]]


def test_the_processes_of_a_run_share_what_one_would_see(tmp_path):
    make_corpus(tmp_path)
    alone = segments(datamodule(tmp_path, accumulate=2).train_dataloader())
    for rank in (0, 1):
        assert segments(datamodule(tmp_path, rank=rank, world_size=2).train_dataloader()) == alone[rank::2]


def test_files_left_out_are_reported_once(tmp_path, caplog):
    make_corpus(tmp_path, 100)
    (tmp_path / "7.wav").write_text("no audio")
    with caplog.at_level(logging.INFO):
        data = datamodule(tmp_path)
        data.setup("validate")
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "1 of 100 files cannot be used" in warning
    assert f"{tmp_path / '7.wav'}: unreadable" in warning
    assert sum(map(len, data.splits.values())) == 99
    assert "validation 2" in caplog.text


@pytest.mark.parametrize(
    ("rate", "level", "message"),
    [
        (48_000, logging.INFO, r"resampled each time that they are read \(8 at 48000 Hz\); `vocoder resample"),
        (4000, logging.WARNING, r"\(8 at 4000 Hz, of 8\) .* all above 2000 Hz, 50% of it\. .*--sample-rate 4000`"),
    ],
)
def test_a_corpus_at_another_rate_is_resampled_and_what_that_means_is_said_once(tmp_path, caplog, rate, level, message):
    make_corpus(tmp_path)
    for path in tmp_path.glob("*.wav"):
        soundfile.write(path, soundfile.read(path)[0], rate)
    with caplog.at_level(logging.INFO):
        data = datamodule(tmp_path)
        data.setup("validate")
    [said] = [record for record in caplog.records if "Hz" in record.getMessage()]
    assert said.levelno == level
    assert re.search(message, said.getMessage())
    seconds = soundfile.info(tmp_path / "7.wav").duration
    [longest] = [u for part in data.splits.values() for u in part if u.id == "7"]
    assert longest.samples == math.ceil(8000 * seconds)
    for batch in data.train_dataloader():
        assert batch["waveform"].shape == (2, MARGIN + 8 * HOP + MARGIN)


def test_several_corpora_are_each_divided_as_if_alone(tmp_path, caplog):
    for name, number in (("one", 5), ("two", 4), ("few", 2)):
        make_corpus(tmp_path / name, number)
    alone = {name: datamodule(tmp_path / name).splits for name in ("one", "two")}
    with caplog.at_level(logging.INFO):
        together = datamodule([str(tmp_path / name) for name in ("one", "two", "few")]).splits
    for part, some in together.items():
        expected = [f"{name}/{u.id}" for name in alone for u in alone[name][part]]
        assert sorted(u.id for u in some) == sorted(expected + (["few/0", "few/1"] if part == "train" else []))
        assert [u.corpus for u in some[:2]] == ["one", "two"]  # a few validate, and none is left out
        assert all(u.id.split("/")[0] == u.corpus for u in some)
    assert "Corpus few has fewer than three utterances: all are for training." in caplog.text


def test_corpora_of_the_same_name_are_refused(tmp_path):
    roots = [str(make_corpus(tmp_path / parent / "wavs")) for parent in ("one", "two")]
    with pytest.raises(CorpusError, match=r"two are called wavs\. Rename one"):
        datamodule(roots)


def test_corpora_of_which_none_can_be_divided_are_refused(tmp_path):
    roots = [str(make_corpus(tmp_path / name, 2)) for name in ("one", "two")]
    with pytest.raises(CorpusError, match="none of one, two has as many"):
        datamodule(roots)


def test_a_run_without_an_end_never_runs_out_of_batches(tmp_path):
    data = datamodule(make_corpus(tmp_path))
    data.trainer.max_steps = -1
    endless = data.train_dataloader()
    assert len(endless) > 10**15
    data.trainer.max_steps = 6
    for one, other, _ in zip(endless, data.train_dataloader(), range(3), strict=False):
        assert torch.equal(one["waveform"], other["waveform"])
