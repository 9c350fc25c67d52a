"""The text encoder, the denoiser and the noise schedule, all stock classes of transformers and diffusers."""

from typing import Any

import torch

from stage.draws import key
from stage.model.config import StageConfig
from stage.world.vocabulary import MAX_TOKENS

# Least side in cells of a level with attention.
_ATTENTION = 8


def build_text_encoder(config: StageConfig, tokenizer: Any) -> Any:
    """An untrained `CLIPTextModel`; its weights depend on `config.seed` only."""
    from transformers import CLIPTextConfig, CLIPTextModel

    shape = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.text_width,
        intermediate_size=4 * config.text_width,
        projection_dim=config.text_width,
        num_hidden_layers=config.text_layers,
        num_attention_heads=config.text_heads,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(config.seed, "text encoder weights"))
        return CLIPTextModel(shape)


def build_unet(config: StageConfig) -> Any:
    """An untrained `UNet2DConditionModel` with self- and cross-attention at every level of 8 x 8 cells and more and in
    the middle block; its weights depend on `config.seed` only.
    """
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    # Its annotations allow fewer forms than its configuration.
    build: Any = UNet2DConditionModel

    cells = config.side // config.factor
    levels = [cells >> level >= _ATTENTION for level in range(len(config.unet_channels))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(config.seed, "denoiser weights"))
        return build(
            sample_size=cells,
            in_channels=config.latent_channels,
            out_channels=config.latent_channels,
            down_block_types=tuple("CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in levels),
            up_block_types=tuple("CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in levels[::-1]),
            block_out_channels=config.unet_channels,
            layers_per_block=config.unet_layers,
            cross_attention_dim=config.text_width,
            # diffusers reads this as the number of heads.
            attention_head_dim=config.unet_heads,
            norm_num_groups=8,
        )


def build_scheduler() -> Any:
    """The stock `DDIMScheduler`: v-prediction and zero terminal SNR (Lin et al. 2023, arXiv:2305.08891), timesteps
    counted from the end.
    """
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        # Without effect for trailing timesteps; pipelines of diffusers ask for it.
        steps_offset=1,
    )
