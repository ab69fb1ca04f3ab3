"""Several voices in one network: a name means the same voice in the data, the checkpoint, the bundle and `infer`."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conftest import speech_like_mel, tiny_config, tiny_mel_config, tiny_network

pytest.importorskip("lightning")
from runs import make_corpus, recipe, vocoder
from vocoder.bundles.bundle import load_bundle, save_bundle
from vocoder.cli import main
from vocoder.config import VocoderConfig, to_dict
from vocoder.data.corpora import CorpusError
from vocoder.data.datamodule import VocoderDataModule
from vocoder.inference.vocoder import Vocoder
from vocoder.model.wavenet import WaveNet
from vocoder.training.cli import take_weights
from vocoder.training.module import VocoderModule

# Lightning 2.6 calls jsonargparse and torch by names that these announce to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
]

TINY = tiny_config("gaussian", num_components=1)


def two_speakers(root: Path, names: tuple[str, ...] = ("anna", "bob")) -> Path:
    for name in names:
        make_corpus(root / name, 4)
    return root


def fit(root: Path, *options: str, **data: Any) -> Path:
    """Train for four steps; gives the last checkpoint."""
    values = recipe(root, TINY.mel, TINY.network, max_steps=4, val_check_interval=2)
    values["data"] |= {"speakers": True, **data}
    vocoder("fit", values, *options)
    return root / "run" / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of two speakers, a run that was trained on it, and its bundle."""
    root = tmp_path_factory.mktemp("speakers")
    two_speakers(root / "corpus")
    assert main(["export", str(fit(root)), str(root / "bundle")]) == 0
    return root


def test_a_name_is_the_row_of_the_embedding_that_its_recordings_trained(trained):
    """The likelihood that `infer`'s conditioning gives by name is that of training's batch."""
    voice = Vocoder.from_pretrained(trained / "bundle")
    assert voice.speakers == ("anna", "bob")
    module = VocoderModule(TINY.mel, TINY.network, speakers=voice.speakers)
    data = VocoderDataModule(
        str(trained / "corpus"), TINY.mel, module.margin_frames, num_workers=0, speaker_names=voice.speakers
    )
    data.setup("fit")
    data.trainer = SimpleNamespace(
        max_steps=20, global_step=0, global_rank=0, world_size=1, accumulate_grad_batches=1, accelerator=None
    )
    seen = set()
    for number, batch in enumerate(data.train_dataloader()):
        for row, index in enumerate(batch["speaker"].tolist()):
            said = data.train_dataloader().dataset.utterance(2 * number + row)
            assert said.id.split("/")[0] == voice.speakers[index]
            seen.add(index)
    assert seen == {0, 1}
    mel = speech_like_mel(voice.mel, 8)[0]
    by_name = [voice.infer(mel, speaker=name) for name in voice.speakers]
    for index, waveform in enumerate(by_name):
        assert torch.equal(waveform, voice.infer(mel, speaker=index))
    with torch.no_grad():  # the row is what speaks: exchanged, the names exchange their voices
        rows = voice.network.speaker_embedding.weight
        rows.copy_(rows.flip(0))
    exchanged = Vocoder(voice.config, voice.network)
    assert all(
        torch.equal(exchanged.infer(mel, speaker=name), waveform)
        for name, waveform in zip(("bob", "anna"), by_name, strict=True)
    )
    assert not torch.equal(*by_name)


def test_training_on_one_speaker_moves_that_row_of_the_embedding_alone():
    module = VocoderModule(TINY.mel, TINY.network, speakers=("anna", "bob"))
    module.network.load_state_dict(tiny_network(VocoderConfig(TINY.mel, module.network.config)).state_dict())
    hop = TINY.mel.hop_length
    batch = {
        "waveform": 0.1 * torch.randn(1, module.margin[0] + 8 * hop + module.margin[1]),
        "mask": torch.ones(1, 8 * hop, dtype=torch.bool),
        "span": torch.tensor([[-99, 99]]),
        "speaker": torch.tensor([1]),
    }
    module.nll(batch).backward()
    rows = module.network.speaker_embedding.weight.grad.abs().sum(dim=1)
    assert rows[0] == 0
    assert rows[1] > 0


