"""SDXL: two text encoders, pooled text and size conditions, levels without attention, non-square pictures."""

import pytest
import torch

from raccord.sampler.calibration import Calibration
from raccord.sampler.diffusers_install import install
from raccord.sampler.plan import Entity, Frame, Item, Plan
from raccord.sampler.story import Story


@pytest.fixture(scope="module")
def tiny_xl(tokenizer_folder):
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    shape = CLIPTextConfig(
        vocab_size=514,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        projection_dim=16,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 2),
            use_linear_projection=True,
            cross_attention_dim=32,
            attention_head_dim=(1, 2, 2),
            norm_num_groups=4,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=8 * 6 + 16,
        )
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            norm_num_groups=4,
        )
        encoders = CLIPTextModel(shape), CLIPTextModelWithProjection(shape)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder, model_max_length=32)
    pipe = StableDiffusionXLPipeline(
        vae=vae.eval(),
        unet=unet.eval(),
        text_encoder=encoders[0].eval(),
        text_encoder_2=encoders[1].eval(),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        scheduler=DDPMScheduler(beta_schedule="scaled_linear", steps_offset=1),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


PLAN = Plan(
    size=[96, 64],
    entities=[Entity(id="cat", card="a red cat"), Entity(id="dog", card="a blue dog")],
    frames=[
        Frame(
            id="both",
            prompt="a red cat and a blue dog",
            background="snow",
            items=[Item(entity="cat", box=[0.0, 0.2, 0.5, 0.9]), Item(entity="dog", box=[0.5, 0.2, 1.0, 0.9])],
        ),
        Frame(id="one", prompt="a red cat", items=[Item(entity="cat", box=[0.3, 0.2, 0.8, 0.9])]),
    ],
)
QUICK = Calibration(guidance=3.0, casting_candidates=1, casting_steps=1)


def test_draws_and_repeats(tiny_xl):
    story = Story(tiny_xl, PLAN, steps=2, calibration=QUICK)
    first = [story.frame(name) for name in ("both", "one")]
    assert first[0].image.size == (96, 64)
    assert first[0].pixels_sha256 != first[1].pixels_sha256
    again = Story(tiny_xl, PLAN, steps=2, calibration=QUICK).frame("one")
    assert again.pixels_sha256 == first[1].pixels_sha256


def test_regions_in_the_pipelines_own_call(tiny_xl):
    settings = {"height": 64, "width": 96, "num_inference_steps": 2, "output_type": "latent"}
    generator = torch.Generator()

    def call():
        return tiny_xl("a red cat and a blue dog", generator=generator.manual_seed(1), **settings).images

    plain = call()
    with install(tiny_xl, PLAN):
        assert not torch.equal(call(), plain)
    assert torch.equal(call(), plain)
