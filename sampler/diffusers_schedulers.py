"""`DDIMScheduler` and `DDPMScheduler` behind diffusers' scheduler contract (diffusers 0.42).

Drop-ins: same constructor options, attributes, methods, save and load. The arithmetic is `raccord.sampler.steps`
over float64 tables. Differences from diffusers, all on purpose:

- A DDIM step lands on the next scheduled timestep. diffusers steps to `t - num_train_timesteps // n`, which is another
  one for most `trailing` and `linspace` step counts; `previous_step="diffusers"` brings that back.
- `trailing` spacing has n timesteps for every n (diffusers: one too many, ending at -1, for n = 61, 103, 121...).
- epsilon prediction with zero terminal SNR is refused: its first step divides by zero.
- `variance_type="fixed_large_log"` works (diffusers takes the root of a negative logarithm).
- A step computes in float64 and rounds once to the sample's dtype, float16 and bfloat16 included.

Settings are read from `config` when they are used, because pipelines change it after construction. The host reads no
device scalar when `timestep` is an element of `timesteps`, as in `for t in scheduler.timesteps`.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin
from diffusers.utils.outputs import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from raccord.sampler import prediction, schedule, steps

BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"]
PredictionType = Literal["epsilon", "sample", "v_prediction"]
TimestepSpacing = Literal["leading", "trailing", "linspace"]
VarianceType = Literal["fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"]
Generators = torch.Generator | list[torch.Generator]


@dataclass
class SchedulerStepOutput(BaseOutput):
    """What `step` returns: the sample at the previous timestep, and the clean sample predicted on the way."""

    prev_sample: Tensor
    pred_original_sample: Tensor


class _TableScheduler(SchedulerMixin, ConfigMixin):
    """What the two schedulers share: tables, timesteps, and the forward process."""

    _compatibles = [scheduler.name for scheduler in KarrasDiffusionSchedulers]  # noqa: RUF012
    order = 1
    init_noise_sigma = 1.0

    if TYPE_CHECKING:
        # a dict with attribute access, made by register_to_config
        config: Any

    def _build_tables(self) -> None:
        config = self.config
        if config.trained_betas is not None:
            table = tuple(float(beta) for beta in config.trained_betas)
        else:
            table = schedule.betas(
                config.beta_schedule, length=config.num_train_timesteps, start=config.beta_start, end=config.beta_end
            )
        if config.rescale_betas_zero_snr:
            table = schedule.rescale_zero_terminal_snr(table)
        self.betas = torch.tensor(table, dtype=torch.float32)
        self.alphas = torch.tensor([1.0 - beta for beta in table], dtype=torch.float32)
        self._levels = schedule.alphas_cumprod(table)
        self._public_levels = torch.tensor(self._levels, dtype=torch.float32)
        self._zero_snr = table[-1] == 1.0
        self._device_roots: dict[tuple[torch.device, torch.dtype], Tensor] = {}
        self.num_inference_steps: int | None = None
        self.custom_timesteps = False
        self._set_timesteps(tuple(reversed(range(config.num_train_timesteps))), device=None)
        self._check_zero_snr()

    @property
    def alphas_cumprod(self) -> Tensor:
        """float32 [num_train_timesteps]. Steps read the float64 table behind it; assigning a new one replaces both."""
        return self._public_levels

    @alphas_cumprod.setter
    def alphas_cumprod(self, levels: Tensor) -> None:
        # moving the table to a device or back must not cost its float64 digits
        if not torch.equal(levels.cpu(), self._public_levels.cpu()):
            self._levels = tuple(levels.double().tolist())
            self._zero_snr = self._levels[-1] == 0.0
            self._device_roots.clear()
        self._public_levels = levels

    def _check_zero_snr(self) -> None:
        if self.config.prediction_type == "epsilon" and self._zero_snr:
            raise ValueError(
                "prediction_type='epsilon' cannot be used with zero terminal SNR (rescale_betas_zero_snr=True, or a"
                " last beta of 1): the first step would divide by sqrt(alphas_cumprod[-1]) = 0. Use a model trained"
                " with prediction_type='v_prediction' or 'sample', or set rescale_betas_zero_snr=False"
            )

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[int] | None = None,
    ) -> None:
        """Choose the timesteps of a run.

        Args:
            num_inference_steps: how many, spaced by `timestep_spacing`; 1..num_train_timesteps.
            device: where `self.timesteps` goes.
            timesteps: the timesteps themselves, strictly descending, instead of a number.

        Raises:
            ValueError: both or neither given, a value out of range, or a config that cannot be sampled from.
        """
        config = self.config
        self._check_zero_snr()
        if timesteps is not None and num_inference_steps is None:
            if config.get("previous_step") == "diffusers":
                raise ValueError(
                    "previous_step='diffusers' has a fixed stride and cannot follow custom timesteps; use"
                    " previous_step='scheduled'"
                )
            chosen = schedule.checked_timesteps(timesteps, train_steps=config.num_train_timesteps)
        elif num_inference_steps is not None and timesteps is None:
            chosen = schedule.spaced_timesteps(
                operator.index(num_inference_steps),
                train_steps=config.num_train_timesteps,
                spacing=config.timestep_spacing,
                offset=config.steps_offset,
            )
        else:
            raise ValueError(
                "set_timesteps takes exactly one of num_inference_steps and timesteps, got"
                f" num_inference_steps={num_inference_steps}, timesteps={timesteps}"
            )
        self.custom_timesteps = timesteps is not None
        self.num_inference_steps = len(chosen)
        self._set_timesteps(chosen, device=device)

    def _set_timesteps(self, chosen: tuple[int, ...], *, device: str | torch.device | None) -> None:
        self.timesteps = torch.tensor(chosen, dtype=torch.int64).to(device)
        self._listed = (self.timesteps, chosen)

    def _host_timesteps(self) -> tuple[int, ...]:
        tensor, listed = self._listed
        if tensor is not self.timesteps:
            listed = tuple(int(step) for step in self.timesteps.tolist())
            self._listed = (self.timesteps, listed)
        return listed

    def _host_timestep(self, timestep: int | float | Tensor) -> int:
        """`timestep` as an int, without a device read when it is an element (a view) of `self.timesteps`."""
        if isinstance(timestep, Tensor):
            if timestep.numel() != 1:
                raise ValueError(f"timestep must be one number, got a tensor of shape {tuple(timestep.shape)}")
            listed, home = self._host_timesteps(), self.timesteps
            if (
                timestep.dtype == home.dtype
                and timestep.device == home.device
                and home.is_contiguous()
                and timestep.untyped_storage().data_ptr() == home.untyped_storage().data_ptr()
            ):
                return listed[timestep.storage_offset() - home.storage_offset()]
        value = int(timestep)
        if value != timestep or not 0 <= value < len(self._levels):
            raise ValueError(f"timestep must be a whole number in 0..{len(self._levels) - 1}, got {timestep}")
        return value

    def previous_timestep(self, timestep: int | Tensor) -> int | Tensor:
        """The timestep a step from `timestep` lands on, -1 for the clean sample; an int for an int, else a tensor."""
        previous = self._previous(self._host_timestep(timestep))
        return torch.tensor(previous, device=timestep.device) if isinstance(timestep, Tensor) else previous

    def _previous(self, timestep: int) -> int:
        return schedule.previous_timestep(timestep, self._host_timesteps())

    def _level(self, timestep: int, final: float) -> float:
        return self._levels[timestep] if timestep >= 0 else final

    def _limit(self) -> steps.Limit | None:
        config = self.config
        if config.thresholding:
            return partial(
                prediction.dynamic_threshold, ratio=config.dynamic_thresholding_ratio, maximum=config.sample_max_value
            )
        return partial(prediction.clip, bound=config.clip_sample_range) if config.clip_sample else None

    def _bound(self) -> float | None:
        return self.config.clip_sample_range if self.config.clip_sample else None

    def scale_model_input(self, sample: Tensor, timestep: int | Tensor | None = None) -> Tensor:
        """The sample as it is: DDPM and DDIM do not scale the model's input."""
        return sample

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Forward process, `sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) e` (arXiv 2006.11239, eq. 4).

        Args:
            original_samples: x_0 [B, ...], floating.
            noise: e, same shape.
            timesteps: whole numbers [B] or [1], any device.

        Returns:
            x_t in x_0's shape and dtype.
        """
        signal, sigma = self._roots(timesteps, like=original_samples)
        noisy = original_samples.to(signal.dtype) * signal + noise.to(signal.dtype) * sigma
        return noisy.to(original_samples.dtype)

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Target of v-prediction, `sqrt(alpha_bar_t) e - sqrt(1 - alpha_bar_t) x_0`; arguments as `add_noise`."""
        signal, sigma = self._roots(timesteps, like=sample)
        return (noise.to(signal.dtype) * signal - sample.to(signal.dtype) * sigma).to(sample.dtype)

    def _roots(self, timesteps: Tensor, *, like: Tensor) -> tuple[Tensor, Tensor]:
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        table = self._device_roots.get((like.device, dtype))
        if table is None:
            rows = [[math.sqrt(level) for level in self._levels], [math.sqrt(1.0 - level) for level in self._levels]]
            table = torch.tensor(rows, dtype=dtype, device=like.device)
            self._device_roots[like.device, dtype] = table
        index = torch.as_tensor(timesteps).to(device=like.device, dtype=torch.int64).flatten()
        signal, sigma = table[:, index].reshape(2, -1, *(1,) * (like.ndim - 1))
        return signal, sigma

    def __len__(self) -> int:
        return self.config.num_train_timesteps


