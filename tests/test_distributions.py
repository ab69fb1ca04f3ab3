from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
import torchaudio
from torch import Tensor

import reference
from vocoder.config import DistributionConfig
from vocoder.constants import LEVELS
from vocoder.model.distributions import (
    HIGHEST,
    Gaussian,
    MixtureOfLogistics,
    MuLawCategorical,
    OutputDistribution,
    build_distribution,
)

ALL_LEVELS = torch.arange(-LEVELS, LEVELS) / LEVELS
FAMILIES = {"mixture_of_logistics": MixtureOfLogistics, "gaussian": Gaussian}
continuous = pytest.mark.parametrize("family", FAMILIES)

# (location, scale) of each component.
MIXTURES = {
    "speech": [(0.1, 0.003), (-0.2, 0.02), (0.0, 0.1)],
    "certain": [(0.25, 1e-6)],
    "between two levels": [(0.25 + 0.5 / LEVELS, 1e-5)],
    "one level wide": [(0.0, 1 / LEVELS)],
    "narrow and wide": [(0.5, 1e-6), (-0.3, 3.0)],
    "wider than the range": [(0.0, 100.0)],
    "at the edges": [(-1.0, 0.01), (1.0, 0.001)],
    "off the edges": [(-3.0, 0.1), (1.5, 0.01)],
}
mixtures = pytest.mark.parametrize("components", MIXTURES.values(), ids=MIXTURES.keys())


def mixture_parameters(components: list[tuple[float, float]]) -> Tensor:
    """[logits, locations, log-scales]; the logits differ, and need not be normalised."""
    location, scale = zip(*components, strict=True)
    return torch.tensor([*np.linspace(1.0, 2.0, len(components)), *location, *np.log(scale)], dtype=torch.float32)


def uniforms(count: int) -> Tensor:
    return torch.from_numpy(np.random.Generator(np.random.Philox(key=1)).random((count, 2)).clip(1e-12, 1 - 1e-12))


def draw(distribution: OutputDistribution, parameters: Tensor, count: int, temperature: float = 1.0) -> Tensor:
    noise = distribution.map_noise(uniforms(count))
    return distribution.sample(parameters.expand(count, -1), noise, temperature)


def chi_square_p(drawn_levels: Tensor, mass: Tensor) -> float:
    """Probability of a misfit at least this large if the draws follow `mass`; levels are joined to bins of 1 %."""
    counts = torch.bincount(drawn_levels, minlength=len(mass)).double()
    bins = (mass.double().cumsum(0) * 100).floor().clamp(max=99).long()
    observed = torch.zeros(100, dtype=torch.float64).index_add_(0, bins, counts)
    expected = torch.zeros(100, dtype=torch.float64).index_add_(0, bins, mass.double()) * len(drawn_levels)
    keep = expected > 5
    assert observed[~keep].sum() <= 5
    observed, expected = observed[keep], expected[keep]
    return float(scipy.stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue)


# --- continuous laws


@continuous
@mixtures
def test_the_mass_of_all_levels_sums_to_one(family: str, components: list[tuple[float, float]]) -> None:
    distribution = FAMILIES[family](len(components))
    log_prob = distribution.log_prob(mixture_parameters(components).expand(2 * LEVELS, -1), ALL_LEVELS)
    assert log_prob.max() <= 1e-6
    # float32 keeps a log-mass near -11 to 1e-6; the sum of 65 536 such masses to the same relative error.
    assert log_prob.double().exp().sum() == pytest.approx(1.0, abs=1e-4)


