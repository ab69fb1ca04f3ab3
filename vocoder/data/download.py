"""Getting a corpus ready: fetching LJSpeech, and converting a folder to another sample rate. Both can be run again."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile
from urllib.error import URLError

from tqdm import tqdm

from vocoder.data.layouts import audio_files
from vocoder.features.audio import load_audio, save_audio

LJSPEECH_UTTERANCES = 13_100


def download_ljspeech(folder: Path) -> Path:
    """Fetch and unpack LJSpeech-1.1 (2.6 GB, public domain), with a progress bar; its checksum is verified.

    Args:
        folder: The folder that becomes the parent of `LJSpeech-1.1/`.

    Returns:
        The corpus' folder.

    Raises:
        OSError: It could not be fetched, or an earlier unpacking was interrupted.
    """
    from torchaudio.datasets import LJSPEECH

    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "LJSpeech-1.1"
    try:
        LJSPEECH(folder, download=True)
    except (URLError, TimeoutError, RuntimeError) as error:
        raise OSError(
            f"LJSpeech could not be fetched from data.keithito.com: {error}. Connect to the internet and try again, or "
            "get LJSpeech-1.1.tar.bz2 some other way, unpack it, and pass its folder with DATA=/path."
        ) from error
    if len(audio_files(corpus)) < LJSPEECH_UTTERANCES:  # torchaudio takes a folder half unpacked for the whole
        raise OSError(
            f"LJSpeech has {LJSPEECH_UTTERANCES} recordings, but {corpus} has {len(audio_files(corpus))}: an earlier "
            "unpacking was interrupted. Remove that folder and try again; the archive stays."
        )
    return corpus


def resample_folder(source: Path, target: Path, sample_rate: int) -> int:
    """Convert all audio below a folder to mono 16-bit FLAC of another rate, and copy the lists (`*.csv`) beside it.

    Args:
        source: The folder to convert; any folder.
        target: The same tree; files that are there already are left alone.
        sample_rate: The sample rate of the copies, in Hz.

    Returns:
        The number of files that were converted.

    Raises:
        ValueError: There is no audio, or a file is damaged.
    """
    audio = audio_files(source)
    if not audio:
        raise ValueError(f"{source} holds no audio to convert.")
    converted = 0
    for path in tqdm(audio, unit="file", desc=f"to {sample_rate} Hz"):
        output = (target / path.relative_to(source)).with_suffix(".flac")
        if not output.exists():
            output.parent.mkdir(parents=True, exist_ok=True)
            save_audio(output, load_audio(path, sample_rate), sample_rate)
            converted += 1
    for path in source.rglob("*.csv"):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)  # its folder may hold no audio
        copyfile(path, copy)
    return converted