class DDIMScheduler(_TableScheduler):
    """DDIM (Song et al. 2021, arXiv 2010.02502) as a drop-in for `diffusers.DDIMScheduler`.

    Args:
        num_train_timesteps: T, the number of timesteps the model was trained with.
        beta_start, beta_end, beta_schedule: the noise schedule, see `raccord.sampler.schedule.betas`.
        trained_betas: the betas themselves, instead.
        clip_sample, clip_sample_range: limit the predicted clean sample to plus or minus the range.
        set_alpha_to_one: alpha_bar of the clean sample is 1; otherwise that of timestep 0.
        steps_offset: added to the timesteps of "leading" spacing.
        prediction_type: what the model predicts, see `raccord.sampler.prediction`.
        thresholding, dynamic_thresholding_ratio, sample_max_value: dynamic thresholding of the predicted clean
            sample, which goes before clipping.
        timestep_spacing: "leading", "trailing" or "linspace", see `raccord.sampler.schedule.spaced_timesteps`.
        rescale_betas_zero_snr: no signal at the last timestep (arXiv 2305.08891, algorithm 1).
        previous_step: where a step lands. "scheduled": on the next timestep of the run. "diffusers": on
            `t - num_train_timesteps // n`, as diffusers 0.42 does, for pictures made with it.
    """

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: BetaSchedule = "linear",
        trained_betas: np.ndarray | list[float] | None = None,
        clip_sample: bool = True,
        set_alpha_to_one: bool = True,
        steps_offset: int = 0,
        prediction_type: PredictionType = "epsilon",
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        clip_sample_range: float = 1.0,
        sample_max_value: float = 1.0,
        timestep_spacing: TimestepSpacing = "leading",
        rescale_betas_zero_snr: bool = False,
        previous_step: Literal["scheduled", "diffusers"] = "scheduled",
    ):
        if previous_step not in ("scheduled", "diffusers"):
            raise ValueError(f"previous_step must be 'scheduled' or 'diffusers', got {previous_step!r}")
        self._build_tables()
        self._final = 1.0 if set_alpha_to_one else self._levels[0]
        self.final_alpha_cumprod = torch.tensor(self._final)

    def _previous(self, timestep: int) -> int:
        if self.config.previous_step == "scheduled":
            return super()._previous(timestep)
        return timestep - self.config.num_train_timesteps // (self.num_inference_steps or 1)

    def _get_variance(self, timestep: int, prev_timestep: int) -> Tensor:
        """sigma^2 at eta 1 (arXiv 2010.02502, eq. 16), float32 scalar on the host."""
        alpha, alpha_prev = self._level(int(timestep), self._final), self._level(int(prev_timestep), self._final)
        return torch.tensor(steps.posterior_variance(alpha, alpha_prev), dtype=torch.float32)

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: Generators | None = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> SchedulerStepOutput | tuple[Tensor, Tensor]:
        """One step back in time, see `raccord.sampler.steps.ddim_step`.

        Args:
            model_output: what the model predicts at `timestep`, the sample's shape.
            timestep: the sample's timestep, an int or a tensor of one element.
            sample: x_t, any shape.
            eta: 0 (deterministic) to 1 (as much noise as DDPM).
            use_clipped_model_output: take the noise direction from the limited clean sample.
            generator: one, or a list with one per sample; a CPU generator serves any device.
            variance_noise: the noise itself instead (keyed noise comes in here), the sample's shape.
            return_dict: a `SchedulerStepOutput`, or a plain tuple of the same.

        Raises:
            ValueError: before `set_timesteps`, or a value out of range.
        """
        if self.num_inference_steps is None:
            raise ValueError(
                "Number of inference steps is 'None', you need to run 'set_timesteps' after creating the scheduler"
            )
        now = self._host_timestep(timestep)
        result = steps.ddim_step(
            sample,
            model_output,
            _noise(model_output, generator, variance_noise) if eta > 0 else None,
            alpha=self._levels[now],
            alpha_prev=self._level(self._previous(now), self._final),
            prediction=self.config.prediction_type,
            eta=eta,
            limit=self._limit(),
            rederive=use_clipped_model_output,
        )
        return SchedulerStepOutput(*result) if return_dict else result

    def guided_coefficients(self, timestep: int | Tensor, *, eta: float = 0.0) -> Tensor | None:
        """What `raccord.kernels.guided_step` needs to do the step from `timestep`, float64 [7] on the host.

        None where a step is more than arithmetic on each element: with dynamic thresholding.
        """
        if self.config.thresholding:
            return None
        now, kind, bound = self._host_timestep(timestep), self.config.prediction_type, self._bound()
        levels = self._levels[now], self._level(self._previous(now), self._final)
        weights = steps.ddim_coefficients(*levels, prediction=kind, eta=eta, limited=bound is not None)
        row = steps.guided_coefficients(weights, levels[0], prediction=kind, bound=bound)
        return torch.tensor(row, dtype=torch.float64)


