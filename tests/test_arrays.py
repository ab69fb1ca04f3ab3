"""Arrays in files claim no memory that is not theirs, and no number that is not there."""

from __future__ import annotations

import io
import pickle
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import tiny_mel_config
from vocoder.cli.inputs import read_mel
from vocoder.features import arrays
from vocoder.features.arrays import about_storage, read_array, read_arrays

MEL = np.linspace(-8, 1, 8 * 5, dtype=np.float32).reshape(8, 5)


def as_npy(array: np.ndarray, **header: bytes) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    content = file.getvalue()
    for before, after in header.items():
        content = content.replace(before.encode(), after)
    return content


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2", ">f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_comes_back_in_this_machines_order_of_bytes(dtype: str, order: Any) -> None:
    content = as_npy(np.asarray(MEL, dtype=dtype, order=order))
    array = read_array(io.BytesIO(content), len(content))
    assert array.dtype.isnative
    assert np.array_equal(array, MEL.astype(dtype))


@pytest.mark.parametrize("name", ["mel.npy", "mel.npz"])
def test_a_mel_of_the_other_order_of_bytes_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    (np.savez if path.suffix == ".npz" else np.save)(path, MEL.astype(">f4"))
    assert np.array_equal(read_mel(path, tiny_mel_config()).numpy(), MEL)


@pytest.mark.parametrize("shape", ["(10**12,)", "(9**9, 9**9, 9**9)", "(8, 6)", "(-8, -5)", "(8, 4)", "((((", "(1.5,)"])
def test_a_header_that_claims_another_size_is_refused_before_any_memory_is_taken(shape: str) -> None:
    for claim in (shape, shape.replace("10**12", "1000000000000").replace("9**9", "387420489")):
        content = as_npy(MEL).replace(b"(8, 5)", claim.encode())
        with pytest.raises(ValueError, match=r"its header (is damaged|says an array of)"):
            read_array(io.BytesIO(content), len(content))


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "mel.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="it holds pickled objects, which would run code"):
        read_arrays(tmp_path / "mel.npy")


def test_an_archive_of_zeros_is_not_unpacked_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MOST_UNPACKED_BYTES", 2**25)
    path, header = tmp_path / "bomb.npz", as_npy(np.zeros((80, 0), "f4"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("mel.npy", "w") as member:
        member.write(header)
        member.write(bytes(2**25))
    assert path.stat().st_size < 2**16
    with pytest.raises(ValueError, match=r"bomb\.npz: .* bytes when unpacked, more than"):
        read_mel(path, tiny_mel_config())


def test_an_archive_that_says_less_than_it_holds_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "mel.npz"
    np.savez_compressed(path, mel=np.zeros((8, 10_000), "f4"))
    size = len(as_npy(np.zeros((8, 10_000), "f4"))).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises(ValueError, match=r"mel\.npz: it holds no array, or is damaged"):
        read_mel(path, tiny_mel_config())


STRANGE = {
    "expanded": (lambda: torch.zeros(1).expand(8, 10**12), "expanded: it has fewer numbers"),
    "meta": (lambda: torch.empty(8, 5, device="meta"), "without numbers, on the device meta"),
    "sparse": (lambda: torch.zeros(8, 5).to_sparse(), "no plain tensor|is damaged"),
    "list": (lambda: [1.0], "a list"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_tensor_without_numbers_of_its_own_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    make, message = STRANGE[kind]
    torch.save(make(), tmp_path / "mel.pt")
    started = time.monotonic()
    with pytest.raises(ValueError, match=rf"mel\.pt: .*{message}"):
        read_mel(tmp_path / "mel.pt", tiny_mel_config())
    assert time.monotonic() - started < 5


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_tensor_is_no_plain_one() -> None:
    assert "nested" in about_storage(torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]))
    assert about_storage(torch.zeros(8, 5).T) == ""
    assert about_storage(pickle) == "a module"
