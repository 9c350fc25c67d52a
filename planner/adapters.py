"""LoRA adapters of a language model: found by name or folder, weighted, added up, and taken out again.

With adapters a linear layer computes W x + sum_i w_i (alpha_i / r_i) B_i A_i x (Hu et al., arXiv 2106.09685, section
4.1, with a weight w_i for each). W stays as it is, so that taking them out leaves the model bit for bit as it was.
"""

import hashlib
import json
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from raccord.planner.files import write_atomically

ADAPTERS = "adapters"
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
DEFAULT = "base"
MOST_WEIGHT = 4.0
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MOST_ADAPTERS = 8


class AdapterError(ValueError):
    """An adapter is missing, is no LoRA in safetensors, or does not fit the model."""


class Adapter(NamedTuple):
    """An adapter in use: its name, its weight in -4..4, its folder and the SHA-256 of its weights and settings."""

    name: str
    weight: float
    folder: Path
    sha256: str

    @property
    def record(self) -> dict[str, Any]:
        """What provenance says of it: no path."""
        return {"name": self.name, "weight": self.weight, "sha256": self.sha256}


def find_adapters(model: Path, wanted: Sequence[str] = ()) -> tuple[Adapter, ...]:
    """The adapters to use with the model in the folder `model`.

    Args:
        model: its own adapters are the folders under `model/adapters`.
        wanted: each "NAME" or "NAME:weight": the name of one of the model's own, or a folder of peft's. The model's
            own "base", if it has one, is used with weight 1 unless it is wanted otherwise; "base:0" leaves it out.

    Returns:
        Those with a weight other than 0, ordered by hash, so that the order in `wanted` changes no bit.

    Raises:
        AdapterError: there is no such adapter, its weight is out of range, or it is wanted twice.
    """
    if len(wanted) > _MOST_ADAPTERS:
        raise AdapterError(f"adapter: at most {_MOST_ADAPTERS} can be combined, got {len(wanted)}")
    own = {path.parent.name: path.parent for path in (model / ADAPTERS).glob(f"*/{WEIGHTS}")}
    found: dict[str, Adapter] = {}
    if DEFAULT in own:
        found[DEFAULT] = _adapter(DEFAULT, 1.0, own[DEFAULT])
    seen: set[str] = set()
    for text in wanted:
        source, weight = _split(text)
        name = source if _NAME.fullmatch(source) and source in own else Path(source).resolve().name
        folder = own[source] if name == source and source in own else Path(source)
        if not (folder / WEIGHTS).is_file() or not (folder / CONFIG).is_file():
            names = ", ".join(sorted(own)) or "it has none"
            raise AdapterError(
                f"adapter {source!r}: neither one of this model's ({names}) nor a folder with {CONFIG} and {WEIGHTS}"
            )
        if name in seen:
            raise AdapterError(f"adapter {source!r}: given twice; give it once, with the weight you want")
        seen.add(name)
        found[name] = _adapter(name, weight, folder)
    return tuple(sorted((one for one in found.values() if one.weight), key=lambda one: one.sha256))


def _split(text: str) -> tuple[str, float]:
    """("crowd", 0.5) of "crowd:0.5"; weight 1 where none is given."""
    source, colon, number = text.rpartition(":")
    if not colon or "/" in number:
        source, number = text, "1"
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not source or not abs(weight) <= MOST_WEIGHT:
        raise AdapterError(
            f"adapter {text!r}: must be NAME or NAME:weight, with a number from {-MOST_WEIGHT:g} to {MOST_WEIGHT:g}"
        )
    return source, weight


def _adapter(name: str, weight: float, folder: Path) -> Adapter:
    try:
        config = (folder / CONFIG).read_bytes()
        kind = json.loads(config)["peft_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(f"adapter {name!r}: {folder / CONFIG} is no description of an adapter") from error
    if kind != "LORA":
        raise AdapterError(f"adapter {name!r}: must be a LoRA, got peft_type {str(kind)[:40]!r}")
    digest = hashlib.sha256(config)
    with (folder / WEIGHTS).open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return Adapter(name, weight, folder, digest.hexdigest())


def inject(model: Any, adapters: Sequence[Adapter]) -> Any:
    """The model with these adapters and no others; with none, the plain model with its own weights.

    Args:
        model: a causal LM of transformers, or what an earlier call returned.

    Raises:
        AdapterError: an adapter was made for a model of another shape.
    """
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    if isinstance(model, PeftModel):
        model = model.unload()
    if not adapters:
        return model
    injected: Any = None
    for one in adapters:
        try:
            with quiet_peft():
                if injected is None:
                    injected = PeftModel.from_pretrained(model, str(one.folder), adapter_name=one.sha256[:16])
                else:
                    injected.load_adapter(str(one.folder), adapter_name=one.sha256[:16])
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            reason = str(error).strip().splitlines()
            raise AdapterError(
                f"adapter {one.name!r} does not fit this model: {reason[0] if reason else type(error).__name__}"
            ) from error
    injected.base_model.set_adapter([one.sha256[:16] for one in adapters])
    injected.requires_grad_(False)
    for layer in injected.modules():
        if isinstance(layer, LoraLayer):
            for one in adapters:
                if one.sha256[:16] in layer.scaling:
                    layer.set_scale(one.sha256[:16], one.weight)
    return injected.eval()


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Without a warning that is peft's own affair."""
    with warnings.catch_warnings():
        # peft 0.21 reads an attribute that transformers 5 has renamed.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def save_adapter(model: Any, adapter: str, folder: Path) -> None:
    """Write an adapter of a peft model as a folder of peft's: the same bytes for the same weights, and no path of this
    machine."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    tensors = get_peft_model_state_dict(model, adapter_name=adapter)
    config = model.peft_config[adapter].to_dict()
    config |= {"base_model_name_or_path": "", "inference_mode": True}
    # Sets have another order in every process.
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    folder.mkdir(parents=True, exist_ok=True)
    content = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    write_atomically(folder / WEIGHTS, save(content, metadata={"format": "pt"}))
    write_atomically(folder / CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
