"""How far our steps are from float64 and from diffusers, and the order at which they converge.

    .venv/bin/python benchmarks/schedulers.py [--random-steps 20000]

Writes benchmarks/results/schedulers.json. Diffusers is compared where both take the same step: on `leading` spacing at
the usual settings, and at random steps over all options with previous_step="diffusers".
"""

import argparse
import itertools
import json
import math
import random
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


# Random steps that differ by more than this from diffusers' are counted.
BEYOND = 2e-5
SHAPE = (2, 3, 5, 4)
OPTIONS: dict[str, tuple[Any, ...]] = {
    "num_train_timesteps": (1000, 1000, 100),
    "prediction_type": PREDICTIONS,
    "timestep_spacing": ("leading", "trailing", "linspace"),
    "steps_offset": (0, 1),
    "rescale_betas_zero_snr": (False, True),
}
BETAS = (("linear", 1e-4, 0.02), ("scaled_linear", 0.00085, 0.012), ("squaredcos_cap_v2", 0.1, 0.2))
LIMITS: tuple[dict[str, Any], ...] = (
    {"clip_sample": False},
    {"clip_sample": True, "clip_sample_range": 1.0},
    {"clip_sample": True, "clip_sample_range": 2.5},
    {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.7},
)
VARIANCES = ("fixed_small", "fixed_small_log", "fixed_large", "learned", "learned_range")


def random_steps(total: int) -> dict[str, Any]:
    """Random steps over all options, with a model that knows the picture and errs by a tenth: how many differ from
    diffusers' by more than `BEYOND`, how far those of diffusers are from float64, and how many still differ when ours
    reads diffusers' float32 tables.
    """
    import torch
    from diffusers import DDIMScheduler as TheirDDIM
    from diffusers import DDPMScheduler as TheirDDPM

    from raccord import DDIMScheduler, DDPMScheduler

    draws = random.Random(1)  # noqa: S311
    names = ("steps", "leading", "beyond", "beyond_leading", "diffusers_not_finite", "beyond_with_diffusers_tables")
    counts = dict.fromkeys(names, 0)
    worst, nearest = 0.0, math.inf
    while counts["steps"] < total:
        options = {name: draws.choice(values) for name, values in OPTIONS.items()} | draws.choice(LIMITS)
        options |= dict(zip(("beta_schedule", "beta_start", "beta_end"), draws.choice(BETAS), strict=True))
        # diffusers would divide by zero
        options["rescale_betas_zero_snr"] &= options["prediction_type"] != "epsilon"
        how: dict[str, Any] = {}
        if ddim := draws.random() < 0.5:
            options["set_alpha_to_one"] = draws.random() < 0.5
            how = {"eta": draws.choice((0.0, 0.3, 1.0)), "use_clipped_model_output": draws.random() < 0.5}
            theirs = TheirDDIM(**options)
            ours, given = (DDIMScheduler(**options, previous_step="diffusers") for _ in range(2))
            given._final = float(theirs.final_alpha_cumprod)
        else:
            options["variance_type"] = draws.choice(VARIANCES)
            theirs = TheirDDPM(**options)
            ours, given = (DDPMScheduler(**options) for _ in range(2))
        given.alphas_cumprod = theirs.alphas_cumprod
        count = draws.randint(1, 30)
        for scheduler in (ours, theirs, given):
            scheduler.set_timesteps(count)
        for timestep in draws.sample(ours.timesteps.tolist(), min(3, count)):
            alpha, generator = ours._levels[timestep], torch.Generator().manual_seed(draws.getrandbits(32))
            picture, noise, error, variance = torch.randn((4, *SHAPE), generator=generator)
            sample, picture = math.sqrt(alpha) * picture + math.sqrt(1 - alpha) * noise, picture + 0.1 * error
            noise = ((sample - math.sqrt(alpha) * picture) / math.sqrt(1 - alpha)).clamp(-4, 4)
            velocity = math.sqrt(alpha) * noise - math.sqrt(1 - alpha) * picture
            output = {"epsilon": noise, "sample": picture, "v_prediction": velocity}[options["prediction_type"]]
            if not ddim and options["variance_type"].startswith("learned"):
                # within 0..1 as a variance, within -1..1 as a share
                output = torch.cat([output, variance.tanh().abs()], 1)
            key = torch.Generator().manual_seed(timestep)
            z = torch.randn(SHAPE, generator=key)

            def step(scheduler: Any, at: Any = timestep, out: Any = output, x: Any = sample, how: Any = how) -> Any:
                key = torch.Generator().manual_seed(at)
                return scheduler.step(out, at, x, generator=key, return_dict=False, **how)[0].double()

            exact = ours.step(
                output.double(), timestep, sample.double(), variance_noise=z.double(), return_dict=False, **how
            )[0]
            size, other = float(exact.abs().max()), step(theirs)
            worst = max(worst, float((step(ours) - exact).abs().max()) / size)
            # not finite counts as beyond
            beyond = not float((step(ours) - other).abs().max()) / size < BEYOND
            leading = options["timestep_spacing"] == "leading"
            counts["steps"] += 1
            counts["leading"] += leading
            counts["beyond"] += beyond
            counts["beyond_leading"] += beyond and leading
            counts["beyond_with_diffusers_tables"] += not float((step(given) - other).abs().max()) / size < BEYOND
            if beyond and not other.isfinite().all():
                counts["diffusers_not_finite"] += 1
            elif beyond:
                nearest = min(nearest, float((other - exact).abs().max()) / size)
    return counts | {"ours_to_float64": worst, "least_diffusers_to_float64_of_those_beyond": nearest}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Our steps against float64 and diffusers.")
    parser.add_argument("--random-steps", type=int, default=20_000)
    arguments = parser.parse_args()
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
        "random_steps_over_all_options": random_steps(arguments.random_steps),
        "order_of_convergence": {f"eta {eta}": order_of_convergence(eta) for eta in (0.0, 0.3, 1.0)},
    }
    (HERE / "results" / "schedulers.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
