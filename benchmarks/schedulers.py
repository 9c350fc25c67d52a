"""How far our steps are from float64 and from diffusers, and the order at which they converge.

    .venv/bin/python benchmarks/schedulers.py

Writes benchmarks/results/schedulers.json. Diffusers is compared where both take the same step (`leading` spacing).
"""

import itertools
import json
import math
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COUNTS = (5, 25, 50)
PREDICTIONS = ("epsilon", "sample", "v_prediction")
SCHEDULES: dict[str, dict[str, Any]] = {
    "linear": {"beta_schedule": "linear"},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
}


def order_of_convergence(eta: float) -> float:
    """log2 of the error ratio from 400 to 800 steps, variance of N(0, 1/4) data, t from 1000 to 100 of 1000."""
    import torch

    from raccord.sampler.steps import ddim_step

    def level(time: float) -> float:
        return math.exp(-(0.1 * time + 9.95 * time * time))

    errors = []
    for count in (400, 800):
        levels = [level(1.0 - 0.9 * index / count) for index in range(count + 1)]
        variance = levels[0] / 4 + 1 - levels[0]
        for alpha, alpha_prev in itertools.pairwise(levels):
            point = torch.ones(1, dtype=torch.float64)
            noise = point * math.sqrt(1 - alpha) / (alpha / 4 + 1 - alpha)

            def step(z: float, alpha: float = alpha, alpha_prev: float = alpha_prev, noise: Any = noise) -> float:
                moved = ddim_step(
                    torch.ones(1, dtype=torch.float64),
                    noise,
                    torch.full((1,), z, dtype=torch.float64),
                    alpha=alpha,
                    alpha_prev=alpha_prev,
                    eta=eta,
                    prediction="epsilon",
                )
                return float(moved.prev_sample)

            still = step(0.0)
            variance = still**2 * variance + (step(1.0) - still) ** 2
        errors.append(abs(variance - levels[-1] / 4 - 1 + levels[-1]))
    return math.log2(errors[0] / errors[1])


def main() -> None:
    """Measure and write."""
    import diffusers
    import torch
    from diffusers import DDIMScheduler as TheirDDIM
    from diffusers import DDPMScheduler as TheirDDPM

    from raccord import DDIMScheduler, DDPMScheduler

    worst = {"ours_to_float64": 0.0, "diffusers_to_float64": 0.0, "ours_to_diffusers": 0.0}
    steps = 0
    generator = torch.Generator().manual_seed(1)
    for (ours, theirs), schedule, prediction, count in itertools.product(
        ((DDIMScheduler, TheirDDIM), (DDPMScheduler, TheirDDPM)), SCHEDULES.values(), PREDICTIONS, COUNTS
    ):
        settings = {**schedule, "prediction_type": prediction, "clip_sample": False, "timestep_spacing": "leading"}
        one, two = ours(**settings), theirs(**settings)
        one.set_timesteps(count)
        two.set_timesteps(count)
        for timestep in one.timesteps:
            sample, output = torch.randn((2, 1, 4, 8, 8), generator=generator)

            def step(scheduler: Any, dtype: Any, sample: Any = sample, output: Any = output, at: Any = timestep) -> Any:
                key = torch.Generator().manual_seed(int(at))
                return scheduler.step(output.to(dtype), at, sample.to(dtype), generator=key, return_dict=False)[0]

            noise: dict[str, Any] = {
                "variance_noise": torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(int(timestep)))
            }
            exact = one.step(output.double(), timestep, sample.double(), return_dict=False, **noise)[0]
            size = exact.abs().max()
            mine, other = step(one, torch.float32).double(), step(two, torch.float32).double()
            for name, gap in (
                ("ours_to_float64", mine - exact),
                ("diffusers_to_float64", other - exact),
                ("ours_to_diffusers", mine - other),
            ):
                worst[name] = max(worst[name], float(gap.abs().max() / size))
            steps += 1
    result = {
        "command": "benchmarks/schedulers.py",
        "diffusers": diffusers.__version__,
        "steps_compared": steps,
        "worst_relative_error_of_a_step": worst,
        "order_of_convergence": {f"eta {eta}": order_of_convergence(eta) for eta in (0.0, 0.3, 1.0)},
    }
    (HERE / "results" / "schedulers.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