@continuous
@mixtures
def test_log_prob_equals_scipys(family: str, components: list[tuple[float, float]]) -> None:
    parameters = mixture_parameters(components)
    waveform = torch.cat([ALL_LEVELS[:3], ALL_LEVELS[::997], ALL_LEVELS[-3:]])
    waveform = torch.cat([waveform, *(location + torch.arange(-3, 4) / LEVELS for location, _ in components)])
    ours = FAMILIES[family](len(components)).log_prob(parameters.expand(len(waveform), -1), waveform)
    rows = np.tile(parameters.double().numpy(), (len(waveform), 1))
    expected = reference.log_prob(family, rows, waveform.numpy())
    # In float32 the distance to a narrow component, in its scales, is known to 6e-8 / 1e-6, so its log-mass to some
    # percent of a nat; far out in its tails, where the mass is e^-1000 and less, to the same share of that.
    narrow = min(scale for _, scale in components) < 1e-4
    np.testing.assert_allclose(ours.double().numpy(), expected, rtol=1e-3, atol=0.1 if narrow else 2e-4)


@continuous
def test_a_mixture_of_one_is_the_law_itself(family: str) -> None:
    # A Gaussian's density at its centre, times a level's width; a logistic's is 1 / (4 scale).
    scale = 0.05
    density = {"gaussian": 1 / (scale * math.sqrt(2 * math.pi)), "mixture_of_logistics": 1 / (4 * scale)}[family]
    log_prob = FAMILIES[family](1).log_prob(mixture_parameters([(0.0, scale)]), torch.tensor(0.0))
    assert log_prob.item() == pytest.approx(math.log(density / LEVELS), abs=1e-4)


@continuous
def test_values_between_levels_count_as_the_nearest(family: str) -> None:
    distribution, parameters = FAMILIES[family](1), mixture_parameters([(0.0, 0.01)])
    for nearby in (0.4, -0.4):
        assert distribution.log_prob(parameters, torch.tensor((100 + nearby) / LEVELS)) == distribution.log_prob(
            parameters, torch.tensor(100 / LEVELS)
        )


@continuous
@pytest.mark.parametrize("beyond", [1.0, 1.5])
def test_full_scale_counts_as_the_last_level(family: str, beyond: float) -> None:
    distribution, parameters = FAMILIES[family](1), mixture_parameters([(0.9, 0.1)])
    full_scale, last = torch.tensor(beyond), torch.tensor(HIGHEST)
    assert distribution.log_prob(parameters, full_scale) == distribution.log_prob(parameters, last)
    assert distribution.log_prob(parameters, -full_scale) == distribution.log_prob(parameters, torch.tensor(-1.0))


@continuous
@pytest.mark.parametrize(
    "components", [MIXTURES[name] for name in ("speech", "at the edges", "narrow and wide", "one level wide")]
)
def test_samples_follow_log_prob(family: str, components: list[tuple[float, float]]) -> None:
    distribution, parameters = FAMILIES[family](len(components)), mixture_parameters(components)
    mass = distribution.log_prob(parameters.expand(2 * LEVELS, -1), ALL_LEVELS).double().exp()
    drawn = draw(distribution, parameters, 100_000)
    assert chi_square_p((drawn * LEVELS).long() + LEVELS, mass) > 1e-3  # the noise is fixed: this never flickers


@continuous
@mixtures
def test_samples_lie_on_levels_and_in_range(family: str, components: list[tuple[float, float]]) -> None:
    drawn = draw(FAMILIES[family](len(components)), mixture_parameters(components), 1000)
    assert drawn.min() >= -1.0
    assert drawn.max() <= HIGHEST
    assert torch.equal(drawn * LEVELS, (drawn * LEVELS).round())


@continuous
@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.5])
def test_temperature_multiplies_the_spread(family: str, temperature: float) -> None:
    distribution, parameters = FAMILIES[family](1), mixture_parameters([(0.1, 0.01)])
    cool, usual = (draw(distribution, parameters, 1000, t).double() - 0.1 for t in (temperature, 1.0))
    inside = usual.abs() < 0.5
    torch.testing.assert_close(cool[inside], temperature * usual[inside], rtol=0, atol=2 / LEVELS)


@continuous
def test_temperature_leaves_the_choice_of_component_alone(family: str) -> None:
    distribution, parameters = FAMILIES[family](2), mixture_parameters([(-0.5, 0.01), (0.5, 0.01)])
    cool, usual = (draw(distribution, parameters, 1000, t) for t in (0.5, 1.0))
    assert torch.equal(cool > 0, usual > 0)


