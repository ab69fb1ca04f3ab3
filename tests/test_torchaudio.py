"""Our vocoder where torchaudio's Tacotron 2 pipelines take theirs."""

import inspect
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from conftest import speech_like_mel, tiny_config, tiny_network
from vocoder.inference.vocoder import Vocoder
from vocoder.interop.torchaudio import TorchaudioVocoder

HOP, BANDS = 16, 8
RAGGED = torch.tensor([4, 7, 2], dtype=torch.int32)


@pytest.fixture
def vocoder():
    config = tiny_config()
    return Vocoder(config, tiny_network(config), engine="torch")  # any machine's


def mels(vocoder, batch=3, frames=7):
    return speech_like_mel(vocoder.mel, frames, batch)


def test_each_row_is_what_infer_gives_of_it_alone_then_silence(vocoder):
    speak = TorchaudioVocoder(vocoder, None, seed=5)
    specgrams = mels(vocoder)
    waveforms, lengths = speak(specgrams, RAGGED)
    assert waveforms.shape == (3, 7 * HOP)
    assert waveforms.dtype == torch.float32
    for row, frames in enumerate(RAGGED.tolist()):
        alone = vocoder.infer(specgrams[row, :, :frames], seed=5, utterance=row)
        assert torch.equal(waveforms[row, : lengths[row]], alone)
        assert not waveforms[row, lengths[row] :].any()


def test_padding_is_never_heard(vocoder):
    speak = TorchaudioVocoder(vocoder, None)
    specgrams = mels(vocoder)
    padded = specgrams.clone()
    for row, frames in enumerate(RAGGED.tolist()):
        padded[row, :, frames:] = float("nan")
    assert torch.equal(speak(padded, RAGGED)[0], speak(specgrams, RAGGED)[0])


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_lengths_are_samples_of_the_type_that_came(vocoder, dtype):
    _, lengths = TorchaudioVocoder(vocoder, None)(mels(vocoder), RAGGED.to(dtype))
    assert lengths.dtype == dtype
    assert lengths.tolist() == [4 * HOP, 7 * HOP, 2 * HOP]


def test_without_lengths_every_frame_counts_and_none_come_back(vocoder):
    specgrams = mels(vocoder)
    waveforms, lengths = TorchaudioVocoder(vocoder, None)(specgrams)
    assert lengths is None
    assert torch.equal(waveforms, vocoder.infer(specgrams))


@pytest.mark.parametrize("lengths", [[4, 7], [4, 7, 0], [4, 8, 2], [4.0, 7.0, 2.0], 4, [[4, 7, 2]]])
def test_lengths_that_do_not_fit_are_refused(vocoder, lengths):
    with pytest.raises(ValueError, match=r"`lengths` must hold 3 numbers of frames from 1 to 7, .* but is \[*4"):
        TorchaudioVocoder(vocoder, None)(mels(vocoder), torch.tensor(lengths))


def test_a_mel_without_a_batch_is_refused(vocoder):
    with pytest.raises(ValueError, match=r"`specgrams` must be \(batch, n_mels, frames\), but has shape \(8, 7\)"):
        TorchaudioVocoder(vocoder, None)(mels(vocoder)[0])


def test_mels_of_the_named_dialect_are_converted(vocoder):
    decadic = replace(vocoder.mel, log="log10")
    natural = mels(vocoder)
    waveforms, _ = TorchaudioVocoder(vocoder, decadic)(natural / torch.tensor(10.0).log())
    expected, _ = TorchaudioVocoder(vocoder, None)(natural)
    torch.testing.assert_close(waveforms, expected, atol=1e-3, rtol=0)  # rounding of the mel, amplified by sampling


def test_tacotron_2_of_torchaudio_is_the_dialect_unless_another_is_named(vocoder):
    with pytest.raises(ValueError, match="sample_rate"):  # the tiny model's is 8 kHz
        TorchaudioVocoder(vocoder)(mels(vocoder))


