"""Muon and AdamW are what torch has of that name; one optimizer of both goes on from its state to the last bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from vocoder.training.optimizer import MuonAdamW, orthogonalise

SHAPES = [(16, 16), (24, 8), (8, 24), (24, 8)]


def random_parameters(shapes: list[tuple[int, ...]]) -> list[Tensor]:
    return [torch.randn(shape).requires_grad_() for shape in shapes]


def step_with_gradients(optimizer: torch.optim.Optimizer, parameters: list[Tensor], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator)
    optimizer.step()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (24, 16)])
def test_an_update_has_singular_values_near_one_and_the_gradients_singular_vectors(shape, dtype):
    matrices = torch.randn(3, *shape)
    made = orthogonalise(matrices, dtype)
    for matrix, update in zip(matrices.double(), made.double(), strict=True):
        values = torch.linalg.svdvals(update)
        assert 0.66 < float(values.min()) <= float(values.max()) < 1.22
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        turned = u.mT @ update @ v.mT
        # What the polynomial leaves is diagonal, but for bfloat16's eight bits through five iterations.
        off = turned - turned.diagonal().diag()
        assert float(off.abs().max()) < (0.05 if dtype == torch.bfloat16 else 1e-4)


def test_a_gradient_of_zeros_moves_nothing():
    assert not orthogonalise(torch.zeros(1, 4, 6)).any()


def test_muon_is_torchs_but_for_digits():
    """Torch iterates in bfloat16, matrix by matrix; in float32 ours differs from it by these digits."""
    for dtype, tolerance in ((torch.bfloat16, 0.02), (torch.float32, 0.05)):
        ours = random_parameters(SHAPES)
        theirs = copy.deepcopy(ours)
        optimizer = MuonAdamW([{"params": ours, "muon": True, "lr": 0.1, "weight_decay": 0.3}], dtype)
        judge = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.3, momentum=0.95, adjust_lr_fn="original")
        begun = [p.detach().clone() for p in ours]
        for step in range(5):
            step_with_gradients(optimizer, ours, step)
            step_with_gradients(judge, theirs, step)
        for p, q, before in zip(ours, theirs, begun, strict=True):
            moved = float((q - before).detach().norm())
            assert float((p - q).detach().norm()) < tolerance * moved


def test_adamw_is_torchs():
    ours = random_parameters([(4, 3), (5,), (2, 3, 4)])
    theirs = copy.deepcopy(ours)
    optimizer = MuonAdamW([{"params": ours, "lr": 0.1, "weight_decay": 0.3}])
    judge = torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.3, betas=(0.9, 0.99))
    for step in range(5):
        step_with_gradients(optimizer, ours, step)
        step_with_gradients(judge, theirs, step)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def make(parameters: list[Tensor]) -> MuonAdamW:
    return MuonAdamW([{"params": parameters[:4], "muon": True, "lr": 0.02}, {"params": parameters[4:], "lr": 0.01}])


def test_a_restored_state_goes_on_to_the_last_bit(tmp_path):
    straight = random_parameters([*SHAPES, (7,), (3, 2, 2)])
    optimizer = make(straight)
    for step in range(3):
        step_with_gradients(optimizer, straight, step)
    torch.save([optimizer.state_dict(), straight], tmp_path / "state")
    state, resumed = torch.load(tmp_path / "state", weights_only=True)
    other = make(resumed)
    other.load_state_dict(state)
    for step in range(3, 6):
        step_with_gradients(optimizer, straight, step)
        step_with_gradients(other, resumed, step)
    assert all(torch.equal(p, q) for p, q in zip(straight, resumed, strict=True))


def test_a_weight_without_gradient_stays():
    parameters = random_parameters([*SHAPES, (7,)])
    optimizer, before = make(parameters), [p.detach().clone() for p in parameters]
    for index in (0, 2):
        parameters[index].grad = torch.randn(parameters[index].shape)
    optimizer.step()
    stayed = [torch.equal(p, q) for p, q in zip(parameters, before, strict=True)]
    assert stayed == [False, True, False, True, True]


def test_muon_is_for_matrices():
    with pytest.raises(ValueError, match=r"given \[\(7,\)\]\. Leave these to AdamW"):
        MuonAdamW([{"params": random_parameters([(3, 3), (7,)]), "muon": True}])
