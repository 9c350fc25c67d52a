"""One configuration holds everything a stage model depends on; two runs with one configuration on one machine give the
same bytes.
"""

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """Sizes, lengths and seeds of the world's pictures, the autoencoder and the denoiser."""

    name: str
    seed: int
    # Pictures: side in pixels, number, and pictures a cached chunk.
    side: int
    pictures: int
    chunk: int
    captions: int
    # Autoencoder.
    vae_channels: tuple[int, ...]
    latent_channels: int
    # Steps with sampled latents, then steps with their means, each under its own warm-up and cosine.
    vae_steps: tuple[int, int]
    vae_batch: int
    vae_rate: float
    vae_chunks: int
    # The decoder alone, after its latents are fixed.
    decoder_steps: int
    decoder_rate: float
    # Text encoder and denoiser.
    text_width: int
    text_layers: int
    text_heads: int
    unet_channels: tuple[int, ...]
    unet_layers: int
    unet_heads: int
    # Training of text encoder and denoiser together.
    steps: int
    batch: int
    rate: float
    warmup: int
    weight_decay: float
    # From this step on, three of four pictures hold at most one item.
    focus: int
    caption_dropout: float
    snr_gamma: float
    ema: float
    device: str
    checkpoint_every: int
    export_every: int

    def __post_init__(self) -> None:
        if self.chunk % self.batch or self.chunk % self.vae_batch:
            raise ValueError(
                f"chunk: must be a multiple of batch and vae_batch, got {self.chunk}, {self.batch}, {self.vae_batch}"
            )
        if self.pictures % self.chunk:
            raise ValueError(f"pictures: must be a multiple of chunk, got {self.pictures} and {self.chunk}")

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


SMALL_CPU = StageConfig(
    name="small_cpu",
    seed=20261122,
    side=64,
    pictures=32_768,
    chunk=2_048,
    captions=4,
    vae_channels=(16, 32, 64),
    latent_channels=8,
    vae_steps=(2_000, 1_500),
    vae_batch=8,
    vae_rate=2e-3,
    vae_chunks=6,
    decoder_steps=3_000,
    decoder_rate=1e-3,
    text_width=128,
    text_layers=2,
    text_heads=4,
    unet_channels=(48, 96),
    unet_layers=1,
    unet_heads=3,
    steps=7_000,
    batch=16,
    rate=1e-3,
    warmup=150,
    weight_decay=0.01,
    focus=5_000,
    caption_dropout=0.1,
    snr_gamma=5.0,
    ema=0.998,
    device="cpu",
    checkpoint_every=250,
    export_every=250,
)

# Small enough for a test to train it in seconds.
TINY = dataclasses.replace(
    SMALL_CPU,
    name="tiny",
    pictures=32,
    chunk=16,
    vae_channels=(8, 8, 8),
    vae_steps=(2, 2),
    vae_batch=4,
    vae_chunks=1,
    decoder_steps=3,
    text_width=16,
    text_layers=1,
    text_heads=2,
    unet_channels=(16, 16),
    unet_heads=2,
    captions=2,
    steps=8,
    focus=5,
    batch=4,
    warmup=2,
    checkpoint_every=3,
    export_every=8,
)

CONFIGS = {config.name: config for config in (SMALL_CPU, TINY)}