@continuous
def test_a_sample_is_a_function_of_its_own_noise(family: str) -> None:
    distribution, parameters = FAMILIES[family](3), mixture_parameters(MIXTURES["speech"]).expand(50, -1)
    noise = distribution.map_noise(uniforms(50))
    whole = distribution.sample(parameters, noise)
    assert torch.equal(whole[7:9], distribution.sample(parameters[7:9], noise[7:9]))


@continuous
def test_noise_is_the_laws_own_quantile(family: str) -> None:
    law = {"mixture_of_logistics": scipy.stats.logistic, "gaussian": scipy.stats.norm}[family]
    u = uniforms(1000)
    noise = FAMILIES[family](1).map_noise(u)
    assert noise.dtype == torch.float32
    np.testing.assert_allclose(noise[:, 0], u[:, 0], rtol=1e-6)
    np.testing.assert_allclose(noise[:, 1], law.ppf(u[:, 1].numpy()), rtol=1e-5, atol=1e-6)


@continuous
def test_place_is_the_law_of_location_plus_scale_times_y(family: str) -> None:
    distribution = FAMILIES[family](3)
    parameters = mixture_parameters([(0.3, 0.2), (-1.0, 0.5), (0.0, 1.0)]).repeat(200, 1)
    location, scale = torch.linspace(-0.5, 0.5, 200), torch.linspace(0.001, 0.1, 200)
    noise = distribution.map_noise(uniforms(200))
    # The same noise gives the same component and the same y, which is then moved: read y at a scale fine enough.
    tiny, free = 1e-3, torch.full((200,), math.inf)
    y = (
        distribution.sample(distribution.place(parameters, torch.zeros(200), torch.full((200,), tiny), free), noise)
        / tiny
    )
    placed = distribution.sample(distribution.place(parameters, location, scale, free), noise)
    inside = placed.abs() < 0.99
    error = (placed - (location + scale * y))[inside].abs()
    assert (error <= (0.51 + 0.51 * scale[inside] / tiny) / LEVELS).all()  # both were rounded to a level


@continuous
def test_no_law_is_placed_farther_or_wider_than_its_reach(family: str) -> None:
    distribution = FAMILIES[family](4)
    parameters = mixture_parameters([(3.0, 2.0), (-3.0, 0.2), (0.3, 5.0), (0.4, 0.5)])[None]
    within = mixture_parameters([(0.5, 0.5), (-0.5, 0.2), (0.3, 0.5), (0.4, 0.5)])[None]
    location, scale, reach, free = (torch.full((1,), number) for number in (0.1, 0.05, 0.5, math.inf))
    placed = distribution.place(parameters, location, scale, reach)
    torch.testing.assert_close(placed, distribution.place(within, location, scale, free))


@continuous
def test_place_moves_the_density_along(family: str) -> None:
    # Change of variables, by the reference: log p(x) with mean location + scale·m and log-scale + log scale.
    distribution, parameters = FAMILIES[family](2), mixture_parameters([(0.5, 1.0), (-1.0, 0.3)])
    waveform = torch.linspace(-0.3, 0.3, 50)
    location, scale, reach = (torch.full((50,), number) for number in (0.1, 0.05, math.inf))
    placed = distribution.place(parameters.expand(50, -1), location, scale, reach)
    expected = reference.log_prob(
        family, np.tile(mixture_parameters([(0.125, 0.05), (0.05, 0.015)]).double().numpy(), (50, 1)), waveform.numpy()
    )
    np.testing.assert_allclose(distribution.log_prob(placed, waveform), expected, rtol=1e-4, atol=1e-4)


