"""Conversions between what models predict, and the limits on the predicted clean sample."""

import math
import re

import pytest
import torch

from raccord.sampler import prediction

TRUTHS = {
    "epsilon": lambda x0, noise, alpha: noise,
    "sample": lambda x0, noise, alpha: x0,
    "v_prediction": lambda x0, noise, alpha: math.sqrt(alpha) * noise - math.sqrt(1 - alpha) * x0,
}


@pytest.mark.parametrize(
    ("kind", "alpha"),
    # epsilon at 0 is refused, see below
    [
        (kind, alpha)
        for kind in sorted(TRUTHS)
        for alpha in (0.0, 0.003, 0.5, 0.9999)
        if (kind, alpha) != ("epsilon", 0.0)
    ],
)
def test_conversion_recovers_what_the_sample_was_made_of(kind, alpha):
    for x0, noise in ((0.7, -1.3), (-2.0, 0.25)):
        x = math.sqrt(alpha) * x0 + math.sqrt(1 - alpha) * noise
        output = TRUTHS[kind](x0, noise, alpha)
        to_x0 = prediction.conversion(kind, alpha)
        # dividing by the smaller of sqrt(alpha) and sqrt(1 - alpha) (0.01 at the least) scales the rounding of x
        assert to_x0.original_sample * x + to_x0.original_output * output == pytest.approx(x0, abs=1e-13)
        assert to_x0.noise_sample * x + to_x0.noise_output * output == pytest.approx(noise, abs=1e-13)


def test_bad_input_is_told_what_is_wrong():
    message = "prediction_type must be one of epsilon, sample, v_prediction, got 'x0'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        prediction.conversion("x0", 0.5)
    message = (
        "prediction_type 'epsilon' has no clean sample at zero SNR (alpha_bar = 0), where it would divide by 0: use a"
        " model with 'v_prediction' or 'sample', or rescale_betas_zero_snr=False"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        prediction.conversion("epsilon", 0.0)


def test_clip_is_symmetric():
    values = torch.tensor([-3.0, -1.5, -0.2, 0.0, 1.4, 1.6, math.inf])
    assert prediction.clip(values, bound=1.5).tolist() == pytest.approx([-1.5, -1.5, -0.2, 0.0, 1.4, 1.5, 1.5])


@pytest.mark.parametrize("shape", [(2, 101), (2, 1, 101), (2, 101, 1, 1)])
def test_dynamic_threshold_takes_the_quantile_of_each_sample(shape):
    # |values| of sample 0 are 0.00, 0.02, ... 2.00, of sample 1 half of that: the 0.9 quantiles are 1.8 and 0.9
    ramp = torch.linspace(0, 2, 101, dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(51)[:101]
    original = torch.stack([ramp * signs, ramp * signs / 2]).reshape(shape)
    ours = prediction.dynamic_threshold(original, ratio=0.9, maximum=5.0)
    assert ours.shape == shape
    first, second = ours.reshape(2, 101)
    assert torch.allclose(first, (ramp * signs).clamp(-1.8, 1.8) / 1.8, rtol=1e-14, atol=0)
    # a threshold is never below 1, so a sample inside the unit range stays as it is
    assert torch.equal(second, ramp * signs / 2)
    capped = prediction.dynamic_threshold(original, ratio=0.9, maximum=1.5).reshape(2, 101)[0]
    assert torch.allclose(capped, (ramp * signs).clamp(-1.5, 1.5) / 1.5, rtol=1e-14, atol=0)
    # a maximum below 1 wins over the lower limit, as in diffusers
    assert prediction.dynamic_threshold(original, ratio=0.9, maximum=0.5).abs().max() == 1.0


def test_dynamic_threshold_of_a_single_sound_is_over_all_of_it():
    # |values| are 0, 0.02, 0.02, 0.04, 0.04 ... 2, 2: the 0.9 quantile is 1.8
    sound = torch.linspace(-2, 2, 201, dtype=torch.float64)
    ours = prediction.dynamic_threshold(sound, ratio=0.9, maximum=5.0)
    assert torch.allclose(ours, sound.clamp(-1.8, 1.8) / 1.8, rtol=1e-14, atol=0)
