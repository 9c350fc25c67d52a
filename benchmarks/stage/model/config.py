"""One configuration holds everything a stage model depends on; two runs with one configuration on one machine give the
same bytes.
"""

import dataclasses
import json
from typing import Any, NamedTuple

from stage.world.scene import Rates


@dataclasses.dataclass(frozen=True)
class Phase:
    """Steps in which text encoder and denoiser train together, under one warm-up and cosine of the learning rates."""

    steps: int
    # So many of the steps come first and show portraits alone; so many follow and show scenes and portraits in turn.
    portraits: int = 0
    turns: int = 0
    # Share of the scenes in which one item sees another picture of itself (`stage.model.memories`).
    memories: float = 0.0
    # Share of the configuration's rates at the top.
    peak: float = 1.0
    # Decay of the averaged weights: an average must forget what was before the phase.
    ema: float = 0.999
    # Parts of a batch that are differentiated side by side, each on a thread of its own. What they add up to depends on
    # their number, not on that of the cores.
    parts: int = 1


class Place(NamedTuple):
    """A step of the whole training: number of its phase, the phase, and the step within it."""

    number: int
    phase: Phase
    step: int


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """Sizes, lengths and seeds of the world's pictures, the autoencoder and the denoiser."""

    name: str
    seed: int
    # Side of a whole scene in pixels (a portrait has half of it), numbers of training pictures, pictures a cached
    # chunk, captions a picture, and how often the world shows what.
    side: int
    portraits: int
    scenes: int
    chunk: int
    captions: int
    rates: Rates
    # Autoencoder; its batches hold so many scenes or four times as many portraits.
    vae_channels: tuple[int, ...]
    latent_channels: int
    vae_steps: int
    # Threads: nothing else can run before it has ended. Sums keep their order for one number of threads, whatever the
    # machine's number of cores.
    vae_threads: int
    vae_batch: int
    vae_rate: float
    vae_muon_rate: float
    # The decoder alone, after its latents are fixed; then, under a second warm-up and cosine, for steep edges too.
    decoder_steps: int
    steep_steps: int
    decoder_rate: float
    # Text encoder, and its own first training on what captions say.
    text_width: int
    text_layers: int
    text_heads: int
    text_steps: int
    # Denoiser.
    unet_channels: tuple[int, ...]
    unet_layers: int
    unet_heads: tuple[int, ...]
    # Training of text encoder and denoiser together.
    phases: tuple[Phase, ...]
    portrait_batch: int
    scene_batch: int
    rate: float
    muon_rate: float
    warmup: int
    weight_decay: float
    # Error of a latent cell counts 1 + emphasis * (share of the cell that items cover), normalised to mean 1.
    emphasis: float
    # Standard deviation of the latent channels beyond mean colours and map. Below 1 noise drowns them first, so that a
    # picture forms from coarse to fine.
    detail: float
    # Weight of what the denoiser must know of every cell (`stage.model.probe`).
    probe: float
    caption_dropout: float
    snr_gamma: float
    device: str
    # Of forward passes: "bfloat16", or "float32" for processors without bfloat16 instructions.
    precision: str
    checkpoint_every: int
    export_every: int

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f'precision: must be "float32" or "bfloat16", got {self.precision!r}')
        for name, count in (("portraits", self.portraits), ("scenes", self.scenes)):
            if count % self.chunk:
                raise ValueError(f"{name}: must be a multiple of chunk, got {count} and {self.chunk}")
        for name, batch in (("portrait_batch", self.portrait_batch), ("scene_batch", self.scene_batch)):
            if self.chunk % batch:
                raise ValueError(f"{name}: must divide chunk, got {batch} and {self.chunk}")
            for phase in self.phases:
                if batch % phase.parts:
                    raise ValueError(f"{name}: must be a multiple of a phase's parts, got {batch} and {phase.parts}")

    @property
    def factor(self) -> int:
        """Pixels a latent cell."""
        return 2 ** (len(self.vae_channels) - 1)

    @property
    def steps(self) -> int:
        """Steps of the denoiser."""
        return sum(phase.steps for phase in self.phases)

    def place(self, step: int) -> Place:
        """Where step `step` of the denoiser is, 0 <= step < steps."""
        for number, phase in enumerate(self.phases):
            if step < phase.steps:
                return Place(number, phase, step)
            step -= phase.steps
        raise ValueError(f"step: must be below {self.steps}, got {step + self.steps}")

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


