"""What users add to a pipeline keeps working beside a plan: IP-Adapter, ControlNet residuals, FreeU."""

import copy

import pytest
import torch

from raccord.sampler.conditioning import frame_conditioning
from raccord.sampler.diffusers_attention import Controller, Row
from raccord.sampler.diffusers_pipeline import Model
from raccord.sampler.plan import Entity, Frame, Item, Plan
from raccord.sampler.text import TextPool

PLAN = Plan(
    size=[64, 64],
    entities=[Entity(id="cat", card="a red cat")],
    frames=[Frame(id="f", prompt="a cat", background="snow", items=[Item(entity="cat", box=[0.0, 0.0, 0.5, 1.0])])],
)


@pytest.fixture
def setting(tiny_pipe):
    """A UNet of its own, a pool, an input, and the two rows of a planned frame."""
    model = Model(tiny_pipe)
    conditioning = frame_conditioning(PLAN, PLAN.frames[0], latent_width=8, beta=0.1)
    rows = (Row(conditioning, False, {}), Row(conditioning, True, {}))
    sample = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(2))
    text = torch.stack([model.encode(""), model.encode("a cat")])
    return copy.deepcopy(tiny_pipe.unet), TextPool(model.encode), sample, text, rows


def predict(unet, sample, text, **extra):
    with torch.no_grad():
        return unet(sample, torch.tensor(300), encoder_hidden_states=text, return_dict=False, **extra)[0]


def planned(unet, pool, sample, text, rows, **extra):
    with Controller(unet, pool) as control:
        control.rows = rows
        return predict(unet, sample, text, **extra)


def load_ip_adapter(unet, image_width=6):
    """A random IP-Adapter in the layout of its published files."""
    generator = torch.Generator().manual_seed(5)
    cross = unet.config.cross_attention_dim

    def normal(*shape):
        return 0.3 * torch.randn(shape, generator=generator)

    layers = [m for name, m in unet.named_modules() if name.endswith("attn2")]
    state = {
        "image_proj": {
            "proj.weight": normal(4 * cross, image_width),
            "proj.bias": normal(4 * cross),
            "norm.weight": torch.ones(cross),
            "norm.bias": torch.zeros(cross),
        },
        "ip_adapter": {
            f"{2 * index + 1}.{part}.weight": normal(layer.to_k.out_features, cross)
            for index, layer in enumerate(layers)
            for part in ("to_k_ip", "to_v_ip")
        },
    }
    unet._load_ip_adapter_weights([state], low_cpu_mem_usage=False)
    return {"added_cond_kwargs": {"image_embeds": [torch.randn((2, 1, image_width), generator=generator)]}}


def set_scale(unet, scale):
    for processor in unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [scale]


def test_an_ip_adapter_speaks_beside_the_plan(setting):
    unet, pool, sample, text, rows = setting
    without = planned(unet, pool, sample, text, rows)
    image = load_ip_adapter(unet)
    set_scale(unet, 0.0)
    silent = planned(unet, pool, sample, text, rows, **image)
    torch.testing.assert_close(silent, without, rtol=1e-4, atol=1e-5)
    set_scale(unet, 1.0)
    adapter_alone = predict(unet, sample, text, **image)
    both = planned(unet, pool, sample, text, rows, **image)
    assert (both - without).abs().max() > 1e-3
    assert (both - adapter_alone).abs().max() > 1e-3
    assert torch.equal(predict(unet, sample, text, **image), adapter_alone)


def test_controlnet_residuals_reach_a_planned_frame(setting):
    unet, pool, sample, text, rows = setting
    plain = planned(unet, pool, sample, text, rows)
    middle = 0.5 * torch.ones((2, unet.config.block_out_channels[-1], 4, 4))
    shapes = [(16, 8), (16, 8), (16, 4), (32, 4)]
    down = tuple(torch.zeros((2, channels, side, side)) for channels, side in shapes)
    residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    guided = planned(unet, pool, sample, text, rows, **residuals)
    assert (guided - plain).abs().max() > 1e-3
    nothing = {**residuals, "mid_block_additional_residual": torch.zeros_like(middle)}
    assert torch.equal(planned(unet, pool, sample, text, rows, **nothing), plain)


def test_free_u_works_on_a_planned_frame(setting):
    unet, pool, sample, text, rows = setting
    plain = planned(unet, pool, sample, text, rows)
    unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    assert (planned(unet, pool, sample, text, rows) - plain).abs().max() > 1e-3
    unet.disable_freeu()
    assert torch.equal(planned(unet, pool, sample, text, rows), plain)


def test_gradients_pass_through_the_processors(setting):
    unet, pool, sample, text, rows = setting
    sample = sample.clone().requires_grad_()
    with Controller(unet, pool) as control:
        control.rows = rows
        moved = unet(sample, torch.tensor(300), encoder_hidden_states=text, return_dict=False)[0]
    (gradient,) = torch.autograd.grad(moved.square().sum(), sample)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0