def test_it_has_the_interface_of_torchaudio(vocoder):
    pipelines = pytest.importorskip("torchaudio.pipelines")
    theirs = pipelines.Tacotron2TTSBundle.Vocoder
    speak = TorchaudioVocoder(vocoder, None)
    assert isinstance(speak, theirs)
    assert speak.sample_rate == 8000
    names = list(inspect.signature(theirs.__call__).parameters)
    assert list(inspect.signature(TorchaudioVocoder.forward).parameters) == names
    assert speak.eval().to("cpu") is speak  # as pipelines treat it


@pytest.mark.filterwarnings("ignore:Reached max decoder steps")  # torchaudio's: an untrained network may not end
def test_the_frames_of_torchaudio_s_tacotron_2_become_sound(vocoder):
    models = pytest.importorskip("torchaudio.models")
    tacotron2 = models.Tacotron2(
        n_mels=BANDS, n_symbol=5, symbol_embedding_dim=8, encoder_embedding_dim=8, encoder_n_convolution=1,
        decoder_rnn_dim=8, decoder_max_step=9, prenet_dim=8, attention_rnn_dim=8, attention_hidden_dim=8,
        attention_location_n_filter=2, postnet_n_convolution=1, postnet_embedding_dim=8, gate_threshold=0.5,
    ).eval()  # fmt: skip
    specgrams, lengths, _ = infer_ragged(tacotron2, torch.tensor([[1, 2, 3, 4], [4, 0, 0, 0]]), torch.tensor([4, 1]))
    low, high = vocoder.mel.value_range
    specgrams = low + (high - low) * (0.3 + 0.2 * specgrams.tanh())  # an untrained network knows no dialect
    waveforms, samples = TorchaudioVocoder(vocoder, None)(specgrams, lengths)
    assert samples.tolist() == [HOP * frames for frames in lengths.tolist()]
    assert samples.dtype == lengths.dtype
    for row, frames in enumerate(lengths.tolist()):
        alone = vocoder.infer(specgrams[row, :, :frames], utterance=row)
        assert torch.equal(waveforms[row, : samples[row]], alone)


@torch.inference_mode()
def infer_ragged(tacotron2, tokens, lengths):
    """Its output for the first threshold, from high to low, at which the two utterances end at different frames."""
    for threshold in torch.linspace(0.7, 0.3, 100):
        tacotron2.decoder.gate_threshold = float(threshold)
        torch.manual_seed(0)  # its dropout is on in inference too
        found = tacotron2.infer(tokens, lengths)
        if len(set(found[1].tolist())) > 1:
            return found
    raise AssertionError("both always end together")


WITHOUT = """
import sys
sys.modules["torchaudio"] = None
import torch
from vocoder.interop.torchaudio import TorchaudioVocoder
from vocoder.inference.vocoder import Vocoder
speak = TorchaudioVocoder(Vocoder.from_pretrained({folder!r}, engine="torch"), None)
print(speak(torch.full((2, 8, 4), -7.0))[0].shape)
"""


def test_it_needs_no_torchaudio(vocoder, tmp_path):
    vocoder.save_pretrained(tmp_path / "model")
    code = WITHOUT.format(folder=str(tmp_path / "model"))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout == "torch.Size([2, 64])\n", run.stderr


@pytest.mark.parametrize("own", [True, False])
def test_its_axes_are_torchaudio_s_whatever_the_dialect_s_are(vocoder, own):
    turned = replace(vocoder.mel, layout="frames_first")
    model = Vocoder(replace(vocoder.config, mel=turned), vocoder.network, engine="torch") if own else vocoder
    speak = TorchaudioVocoder(model, None if own else turned)
    specgrams = mels(vocoder)
    assert torch.equal(speak(specgrams, RAGGED)[0], TorchaudioVocoder(vocoder, None)(specgrams, RAGGED)[0])


def test_lengths_are_a_tensor(vocoder):
    with pytest.raises(TypeError, match=r"`lengths` must be a tensor, but is a list"):
        TorchaudioVocoder(vocoder, None)(mels(vocoder), [4, 7, 2])