# A world that is mostly plain: what a model of an hour of CPU can learn.
PLAIN = Rates(
    counts=(0.06, 0.3, 0.4, 0.24),
    pattern=0.12,
    accessory=0.2,
    times=(0.76, 0.12, 0.12),
    weathers=(0.9, 0.05, 0.05),
    sizes_of_one=(0.15, 0.4, 0.45),
    sizes_of_several=(0.25, 0.6, 0.15),
    poses=(0.55, 0.2, 0.125, 0.125),
)

# What two CPU cores with AVX-512 and bfloat16 train in about three and a half hours.
SMALL_CPU = StageConfig(
    name="small_cpu",
    seed=20261122,
    side=128,
    portraits=49_152,
    scenes=61_440,
    chunk=2_048,
    captions=4,
    rates=PLAIN,
    vae_channels=(16, 32, 64, 128),
    latent_channels=16,
    vae_steps=7_000,
    vae_threads=2,
    vae_batch=4,
    vae_rate=2e-3,
    vae_muon_rate=0.005,
    decoder_steps=5_000,
    steep_steps=8_000,
    decoder_rate=1e-3,
    text_width=128,
    text_layers=2,
    text_heads=4,
    text_steps=600,
    unet_channels=(64, 128, 192),
    unet_layers=1,
    unet_heads=(2, 4, 6),
    phases=(
        Phase(3_100, portraits=700, turns=600),
        Phase(600, memories=0.5, peak=0.5, ema=0.99),
        Phase(7_000, turns=1_800, memories=0.5, peak=0.7, parts=2),
    ),
    portrait_batch=128,
    scene_batch=64,
    rate=1e-3,
    muon_rate=0.003,
    warmup=100,
    weight_decay=0.01,
    emphasis=2.0,
    detail=0.5,
    probe=0.1,
    caption_dropout=0.1,
    snr_gamma=5.0,
    device="cpu",
    precision="bfloat16",
    checkpoint_every=250,
    export_every=500,
)

# A recipe for one H200 in bfloat16, not yet run.
H200 = dataclasses.replace(
    SMALL_CPU,
    name="h200",
    portraits=131_072,
    scenes=196_608,
    chunk=8_192,
    rates=Rates(),
    vae_channels=(32, 64, 128, 128),
    vae_steps=8_000,
    vae_batch=64,
    vae_rate=1e-3,
    vae_muon_rate=0.005,
    decoder_steps=8_000,
    steep_steps=4_000,
    decoder_rate=5e-4,
    text_width=192,
    text_layers=3,
    text_heads=6,
    text_steps=2_000,
    unet_channels=(96, 192, 256),
    unet_layers=1,
    unet_heads=(3, 6, 8),
    phases=(
        Phase(24_000, portraits=10_000, turns=10_000, ema=0.9995),
        Phase(6_000, memories=0.5, peak=0.5, ema=0.9995),
    ),
    portrait_batch=512,
    scene_batch=256,
    warmup=500,
    device="cuda",
    checkpoint_every=5_000,
    export_every=20_000,
)

# Small enough for a test to train it in seconds.
TINY = dataclasses.replace(
    SMALL_CPU,
    name="tiny",
    side=64,
    portraits=32,
    scenes=48,
    chunk=16,
    vae_channels=(8, 8, 8, 8),
    latent_channels=12,
    vae_steps=4,
    vae_batch=1,
    decoder_steps=3,
    steep_steps=2,
    text_width=16,
    text_layers=1,
    text_heads=2,
    text_steps=3,
    # Of different widths, so that a wrong level shows.
    unet_channels=(8, 16, 24),
    unet_heads=(1, 2, 3),
    precision="float32",
    captions=2,
    phases=(Phase(10, portraits=4, turns=4), Phase(4, memories=0.5, peak=0.5, parts=2)),
    portrait_batch=4,
    scene_batch=4,
    warmup=2,
    checkpoint_every=3,
    export_every=10,
)

CONFIGS = {config.name: config for config in (SMALL_CPU, H200, TINY)}
