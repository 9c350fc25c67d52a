"""A diffusers pipeline as the story loop sees it: encode a text, predict, decode. SD 1.x, 2.x and SDXL."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import Tensor

from raccord.sampler.calibration import Calibration, read_calibration
from raccord.sampler.diffusers_schedulers import DDIMScheduler, DDPMScheduler


def load_pipeline(model: str | Path) -> Any:
    """Load a text-to-image pipeline from a folder or, by name, from the hub's cache or the hub.

    Weights are read from safetensors only and no remote code is run. On a CUDA device the pipeline is float16, on the
    CPU float32.

    Raises:
        OSError, ValueError: as diffusers raises them for a missing or unfit model.
    """
    cuda = torch.cuda.is_available()
    pipe = DiffusionPipeline.from_pretrained(
        str(model), use_safetensors=True, dtype=torch.float16 if cuda else torch.float32
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to("cuda") if cuda else pipe


class Model:
    """The parts of a pipeline the story loop calls, always in one canonical batch shape.

    Args:
        pipe: a loaded `StableDiffusionPipeline` or `StableDiffusionXLPipeline` (or a subclass).
    """

    def __init__(self, pipe: Any) -> None:
        missing = [part for part in ("unet", "vae", "scheduler", "encode_prompt") if not hasattr(pipe, part)]
        if missing:
            raise ValueError(
                f"{type(pipe).__name__} has no {', '.join(missing)}: raccord draws with UNet pipelines "
                "such as StableDiffusionPipeline and StableDiffusionXLPipeline"
            )
        self.pipe = pipe
        self.unet = pipe.unet
        self.dtype = pipe.unet.dtype
        self.device = pipe._execution_device
        self.has_pooled_text = getattr(pipe.unet.config, "addition_embed_type", None) == "text_time"
        self._pooled: dict[str, Tensor] = {}
        self._weights_hash: str | None = None

    def calibration(self) -> Calibration:
        """The calibration stored with the model's folder, or the defaults."""
        return read_calibration(Path(getattr(self.pipe.config, "_name_or_path", "") or "."))

    def latent_shape(self, size: Sequence[int]) -> tuple[int, int, int]:
        """(C, height, width) of the latent of a picture of size (width, height) in pixels."""
        factor = self.pipe.vae_scale_factor
        width, height = size
        if width % factor or height % factor:
            raise ValueError(f"size must be multiples of {factor} for this model, got {width} x {height}")
        return self.unet.config.in_channels, height // factor, width // factor

    @torch.no_grad()
    def encode(self, text: str) -> Tensor:
        """Hidden states [L, C] of one text, encoded alone."""
        encoded = self.pipe.encode_prompt(
            prompt=text, device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        if self.has_pooled_text:
            self._pooled[text] = encoded[2][0]
        return encoded[0][0]

    def token_count(self, text: str) -> tuple[int, int]:
        """(tokens of a text, marks of begin and end included; most tokens the text encoder hears)."""
        tokenizer = self.pipe.tokenizer
        if tokenizer is None:
            return 0, 0
        return len(tokenizer(text, truncation=False, verbose=False).input_ids), tokenizer.model_max_length

    def added_conditions(self, texts: Sequence[str], size: Sequence[int]) -> dict[str, Tensor] | None:
        """SDXL's pooled text and size conditions for a batch of texts; None for models without them."""
        if not self.has_pooled_text:
            return None
        for text in texts:
            if text not in self._pooled:
                self.encode(text)
        width, height = size
        ids = torch.tensor([[height, width, 0, 0, height, width]] * len(texts), dtype=self.dtype, device=self.device)
        return {"text_embeds": torch.stack([self._pooled[text] for text in texts]), "time_ids": ids}

    def predict(self, sample: Tensor, timestep: Tensor, text: Tensor, added: dict[str, Tensor] | None) -> Tensor:
        """The UNet's output for a batch, in float32."""
        return self.unet(
            sample.to(self.dtype), timestep, encoder_hidden_states=text, added_cond_kwargs=added, return_dict=False
        )[0].float()

    def scheduler(self, steps: int) -> DDIMScheduler | DDPMScheduler:
        """A fresh raccord scheduler with the pipeline's configuration: its own class if it is ours, else DDIM."""
        ours = type(self.pipe.scheduler)
        kind: Any = ours if issubclass(ours, (DDIMScheduler, DDPMScheduler)) else DDIMScheduler
        scheduler = kind.from_config(self.pipe.scheduler.config)
        scheduler.set_timesteps(steps, device=self.device)
        return scheduler

    @torch.no_grad()
    def decode(self, latent: Tensor) -> np.ndarray:
        """Latent [C, height, width] -> picture uint8 [H, W, 3].

        Raises:
            FloatingPointError: the latent or the picture is not finite.
        """
        vae = self.pipe.vae
        scaled = latent[None] / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)
        picture = vae.decode(scaled.to(vae.dtype), return_dict=False)[0][0].float()
        if not torch.isfinite(picture).all():
            raise FloatingPointError(
                "the decoded picture holds NaN or infinity; with a float16 VAE (SDXL's own) load the pipeline in "
                "float32 or use a VAE made for float16"
            )
        return ((picture / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()

    @staticmethod
    def versions() -> dict[str, str]:
        """Versions of the libraries the pixels depend on."""
        return {"torch": torch.__version__, "diffusers": diffusers.__version__}

    def weights_hash(self) -> str:
        """SHA-256 over all parameters and buffers of UNet, VAE and text encoders; computed once."""
        if self._weights_hash is None:
            digest = hashlib.sha256()
            for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
                module = getattr(self.pipe, part, None)
                if module is None:
                    continue
                # what torch.compile wraps has the names and weights of what is inside
                module = getattr(module, "_orig_mod", module)
                for name, weight in sorted(module.state_dict().items()):
                    tensor = _offloaded(module, name) if weight.is_meta else weight
                    digest.update(f"{part}.{name}:{tensor.dtype}:{list(tensor.shape)}".encode())
                    digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
            self._weights_hash = digest.hexdigest()
        return self._weights_hash


def _offloaded(module: torch.nn.Module, name: str) -> Tensor:
    """A weight that accelerate keeps elsewhere until its module runs."""
    from accelerate.utils import align_module_device

    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    with align_module_device(owner, torch.device("cpu")):
        return getattr(owner, leaf).detach().clone()
