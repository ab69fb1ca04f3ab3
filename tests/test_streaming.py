"""Streaming: the samples of the whole, in whatever chunks the frames come, and a clear word on what cannot follow."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import DISTRIBUTIONS, on_engine, speech_like_mel, tiny_config, tiny_mel_config, tiny_network
from vocoder.config import SamplingConfig, VocoderConfig, WaveformConfig
from vocoder.inference import conditioner as conditioning_by_blocks
from vocoder.inference import single_thread
from vocoder.inference.conditioner import Conditioner, condition_whole
from vocoder.inference.mel_checks import look_frames
from vocoder.inference.single_thread import run_single_threaded
from vocoder.inference.stream import Stream
from vocoder.inference.vocoder import Vocoder
from vocoder.machine import physical_cores
from vocoder.memory import has_run_out
from vocoder.model.wavenet import PARTS, Conditioning

BLOCK_FRAMES = 8  # here: many blocks in few frames
FRAMES = 3 * BLOCK_FRAMES + 7


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditioning_by_blocks, "BLOCK_FRAMES", BLOCK_FRAMES)


def tiny_vocoder(config: VocoderConfig | None = None) -> Vocoder:
    config = config or tiny_config()
    return Vocoder(config, tiny_network(config))


@pytest.fixture(scope="module")
def model() -> Vocoder:
    torch.manual_seed(0)
    return tiny_vocoder()


STEPS: list[dict[str, Any]] = [
    {"samples_per_step": 2, "recent_excitations": 3},
    {"samples_per_step": 4},
    {"samples_per_step": 8, "recent_excitations": 8, "kernel_size": 3},
]


@pytest.fixture
def mel(model: Vocoder) -> Tensor:
    return speech_like_mel(model.mel, FRAMES)[0]


def cut(mel: Tensor, sizes: Sequence[int]) -> Iterator[Tensor]:
    """Chunks of these sizes, over and over, to the end."""
    start = index = 0
    while start < mel.shape[-1]:
        size = sizes[index % len(sizes)]
        yield mel[..., start : start + size]
        start, index = start + size, index + 1


def join(chunks: Iterator[Tensor]) -> Tensor:
    return torch.cat(list(chunks))


# --- the law


@pytest.mark.parametrize("sizes", [[1], [10], [3, 0, 17, 1], [BLOCK_FRAMES], [FRAMES], [1000]], ids=str)
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_any_chunks_give_the_bits_of_the_whole(model: Vocoder, mel: Tensor, engine: str, sizes: list[int]) -> None:
    model = on_engine(model, engine)
    whole = model.infer(mel, seed=3, utterance=5)
    assert torch.equal(join(model.stream(seed=3, utterance=5).over(cut(mel, sizes))), whole)


@pytest.mark.parametrize("sizes", [[1], [3, 0, 17, 1], [FRAMES]], ids=str)
@pytest.mark.parametrize("changes", STEPS, ids=str)
def test_any_chunks_give_the_bits_of_the_whole_in_steps_of_several_samples(
    changes: dict[str, Any], sizes: list[int]
) -> None:
    model = on_engine(tiny_vocoder(tiny_config(**changes)))
    mel = speech_like_mel(model.mel, FRAMES)[0]
    whole = model.infer(mel, seed=3, utterance=5)
    assert torch.equal(join(model.stream(seed=3, utterance=5).over(cut(mel, sizes))), whole)
    batch = model.infer(torch.stack([mel, mel.flip(1)]), seed=3, utterance=5)
    many = model.infer_many([mel, mel.flip(1), mel[:, :9]], seed=3, utterance=5)
    assert torch.equal(batch[0], whole)
    assert torch.equal(many[0], whole)
    assert torch.equal(many[1], batch[1])


@pytest.mark.parametrize("sizes", [[1], [3, 0, 17, 1], [FRAMES]], ids=str)
@pytest.mark.parametrize("changes", [{}, *STEPS[1:]], ids=str)
def test_sharpened_where_it_is_voiced_any_chunks_give_the_bits_of_the_whole(
    changes: dict[str, Any], sizes: list[int]
) -> None:
    model = on_engine(tiny_vocoder(tiny_config(**changes)))
    mel = speech_like_mel(model.mel, FRAMES)[0]
    whole = model.infer(mel, voiced_temperature=0.5)
    assert torch.equal(join(model.stream(voiced_temperature=0.5).over(cut(mel, sizes))), whole)
    many = model.infer_many([mel[:, :9], mel], utterance=[1, 0], voiced_temperature=0.5)
    assert torch.equal(many[1], whole)
    assert not torch.equal(whole, model.infer(mel))


def test_with_blocks_of_their_true_size(model: Vocoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    frames = 2 * conditioning_by_blocks.BLOCK_FRAMES + 5
    mel = speech_like_mel(model.mel, frames)[0]
    assert torch.equal(join(model.stream().over(cut(mel, [10, 33]))), model.infer(mel))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize(
    ("options", "temperature"), [({"precision": "fp32"}, 1.0), ({"threads": 1}, 1.0), ({}, 0.7)], ids=str
)
def test_with_every_law_and_option(distribution: str, options: dict[str, Any], temperature: float) -> None:
    model = on_engine(tiny_vocoder(tiny_config(distribution)), "auto", **options)
    mel = speech_like_mel(model.mel, 40)[0]
    streamed = join(model.stream(temperature=temperature).over(cut(mel, [7])))
    assert torch.equal(streamed, model.infer(mel, temperature=temperature))


@pytest.mark.parametrize(
    "changes",
    [
        {"context_frames": 0},
        {"context_frames": 0, "upsampling_taps": 1},
        {"context_frames": 1, "upsampling_taps": 7},
        {"linear_prediction_order": 0},
        {"num_speakers": 3},
    ],
    ids=str,
)
def test_whatever_the_network_looks_ahead(changes: dict[str, Any]) -> None:
    model = tiny_vocoder(tiny_config(**changes))
    speaker = 2 if "num_speakers" in changes else None
    for frames in (1, 2, BLOCK_FRAMES - 1, BLOCK_FRAMES, BLOCK_FRAMES + 1, 2 * BLOCK_FRAMES):
        mel = speech_like_mel(model.mel, frames)[0]
        streamed = join(model.stream(speaker=speaker).over(cut(mel, [5])))
        assert torch.equal(streamed, model.infer(mel, speaker=speaker)), frames


@pytest.mark.parametrize("waveform", [WaveformConfig(pre_emphasis=0.85, gain=0.55), WaveformConfig(gain=2.0)], ids=str)
def test_what_is_undone_on_the_way_out_goes_on_from_chunk_to_chunk(waveform: WaveformConfig) -> None:
    plain = tiny_config()
    model = tiny_vocoder(VocoderConfig(plain.mel, plain.network, waveform))
    mel = speech_like_mel(model.mel, 30)[0]
    whole = model.infer(mel)
    assert torch.equal(join(model.stream().over(cut(mel, [4]))), whole)
    assert torch.equal(model.infer_many([mel[:, :9], mel])[1], model.infer(mel, utterance=1))
    assert torch.equal(model.infer(torch.stack([mel, mel]))[0], whole)


@pytest.mark.parametrize("waveform", [WaveformConfig(pre_emphasis=0.85, gain=0.55), WaveformConfig(gain=2.0)], ids=str)
def test_what_a_network_s_waveform_is_beside_the_true_one_is_undone(waveform: WaveformConfig) -> None:
    plain = tiny_config()
    network = tiny_network(plain)
    mel = speech_like_mel(plain.mel, 30)[0]
    made = Vocoder(plain, network).infer(mel).double().numpy()
    true = Vocoder(VocoderConfig(plain.mel, plain.network, waveform), network).infer(mel).double().numpy()
    expected, before = np.zeros_like(made), 0.0
    for t, sample in enumerate(made):
        before = expected[t] = sample / waveform.gain + waveform.pre_emphasis * before
    np.testing.assert_allclose(true, np.clip(expected, -1, 1), rtol=0, atol=1e-6)


def test_a_mel_in_another_dialect_is_converted_alike() -> None:
    model = tiny_vocoder()
    other = tiny_mel_config(log="db", shift=-30.0, scale=12.5, layout="frames_first")
    mel = speech_like_mel(other, 50)[0].T
    chunks = (mel[start : start + 3] for start in range(0, 50, 3))
    assert torch.equal(join(model.stream(dialect=other).over(chunks)), model.infer(mel, dialect=other))


def test_a_batch_and_ragged_utterances_equal_their_streams(model: Vocoder, mel: Tensor) -> None:
    batch = model.infer(torch.stack([mel, mel.flip(1)]))
    assert torch.equal(batch[1], join(model.stream(utterance=1).over(cut(mel.flip(1), [11]))))
    assert torch.equal(
        model.infer_many([mel, mel[:, :20]])[1], join(model.stream(utterance=1).over(cut(mel[:, :20], [6])))
    )


# --- conditioning


def test_blocks_give_what_the_network_gives_of_the_whole(model: Vocoder, mel: Tensor) -> None:
    inside, whole = condition_whole(Conditioner(model.network), mel[None]), model.network.condition(mel[None])
    for name in PARTS:
        torch.testing.assert_close(getattr(inside, name), getattr(whole, name), rtol=1e-4, atol=1e-5)


def test_a_frame_is_conditioned_as_soon_as_its_neighbours_are_known_and_no_sooner(model: Vocoder, mel: Tensor) -> None:
    conditioner, margin = Conditioner(model.network), model.config.network.margin_frames
    for seen in range(1, FRAMES + 1):
        piece = conditioner.push(mel[None, :, seen - 1 : seen])
        assert (0 if piece is None else piece.frames) == (1 if seen > margin else 0)
    rest = conditioner.push(mel[None, :, :0], last=True)
    assert isinstance(rest, Conditioning)
    assert rest.frames == margin


def test_a_long_utterance_is_conditioned_in_pieces_with_the_same_bits(
    model: Vocoder, mel: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short:
        short.setattr("vocoder.inference.conditioner.PIECE_FRAMES", 7)
        pieces, waveform = list(Conditioner(model.network).over(mel[None])), model.infer(mel)
    assert len(pieces) == -(-FRAMES // 7)
    assert torch.equal(waveform, model.infer(mel))
    together, whole = pieces[0], condition_whole(Conditioner(model.network), mel[None])
    for piece in pieces[1:]:
        together = together.append(piece)
    for name in PARTS:
        assert torch.equal(getattr(together, name), getattr(whole, name)), name


def test_a_conditioner_remembers_no_more_after_many_frames_than_after_few(model: Vocoder, mel: Tensor) -> None:
    conditioner, held = Conditioner(model.network), []
    for _ in range(20):
        for chunk in cut(mel[None], [10]):
            conditioner.push(chunk)
            assert conditioner._mel is not None
            held.append(conditioner._mel.untyped_storage().nbytes() // mel.shape[0] // 4)
    assert max(held) <= BLOCK_FRAMES + 2 * conditioner.margin + 10


def test_conditioning_depends_neither_on_torch_s_threads_nor_changes_their_number(model: Vocoder, mel: Tensor) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = condition_whole(Conditioner(model.network), mel[None])
        torch.set_num_threads(3)
        shared = condition_whole(Conditioner(model.network), mel[None])
        assert torch.get_num_threads() == 3
        assert run_single_threaded(torch.get_num_threads).result() == 1
    finally:
        torch.set_num_threads(before)
    for name in PARTS:
        assert torch.equal(getattr(alone, name), getattr(shared, name))


def test_a_call_out_of_a_single_thread_does_not_wait_for_a_free_one() -> None:
    def nested(depth: int) -> int:
        return depth if depth == 8 else run_single_threaded(nested, depth + 1).result()

    assert run_single_threaded(nested, 0).result(timeout=30) == 8


def test_a_thread_for_which_there_was_no_room_is_begun_again_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("can't start new thread")

    single_thread._pool.cache_clear()
    with monkeypatch.context() as change:
        change.setattr(single_thread, "_settle", fail)
        with pytest.raises(RuntimeError, match="thread initializer failed") as error:
            run_single_threaded(torch.get_num_threads).result()
    assert has_run_out(error.value)
    assert run_single_threaded(torch.get_num_threads).result() == 1


# --- time


def test_no_more_streams_are_at_work_at_once_than_there_are_cores(
    model: Vocoder, mel: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, at_work, most = Stream._make, [], []

    def watched(self: Stream, *args: Any, **kwargs: Any) -> Tensor:
        at_work.append(self)
        most.append(len(at_work))
        try:
            time.sleep(0.01)  # long enough for the others to begin, if they may
            return make(self, *args, **kwargs)
        finally:
            at_work.remove(self)

    monkeypatch.setattr(Stream, "_make", watched)
    streams = [model.stream() for _ in range(3 * physical_cores())]
    with ThreadPoolExecutor(len(streams)) as pool:
        made = list(pool.map(lambda stream: stream.push(mel), streams))
    assert max(most) <= physical_cores()
    assert all(torch.equal(one, made[0]) for one in made)


def test_the_samples_of_a_chunk_lag_by_the_latency_that_is_declared(model: Vocoder, mel: Tensor) -> None:
    stream, made, seen = model.stream(), 0, 0
    for chunk in cut(mel, [1, 4]):
        seen, made = seen + chunk.shape[-1], made + len(stream.push(chunk))
        lag = max(0, seen * model.hop_length - made)
        assert lag == min(seen * model.hop_length, round(stream.latency * model.sample_rate))
    assert stream.latency == model.latency == model.config.network.margin_frames * 16 / 8000
    assert made + len(stream.flush()) == FRAMES * model.hop_length


@pytest.mark.parametrize("passes", [1, 2, 4])
def test_a_correction_lags_by_what_is_declared_too(mel: Tensor, passes: int) -> None:
    config = tiny_config()
    model = Vocoder(replace(config, sampling=SamplingConfig(correction_passes=passes)), tiny_network(config))
    stream, made = model.stream(), 0
    for seen, frame in enumerate(mel.split(1, dim=1), 1):
        made += len(stream.push(frame))
        assert seen * 16 - made == min(seen * 16, round(stream.latency * 8000))
    assert stream.latency == model.latency
    assert made + len(stream.flush()) == FRAMES * 16
    assert model.stream(correction_passes=0).latency == config.network.margin_frames * 16 / 8000


def test_a_chunk_may_be_empty_and_a_stream_without_frames_is_silence_of_no_length(model: Vocoder, mel: Tensor) -> None:
    stream = model.stream()
    assert stream.push(mel[:, :0]).shape == (0,)
    assert stream.flush().shape == (0,)


# --- side by side


def test_streams_of_one_model_do_not_disturb_each_other(model: Vocoder, mel: Tensor) -> None:
    streams = [model.stream(seed=seed, utterance=seed) for seed in range(3)]
    made: list[list[Tensor]] = [[], [], []]
    for chunk in cut(mel, [9]):
        for pieces, stream in zip(made, streams, strict=True):
            pieces.append(stream.push(chunk))
    for seed, (pieces, stream) in enumerate(zip(made, streams, strict=True)):
        assert torch.equal(torch.cat([*pieces, stream.flush()]), model.infer(mel, seed=seed, utterance=seed))


def test_streams_run_in_threads_at_once(model: Vocoder, mel: Tensor) -> None:
    made: dict[int, Tensor] = {}

    def run(seed: int) -> None:
        made[seed] = join(model.stream(seed=seed).over(cut(mel, [5])))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        assert torch.equal(made[seed], model.infer(mel, seed=seed))


def test_asyncio_goes_on_while_samples_are_made(model: Vocoder, mel: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, release = threading.Event(), threading.Event()
    advance = Stream._advance

    def slowly(self: Stream, mel: Tensor, *, last: bool) -> Tensor:
        entered.set()
        assert release.wait(10), "the loop stood still while samples were made"
        return advance(self, mel, last=last)

    monkeypatch.setattr(Stream, "_advance", slowly)

    async def frames() -> AsyncIterator[Tensor]:
        for chunk in cut(mel, [10]):
            yield chunk

    async def let_go() -> None:
        while not entered.is_set():
            await asyncio.sleep(0.001)
        release.set()

    async def main() -> Tensor:
        task = asyncio.create_task(let_go())
        pieces = [waveform async for waveform in model.stream().over_async(frames())]
        await task
        return torch.cat(pieces)

    assert torch.equal(asyncio.run(main()), model.infer(mel))


def test_asyncio_takes_a_plain_iterable_and_goes_on_while_it_thinks(model: Vocoder, mel: Tensor) -> None:
    release = threading.Event()

    def frames() -> Iterator[Tensor]:
        for chunk in cut(mel, [10]):
            assert release.wait(10), "the loop stood still while a chunk was made"
            yield chunk

    async def let_go() -> None:
        await asyncio.sleep(0.001)
        release.set()

    async def main() -> list[Tensor]:
        task = asyncio.create_task(let_go())
        made = [torch.cat([waveform async for waveform in model.stream().over_async(frames())])]
        await task
        whole = [torch.cat([waveform async for waveform in model.stream().over_async([mel])])]
        return made + whole

    for waveform in asyncio.run(main()):
        assert torch.equal(waveform, model.infer(mel))


@pytest.mark.parametrize("after", ["push", "flush"])
def test_a_stream_that_was_cancelled_while_it_made_samples_says_that_they_are_lost(
    model: Vocoder, mel: Tensor, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = threading.Event(), threading.Event()
    advance = Stream._advance

    def slowly(self: Stream, mel: Tensor, *, last: bool) -> Tensor:
        entered.set()
        assert release.wait(10)
        return advance(self, mel, last=last)

    monkeypatch.setattr(Stream, "_advance", slowly)
    stream = model.stream()

    async def main() -> None:
        task = asyncio.ensure_future(anext(stream.over_async([mel])))
        while not entered.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()

    asyncio.run(main())
    with pytest.raises(ValueError, match=r"was cancelled while it made samples, which are lost\. Make another"):
        stream.push(mel) if after == "push" else stream.flush()


# --- what cannot follow


def test_flushed_within_its_block_a_stream_is_whole(model: Vocoder, mel: Tensor) -> None:
    with model.stream() as stream:
        made = [stream.push(mel), stream.flush()]
    assert torch.equal(torch.cat(made), model.infer(mel))
    with pytest.raises(ValueError, match="this one has been flushed"), stream:
        pass


def test_after_its_block_a_stream_is_over_flushed_or_not(model: Vocoder, mel: Tensor) -> None:
    with model.stream() as stream:
        stream.push(mel)
    for call in (lambda: stream.push(mel), stream.flush):
        with pytest.raises(ValueError, match=r"this one has ended with its block\. Make another"):
            call()


def test_an_error_leaves_the_block_as_it_is(model: Vocoder, mel: Tensor) -> None:
    def speak() -> None:
        with model.stream() as stream:
            stream.push(mel)
            raise KeyError("hung up")

    with pytest.raises(KeyError, match="hung up"):
        speak()


def test_after_flush_nothing_follows(model: Vocoder, mel: Tensor) -> None:
    stream = model.stream()
    stream.push(mel)
    stream.flush()
    for call in (lambda: stream.push(mel), stream.flush):
        with pytest.raises(ValueError, match=r"this one has been flushed\. Make another"):
            call()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e4])
def test_a_broken_frame_is_named_and_the_stream_goes_on_without_it(model: Vocoder, mel: Tensor, value: float) -> None:
    stream = model.stream()
    first = stream.push(mel[:, :12])
    broken = mel[:, 12:20].clone()
    broken[3, 5] = value
    with pytest.raises(ValueError, match="frame 17 of the stream"):
        stream.push(broken)
    rest = [stream.push(mel[:, 12:]), stream.flush()]
    assert torch.equal(torch.cat([first, *rest]), model.infer(mel))


def test_an_interrupted_stream_says_so_instead_of_going_on_wrongly(
    model: Vocoder, mel: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    stream = model.stream()
    stream.push(mel[:, :12])
    with monkeypatch.context() as patch:
        patch.setattr(Stream, "_generate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            stream.push(mel[:, 12:])
    with pytest.raises(ValueError, match=r"was interrupted\. Make another"):
        stream.flush()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mel: torch.stack([mel, mel]), "is a batch of 2. Make a stream for each"),
        (lambda mel: mel.T, "time-first"),
        (lambda mel: mel[:5], "but has"),
        (lambda mel: mel[0], "Pass mel\\[None\\]"),
    ],
)
def test_a_chunk_of_another_shape_is_refused(model: Vocoder, mel: Tensor, change: Any, message: str) -> None:
    stream = model.stream()
    with pytest.raises(ValueError, match=message):
        stream.push(change(mel))
    assert torch.equal(torch.cat([stream.push(mel), stream.flush()]), model.infer(mel))


def test_what_looks_like_another_dialect_is_warned_of_once_when_enough_has_come(model: Vocoder) -> None:
    stream, enough = model.stream(), look_frames(model.mel)
    loud = torch.full((8, enough // 2 + 1), 12.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream._advance = lambda mel, *, last: torch.empty(0)  # type: ignore[method-assign]  # none of it need be heard
        stream.push(loud)
    with pytest.warns(UserWarning, match="looks like another dialect") as caught:
        stream.push(loud)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.push(loud)
        stream.flush()


def test_a_short_stream_is_looked_at_when_it_ends(model: Vocoder) -> None:
    stream = model.stream()
    stream.push(torch.full((8, 4), 12.0))
    with pytest.warns(UserWarning, match="looks like another dialect"):
        stream.flush()


def test_where_torch_makes_doubles_by_default_a_stream_is_the_whole_as_well(model: Vocoder, mel: Tensor) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(join(model.stream().over(cut(mel, [10]))), model.infer(mel))
    finally:
        torch.set_default_dtype(torch.float32)