def extreme_waveform(name: str) -> Tensor:
    time = torch.arange(64)
    return {
        "silence": torch.zeros(64),
        "plus one": torch.ones(64),
        "minus one": -torch.ones(64),
        "square wave": torch.where(time % 16 < 8, 1.0, -1.0),
        "square wave of 16 bits": torch.where(time % 2 == 0, HIGHEST, -1.0),
    }[name]


waveforms = pytest.mark.parametrize(
    "waveform", ["silence", "plus one", "minus one", "square wave", "square wave of 16 bits"]
)


@continuous
@waveforms
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extremes_stay_finite_in_value_and_gradient(family: str, waveform: str, dtype: torch.dtype) -> None:
    distribution = FAMILIES[family](2)
    grid = itertools.product((-50.0, 0.0), (-3.0, -1.0, 0.0, 1.0), (-50.0, math.log(1e-6), -10.0, -6.0, 0.0, 20.0))
    rows = [[logit, 0.0, place, 0.9, log_scale, -1.0] for logit, place, log_scale in grid]
    rows += [[0.0, 0.0, place, place, log_scale, log_scale] for place in (-3.0, 0.0) for log_scale in (-50.0, 20.0)]
    parameters = torch.tensor(rows, dtype=dtype)[:, None].repeat(1, 64, 1).requires_grad_()
    log_prob = distribution.log_prob(parameters, extreme_waveform(waveform).expand(len(rows), -1))
    assert log_prob.dtype == torch.float32
    assert log_prob.isfinite().all()
    assert log_prob.max() <= 1e-6
    log_prob.sum().backward()
    assert parameters.grad is not None
    assert parameters.grad.isfinite().all()


@continuous
@pytest.mark.parametrize("log_scale", [-13.5, -11.0, -8.0, -4.0, 0.0])
@pytest.mark.parametrize("distance", [0.0, 1e-4, 0.01, 0.3, 2.0])
def test_gradients_equal_those_in_float64(family: str, log_scale: float, distance: float) -> None:
    # Also thousands of scales away, where a network begins: there the gradient must still lead back.
    distribution = FAMILIES[family](1)
    parameters = torch.tensor([0.0, 0.25 - distance, log_scale], requires_grad=True)
    distribution.log_prob(parameters, torch.tensor(0.25)).backward()
    assert parameters.grad is not None
    exact = parameters.detach().double().numpy()
    for index in (1, 2):
        moved = np.tile(exact, (2, 1))
        step = 1e-6 * math.exp(log_scale) if index == 1 else 1e-6
        moved[:, index] += (-step, step)
        low, high = reference.log_prob(family, moved, np.array([0.25, 0.25]))
        slope = (high - low) / (moved[1, index] - moved[0, index])
        # The slope by differences loses digits with log_prob's size; a tenth is still a direction and a size.
        uncertainty = 1e-14 * abs(low) / step + 1e-3 / (math.exp(log_scale) if index == 1 else 1.0)
        assert parameters.grad[index].item() == pytest.approx(slope, rel=0.1, abs=uncertainty)


@continuous
def test_the_likelihood_of_data_is_highest_at_its_own_law(family: str) -> None:
    distribution, truth = FAMILIES[family](1), (0.1, 0.02)
    waveform = draw(distribution, mixture_parameters([truth]), 20_000)

    def mean(location: float, scale: float) -> float:
        return float(distribution.log_prob(mixture_parameters([(location, scale)]).expand(20_000, -1), waveform).mean())

    best = mean(*truth)
    for other in ((0.11, 0.02), (0.09, 0.02), (0.1, 0.023), (0.1, 0.017)):
        assert mean(*other) < best


# --- mu-law


