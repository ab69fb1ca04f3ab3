from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vocoder.config import MelConfig
from vocoder.features.conversion import convert_mel
from vocoder.features.statistics import with_statistics

BASE = MelConfig(n_mels=4, log="log10", shift=(1.0, 2.0, 3.0, 4.0), scale=2.0)
MEAN, SCALE = np.array([-1.0, -2.0, -3.0, -4.0]), np.array([0.5, 1.0, 2.0, 4.0])
MEL = np.random.default_rng(0).normal(-2, 1, (4, 6))


def normalised_by(stats: Any) -> NDArray[Any]:
    return convert_mel(MEL, BASE, with_statistics(BASE, stats)).numpy()


def save_npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "stats.npz", **arrays)
    return folder / "stats.npz"


def save_json(folder: Path, **values: Any) -> Path:
    path = folder / "stats.json"
    path.write_text(json.dumps({name: np.asarray(value).tolist() for name, value in values.items()}))
    return path


def save_npy(folder: Path, array: Any) -> Path:
    np.save(folder / "stats.npy", array)
    return folder / "stats.npy"


def save_hdf5(folder: Path, **arrays: Any) -> Path:
    with h5py.File(folder / "stats.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return folder / "stats.h5"


def espnet(folder: Path, save: Any = save_npz) -> Path:
    """As ESPnet collects them: sums over the frames of a corpus, with this mean and deviation."""
    frames = np.random.default_rng(1).normal(size=(1000, 4))
    frames = (frames - frames.mean(axis=0)) / frames.std(axis=0) * SCALE + MEAN
    return save(folder, count=np.array(1000), sum=frames.sum(axis=0), sum_square=(frames**2).sum(axis=0))


FORMS = {
    "numbers for each band": lambda folder: (MEAN, SCALE),
    "lists": lambda folder: (MEAN.tolist(), SCALE.tolist()),
    "tensors": lambda folder: (torch.from_numpy(MEAN), torch.from_numpy(SCALE)[None]),
    "npz": lambda folder: save_npz(folder, mean=MEAN, scale=SCALE),
    "npz, std": lambda folder: save_npz(folder, mean=MEAN, std=SCALE),
    "npz, var": lambda folder: save_npz(folder, mean=MEAN, var=SCALE**2),
    "ESPnet": espnet,
    "ESPnet, json": lambda folder: espnet(folder, save_json),
    "npy": lambda folder: save_npy(folder, np.stack([MEAN, SCALE])),
    "h5": lambda folder: save_hdf5(folder, mean=MEAN, scale=SCALE),
    "json": lambda folder: save_json(folder, mean=MEAN, std=SCALE),
    "a path as a string": lambda folder: str(save_json(folder, mean=MEAN, scale=SCALE)),
}


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS.keys())
def test_a_mel_less_its_mean_in_units_of_its_scale_whatever_they_come_in(make: Any, tmp_path: Path) -> None:
    expected = (MEL - MEAN[:, None]) / SCALE[:, None]
    np.testing.assert_allclose(normalised_by(make(tmp_path)), expected, rtol=1e-6, atol=1e-6)


def test_one_number_serves_all_bands() -> None:
    np.testing.assert_allclose(normalised_by((-5.5, 2.1)), (MEL + 5.5) / 2.1, rtol=1e-6, atol=1e-6)


def test_statistics_of_statistics_are_their_composition() -> None:
    twice = with_statistics(with_statistics(BASE, (MEAN, SCALE)), (3.0, 0.5))
    expected = ((MEL - MEAN[:, None]) / SCALE[:, None] - 3.0) / 0.5
    np.testing.assert_allclose(convert_mel(MEL, BASE, twice).numpy(), expected, rtol=1e-6, atol=1e-6)


def test_the_range_to_which_a_dialect_is_clipped_moves_along() -> None:
    clipped = MelConfig(clip=(-4.0, 4.0))
    assert with_statistics(clipped, (2.0, 2.0)).clip == (-3.0, 1.0)
    with pytest.raises(ValueError, match=r"clipped, to \(-4.0, 4.0\), can be normalised by one mean and one scale"):
        with_statistics(clipped, ([2.0] * 80, 2.0))


@pytest.mark.parametrize(
    ("stats", "message"),
    [
        (([1.0] * 80, 1.0), r"mean in `stats` must be one number, or 4, one for each band, but has shape \(80,\)"),
        ((MEAN, [1.0, 1.0, 0.0, 1.0]), r"scale in `stats` must be positive, but holds 0\. Leave silent bands at 1"),
        ((MEAN, -1.0), "must be positive, but holds -1"),
        ((float("nan"), 1.0), "mean in `stats` must be finite"),
        ((0.0, [1.0, 1.0, np.inf, 1.0]), "scale in `stats` must be finite"),
        (("-5.5", "two"), "its scale is 'two'. Pass numbers"),
        ((1.0, 2.0, 3.0), r"must be \(mean, scale\), .* but is \(1.0, 2.0, 3.0\)"),
        (7, r"must be \(mean, scale\)"),
    ],
)
def test_numbers_that_cannot_be_statistics_are_refused(stats: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_statistics(BASE, stats)


def test_a_pickle_is_refused_with_the_line_that_converts_it(tmp_path: Path) -> None:
    path = tmp_path / "meanvar.joblib"
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(
        ValueError, match=r"would run code when read.*joblib\.load\('.*meanvar\.joblib'\); numpy\.savez"
    ):
        with_statistics(BASE, path)
    hidden = save_npz(tmp_path, mean=np.array([{}], dtype=object), scale=SCALE)
    with pytest.raises(ValueError, match=r"stats\.npz cannot be read: it holds pickled objects, which would run code"):
        with_statistics(BASE, hidden)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: save_npz(folder, mean=MEAN, sum=MEAN), "must hold mean and scale.* but holds mean, sum"),
        (lambda folder: save_npy(folder, np.zeros((3, 4))), r"\(2, n_mels\) or \(2,\), but has shape \(3, 4\)"),
        (lambda folder: save_hdf5(folder, mean=MEAN), "must hold mean and scale.* but holds mean"),
        (lambda folder: save_json(folder), "but holds nothing"),
    ],
)
def test_a_file_that_lacks_an_entry_is_refused(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        with_statistics(BASE, make(tmp_path))


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".h5", ".json"])
def test_a_damaged_file_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"stats{suffix}"
    for content in (b"", b"\x00\x01damaged"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"stats\{suffix} cannot be read: .* Is it damaged\?"):
            with_statistics(BASE, path)


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*stats\.npz"):
        with_statistics(BASE, tmp_path / "stats.npz")
    (tmp_path / "stats.txt").touch()
    with pytest.raises(ValueError, match=r"read from \.npz, \.npy, .* but .*stats\.txt is none"):
        with_statistics(BASE, tmp_path / "stats.txt")
