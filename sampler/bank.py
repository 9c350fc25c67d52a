"""The entity bank: what each entity looks like inside the UNet, kept from its casting pass.

For each self-attention layer of the up blocks and each step it holds the hidden states (before to_k and to_v, half of
K + V) of a fixed number of the entity's own core positions. Its size does not grow with the number of frames, and since
frames meet only in the frozen bank, a frame drawn alone equals the same frame in any story.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import safetensors.torch
from torch import Tensor


@dataclass(frozen=True)
class EntityMemory:
    """One entity's casting result.

    entity: id in the plan.
    noise_key: number of the entity's noise field chosen at casting.
    presence: presence measured for that field, natural-log units.
    candidates: presence of every field tried, in order of their numbers.
    tokens: (layer name, timestep) -> hidden states [M, C].
    made_from: name -> value of everything the memory depends on; see `casting.made_from`.
    """

    entity: str
    noise_key: int
    presence: float
    candidates: tuple[float, ...]
    tokens: Mapping[tuple[str, int], Tensor]
    made_from: Mapping[str, str] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all tokens."""
        return sum(tokens.nbytes for tokens in self.tokens.values())


def memory_to_bytes(memory: EntityMemory) -> bytes:
    """safetensors bytes of one entity's memory."""
    header = {
        "entity": memory.entity,
        "noise_key": memory.noise_key,
        "presence": memory.presence.hex(),
        "candidates": [value.hex() for value in memory.candidates],
        "made_from": dict(memory.made_from),
    }
    tensors = {f"{step}|{layer}": tokens.cpu().contiguous() for (layer, step), tokens in memory.tokens.items()}
    return safetensors.torch.save(tensors, metadata={"raccord": json.dumps(header, sort_keys=True)})


def memory_from_bytes(data: bytes) -> EntityMemory:
    """The inverse of `memory_to_bytes`.

    Raises:
        ValueError: the bytes are not an entity memory.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["raccord"])
        tensors = safetensors.torch.load(data)
        tokens = {(name.split("|", 1)[1], int(name.split("|", 1)[0])): value for name, value in tensors.items()}
        return EntityMemory(
            entity=str(header["entity"]),
            noise_key=int(header["noise_key"]),
            presence=float.fromhex(header["presence"]),
            candidates=tuple(float.fromhex(value) for value in header["candidates"]),
            tokens=tokens,
            made_from={str(name): str(value) for name, value in dict(header["made_from"]).items()},
        )
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError, safetensors.SafetensorError) as error:
        raise ValueError(f"these bytes are not an entity memory written by raccord: {error}") from error


def memory_hash(memory: EntityMemory) -> str:
    """SHA-256 of the memory's bytes, hex."""
    return hashlib.sha256(memory_to_bytes(memory)).hexdigest()