class DDPMScheduler(_TableScheduler):
    """DDPM (Ho et al. 2020, arXiv 2006.11239) as a drop-in for `diffusers.DDPMScheduler`.

    Args:
        variance_type: variance of the noise of a step, see `raccord.sampler.steps.ddpm_deviation`. With the learned
            types the model's output has twice the sample's channels in dimension 1.

    The other options are those of `DDIMScheduler`. A step always lands on the next scheduled timestep (so does
    diffusers'), the clean sample has alpha_bar 1, and timestep 0 adds no noise.
    """

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: BetaSchedule = "linear",
        trained_betas: np.ndarray | list[float] | None = None,
        variance_type: VarianceType = "fixed_small",
        clip_sample: bool = True,
        prediction_type: PredictionType = "epsilon",
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        clip_sample_range: float = 1.0,
        sample_max_value: float = 1.0,
        timestep_spacing: TimestepSpacing = "leading",
        steps_offset: int = 0,
        rescale_betas_zero_snr: bool = False,
    ):
        self._build_tables()
        self.one = torch.tensor(1.0)

    @property
    def variance_type(self) -> str:
        return self.config.variance_type

    def _get_variance(
        self, t: int, predicted_variance: Tensor | None = None, variance_type: VarianceType | None = None
    ) -> Tensor:
        """diffusers' number for a variance type: the variance, its logarithm (`fixed_large_log`, `learned_range`), or
        the deviation (`fixed_small_log`). `step` uses `raccord.sampler.steps.ddpm_deviation` instead.
        """
        kind = variance_type or self.config.variance_type
        now = self._host_timestep(t)
        levels = self._levels[now], self._level(self._previous(now), 1.0)
        deviation = steps.ddpm_deviation(*levels, variance=kind, predicted=predicted_variance)
        deviation = torch.as_tensor(deviation, dtype=torch.float32)
        if kind == "fixed_small_log":
            return deviation
        return deviation.log() * 2 if kind in ("fixed_large_log", "learned_range") else deviation**2

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        generator: Generators | None = None,
        return_dict: bool = True,
        *,
        variance_noise: Tensor | None = None,
    ) -> SchedulerStepOutput | tuple[Tensor, Tensor]:
        """One step back in time, see `raccord.sampler.steps.ddpm_step`.

        Args:
            model_output: what the model predicts at `timestep`; the sample's shape, or with the learned variance types
                twice its channels.
            timestep, sample, generator, variance_noise, return_dict: as `DDIMScheduler.step`.
        """
        predicted_variance = None
        if self.config.variance_type in ("learned", "learned_range") and model_output.shape != sample.shape:
            model_output, predicted_variance = model_output.split(sample.shape[1], dim=1)
        now = self._host_timestep(timestep)
        result = steps.ddpm_step(
            sample,
            model_output,
            _noise(model_output, generator, variance_noise) if now > 0 else None,
            alpha=self._levels[now],
            alpha_prev=self._level(self._previous(now), 1.0),
            prediction=self.config.prediction_type,
            variance=self.config.variance_type,
            predicted_variance=predicted_variance,
            limit=self._limit(),
        )
        return SchedulerStepOutput(*result) if return_dict else result

    def guided_coefficients(self, timestep: int | Tensor, *, eta: float = 1.0) -> Tensor | None:
        """As `DDIMScheduler.guided_coefficients`, without an `eta` to read; None with learned variances too."""
        if self.config.thresholding or self.config.variance_type in ("learned", "learned_range"):
            return None
        now, kind, bound = self._host_timestep(timestep), self.config.prediction_type, self._bound()
        levels = self._levels[now], self._level(self._previous(now), 1.0)
        weights = steps.ddpm_coefficients(*levels, prediction=kind, limited=bound is not None)
        deviation = steps.ddpm_deviation(*levels, variance=self.config.variance_type) if now > 0 else 0.0
        row = steps.guided_coefficients(
            weights._replace(noise=float(deviation)), levels[0], prediction=kind, bound=bound
        )
        return torch.tensor(row, dtype=torch.float64)


def _noise(like: Tensor, generator: Generators | None, given: Tensor | None) -> Tensor:
    if given is None:
        # diffusers' own draw, so that the same generators give the same pictures
        return randn_tensor(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    if generator is not None:
        raise ValueError("Cannot pass both generator and variance_noise: they are two sources for the same noise")
    if given.shape != like.shape:
        raise ValueError(f"variance_noise must have the sample's shape {tuple(like.shape)}, got {tuple(given.shape)}")
    return given.to(like.device)


__all__ = ["DDIMScheduler", "DDPMScheduler", "SchedulerStepOutput"]