def test_checkpoint_bundle_and_card_hold_the_names(trained):
    checkpoint = torch.load(trained / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["speakers"] == ["anna", "bob"]
    assert json.loads((trained / "bundle" / "config.json").read_text())["speakers"] == ["anna", "bob"]
    assert load_bundle(trained / "bundle").config.network.num_speakers == 2


def test_a_table_that_the_network_has_no_voices_for_is_refused():
    for speakers, message in ((("a",), "each of the network's 2 voices .* names 1"), (("a", "a"), "a is there twice")):
        with pytest.raises(ValueError, match=message):
            VocoderConfig(TINY.mel, tiny_config(num_speakers=2).network, speakers=speakers)
    with pytest.raises(ValueError, match=r"follows from their names, of which there are 2, but .* is 3\. Leave it out"):
        VocoderModule(TINY.mel, tiny_config("gaussian", num_components=1, num_speakers=3).network, speakers=("a", "b"))


def named(*names: str) -> Vocoder:
    config = VocoderConfig(TINY.mel, tiny_config(num_speakers=len(names)).network, speakers=names)
    return Vocoder(config, tiny_network(config))


def test_a_misspelt_name_lists_the_names_and_guesses():
    voice = named("p225", "p226", "s5")
    mel = speech_like_mel(voice.mel, 4)[0]
    with pytest.raises(ValueError, match=r"none is called 'p22'\. Is it 'p22[56]'\? It has p225, p226, s5\."):
        voice.infer(mel, speaker="p22")
    with pytest.raises(ValueError, match=r"none was given\. Pass, for example, speaker='p225'\. It has p225"):
        voice.infer(mel)
    with pytest.raises(
        ValueError, match="none is called '0'"
    ):  # in a shell a name is a name, though it look like a number
        voice.infer(mel, speaker="0")


def test_names_and_indices_may_stand_side_by_side():
    voice = named("anna", "bob", "19")
    mels = speech_like_mel(voice.mel, 4, batch=3)
    together = voice.infer(mels, speaker=["19", 0, "bob"])
    for row, speaker in enumerate((2, "anna", 1)):
        assert torch.equal(together[row], voice.infer(mels[row], speaker=speaker, utterance=row))
    assert torch.equal(voice.infer_many([mels[0]], speaker="19")[0], together[0])


def test_a_shell_takes_names_and_indices_of_voices_without_names(tmp_path, capsys):
    voice = named("anna", "bob")
    unnamed = Vocoder(VocoderConfig(voice.mel, voice.config.network), voice.network)
    torch.save(speech_like_mel(voice.mel, 4)[0], tmp_path / "a.pt")
    for name, model, speaker in (("named", voice, "bob"), ("unnamed", unnamed, "1")):
        save_bundle(tmp_path / name, *model._bundle)
        output = str(tmp_path / f"{name}.wav")
        arguments = ["infer", str(tmp_path / "a.pt"), "--model", str(tmp_path / name), "-o", output]
        assert main([*arguments, "--speaker", speaker]) == 0
    assert (tmp_path / "named.wav").read_bytes() == (tmp_path / "unnamed.wav").read_bytes()
    misspelt = ["--model", str(tmp_path / "named"), "-o", str(tmp_path / "b.wav"), "--speaker", "bo"]
    assert main([*arguments[:2], *misspelt]) == 2
    assert "none is called 'bo'. Is it 'bob'? It has anna, bob." in capsys.readouterr().err


def test_models_from_before_there_were_names_still_load(tmp_path):
    config = tiny_config(num_speakers=2)
    network = tiny_network(config)
    save_bundle(tmp_path, config, network)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["speakers"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert load_bundle(tmp_path).config == config
    module = VocoderModule(to_dict(config.mel), to_dict(config.network))
    assert (module.speakers, module.network.config.num_speakers) == ((), 2)


def test_num_speakers_without_names_is_refused_with_the_flag_that_gives_them(tmp_path):
    two_speakers(tmp_path / "corpus")
    with pytest.raises(
        ValueError, match=r"network\.num_speakers is 2\. Leave it out, and pass `--data\.speakers true`"
    ):
        fit(tmp_path, "--model.network.num_speakers", "2", speakers=False)


def test_a_run_goes_on_with_its_own_speakers_only(trained, tmp_path):
    two_speakers(tmp_path / "corpus", ("anna", "carol"))
    last = str(trained / "run" / "checkpoints" / "last.ckpt")
    for option in ("--ckpt_path", "--run.start_from"):
        with pytest.raises(ValueError, match=r"table of 2 lacks bob and adds carol\. Give the data"):
            fit(tmp_path, option, last)


def test_a_single_voice_is_every_speaker_s_voice_at_first(tmp_path):
    """Bit for bit but for where the zeros are added, and from there on each speaker's is trained."""
    single = VocoderConfig(TINY.mel, TINY.network)
    save_bundle(tmp_path / "single", single, tiny_network(single))
    module = VocoderModule(TINY.mel, TINY.network, speakers=("anna", "bob"))
    take_weights(module, str(tmp_path / "single"))
    config = VocoderConfig(TINY.mel, module.network.config, speakers=module.speakers)
    voice = Vocoder(config, module.network, engine="torch")
    mel = speech_like_mel(TINY.mel, 6)[0]
    expected = Vocoder.from_pretrained(tmp_path / "single", engine="torch").infer(mel)
    for name in voice.speakers:
        torch.testing.assert_close(voice.infer(mel, speaker=name), expected, rtol=0, atol=1e-5)
    assert module.network.speaker_embedding.weight.std() > 0


def test_a_checkpoint_is_measured_on_speakers_by_its_own_table(trained, tmp_path):
    """Of two speakers there is only the second: a table of the folder's own would give it the first one's voice."""
    two_speakers(tmp_path / "corpus", ("bob",))
    (tmp_path / "corpus").rename(tmp_path / "bob-only")
    (tmp_path / "bob-only" / "bob").rename(tmp_path / "bob")
    data = VocoderDataModule(str(tmp_path / "bob"), TINY.mel, 3, num_workers=0, speaker_names=("anna", "bob"))
    data.setup("validate")
    assert {int(batch["speaker"]) for batch in data.val_dataloader()} == {1}
    (tmp_path / "bob").rename(tmp_path / "bobby")
    data = VocoderDataModule(str(tmp_path / "bobby"), TINY.mel, 3, speaker_names=("anna", "bob"))
    with pytest.raises(CorpusError, match=r"in the model's table, but bobby of .* is not\. It has anna, bob\."):
        data.setup("validate")


def test_speakers_who_cannot_be_heard_at_validation_are_named(tmp_path, caplog):
    two_speakers(tmp_path)
    make_corpus(tmp_path / "carol", 2)
    data = VocoderDataModule(str(tmp_path), tiny_mel_config(), 3, speakers=True)
    with caplog.at_level(logging.INFO):
        data.setup("fit")
    assert "3 speakers: anna, bob, carol." in caplog.text
    assert "No utterance is for validation of carol" in caplog.text


def test_without_the_flag_folders_are_one_voice(tmp_path):
    data = VocoderDataModule(str(two_speakers(tmp_path)), tiny_mel_config(), 3, num_workers=0)
    data.setup("fit")
    assert "speaker" not in next(iter(data.val_dataloader()))


def test_an_evaluation_copies_each_utterance_in_its_speaker_s_voice(trained, tmp_path, capsys):
    """In one voice for all, the copies and the likelihoods of that speaker alone are the same."""
    pytest.importorskip("librosa")
    arguments = ["evaluate", "--model", str(trained / "bundle"), "--corpus", str(trained / "corpus"), "--workers", "1"]
    arguments += ["--part", "all", "--seconds", "0.2"]
    assert main([*arguments, "--output-dir", str(tmp_path / "own")]) == 0
    assert "| speaker | utterances | F0 recorded (Hz) | F0 copied (Hz) |" in capsys.readouterr().out
    assert main([*arguments, "--output-dir", str(tmp_path / "anna"), "--speaker", "anna"]) == 0

    def rows(name: str) -> dict[str, dict[str, str]]:
        found = csv.DictReader((tmp_path / name / "metrics.csv").read_text().splitlines())
        return {row["utterance"]: row for row in found if row["system"] == "bundle"}

    def copy(name: str, id_: str) -> bytes:
        return (tmp_path / name / "audio" / "bundle" / f"{id_}.flac").read_bytes()

    for id_, row in rows("own").items():
        assert row["speaker"] == id_.split("/")[0]
        assert (rows("anna")[id_]["nll_bits"] == row["nll_bits"]) == (row["speaker"] == "anna")
        assert (copy("anna", id_) == copy("own", id_)) == (row["speaker"] == "anna")
    assert main([*arguments, "--output-dir", str(tmp_path / "x"), "--speaker", "x"]) == 2
    assert "none is called 'x'. It has anna, bob." in capsys.readouterr().err


def test_an_evaluation_of_speakers_whom_the_model_does_not_know_is_refused(trained, tmp_path, capsys):
    two_speakers(tmp_path / "corpus", ("anna", "carol"))
    arguments = ["evaluate", "--model", str(trained / "bundle"), "--corpus", str(tmp_path / "corpus")]
    assert main([*arguments, "--output-dir", str(tmp_path / "found")]) == 2
    error = capsys.readouterr().err
    assert "but carol is none. It has anna, bob. Pass --speaker NAME" in error


def test_speakers_of_one_network_are_as_many_embeddings():
    assert isinstance(named("anna", "bob").network, WaveNet)
    assert named("anna", "bob").network.speaker_embedding.weight.shape[0] == 2
    assert "2 voices" in repr(named("anna", "bob"))