@pytest.mark.parametrize("bits", [4, 8, 10])
def test_mu_law_equals_torchaudios(bits: int) -> None:
    distribution = MuLawCategorical(bits)
    waveform = torch.cat([ALL_LEVELS[::7], torch.tensor([-1.0, 0.0, HIGHEST, 1.0])])
    codes = torchaudio.functional.mu_law_encoding(waveform, 2**bits)
    # float32 rounds logarithms in two ways: a value on the border of two levels may fall either side.
    difference = (distribution.encode(waveform) - codes).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 1e-3
    every = torch.arange(2**bits)
    expected = torchaudio.functional.mu_law_decoding(every, 2**bits)
    torch.testing.assert_close(distribution.decode(every), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bits", [2, 4, 8, 12])
def test_a_mu_law_code_is_off_by_one_step_at_most(bits: int) -> None:
    distribution = MuLawCategorical(bits)
    steps = distribution.decode(torch.arange(2**bits)).diff()
    code = distribution.encode(ALL_LEVELS)
    assert code.min() == 0
    assert code.max() == 2**bits - 1
    step = torch.maximum(steps[(code - 1).clamp(min=0)], steps[code.clamp(max=2**bits - 2)])
    assert ((distribution.decode(code) - ALL_LEVELS).abs() <= step).all()


@pytest.mark.parametrize("bits", [2, 8, 12])
def test_a_decoded_level_encodes_to_itself(bits: int) -> None:
    distribution = MuLawCategorical(bits)
    every = torch.arange(2**bits)
    assert torch.equal(distribution.encode(distribution.decode(every)), every)


@pytest.mark.parametrize("bits", [4, 8])
def test_uniform_logits_cost_ln_of_the_number_of_levels(bits: int) -> None:
    distribution = MuLawCategorical(bits)
    waveform = torch.linspace(-1, HIGHEST, 100)
    log_prob = distribution.log_prob(torch.full((100, 2**bits), 3.0), waveform)
    torch.testing.assert_close(log_prob, torch.full((100,), -bits * math.log(2)))


def test_the_mass_of_all_mu_law_levels_sums_to_one() -> None:
    distribution = MuLawCategorical(8)
    logits = (5 * torch.randn(256)).expand(256, -1)
    log_prob = distribution.log_prob(logits, distribution.decode(torch.arange(256)))
    assert log_prob.double().exp().sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_mu_law_samples_follow_log_prob_at_every_temperature(temperature: float) -> None:
    # Temperature divides the logits: the law of logits / temperature.
    distribution, logits = MuLawCategorical(6), 2 * torch.randn(64)
    drawn = draw(distribution, logits, 50_000, temperature)
    assert chi_square_p(distribution.encode(drawn), torch.softmax(logits / temperature, dim=0)) > 1e-3


def test_mu_law_samples_lie_on_levels_and_in_range() -> None:
    distribution = MuLawCategorical(8)
    drawn = draw(distribution, torch.zeros(256), 1000)
    assert torch.isin(drawn, distribution.decode(torch.arange(256))).all()
    assert drawn.abs().max() <= 1


@waveforms
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mu_law_stays_finite_in_value_and_gradient(waveform: str, dtype: torch.dtype) -> None:
    parameters = (1000 * torch.randn(64, 256)).to(dtype).requires_grad_()
    log_prob = MuLawCategorical(8).log_prob(parameters, extreme_waveform(waveform))
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert parameters.grad is not None
    assert parameters.grad.isfinite().all()


def test_a_categorical_law_has_no_location() -> None:
    with pytest.raises(TypeError, match="MuLawCategorical has no location"):
        MuLawCategorical(8).place(torch.zeros(1, 256), torch.zeros(1), torch.ones(1), torch.ones(1))


@pytest.mark.parametrize(
    ("config", "kind", "num_parameters"),
    [
        (DistributionConfig("mixture_of_logistics", 10), MixtureOfLogistics, 30),
        (DistributionConfig(), Gaussian, 3),
        (DistributionConfig("gaussian", num_components=1), Gaussian, 3),
        (DistributionConfig("mu_law_categorical", bits=9), MuLawCategorical, 512),
    ],
)
def test_a_config_names_its_distribution(
    config: DistributionConfig, kind: type[OutputDistribution], num_parameters: int
) -> None:
    distribution = build_distribution(config)
    assert type(distribution) is kind
    assert distribution.num_parameters == num_parameters
