"""The reader: a picture in, what it shows out, from its pixels alone.

The finder proposes boxes, the namer says what they may show, and `synthesis` draws that over the picture and keeps what
fits: box and looks are the fit's, kind and score the namer's.

reader = load_reader()
readings = reader.read(picture)  # uint8 [128, 128, 3] -> list[Reading], best score first
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stage.files import replacing, write_json
from stage.instruments.metrics.matching import iou
from stage.instruments.metrics.sharpness import sharpness
from stage.instruments.networks import HEADS, NOTHING, SIDE, Finder, Namer, cut, find, signal
from stage.instruments.reading import Box, Reading
from stage.instruments.synthesis import fitted
from stage.world.scene import PORTRAIT_SIDES, SIDES
from stage.world.vocabulary import second_colours

WEIGHTS = Path(__file__).resolve().parent / "weights"
_FILE, _CARD = "reader.safetensors", "reader.json"

# Least value of the centre map, and least probability of the kind, of what counts as an entity.
LEAST_CENTRE, LEAST_KIND = 0.25, 0.4
# Most entities of one picture.
MOST = 12
# Two boxes with a higher IoU show the same entity.
_SAME = 0.6


def size_of(box: Box, *, portrait: bool = False) -> str:
    """The size word of a box: the world's sizes are ranges of the longer side, and the nearest range counts."""
    longer = max(box[2] - box[0], box[3] - box[1])
    sides = PORTRAIT_SIDES if portrait else SIDES
    return min(sides, key=lambda size: max(sides[size][0] - longer, longer - sides[size][1]))


class _Named(NamedTuple):
    box: Box
    score: float
    looks: dict[str, str | None]
    beliefs: dict[str, dict[str | None, float]]


class Reader:
    """The trained finder and namer. Pure: the same picture gives the same readings, alone or among others."""

    def __init__(self, finder: Finder, namer: Namer):
        self._finder, self._namer = finder.eval(), namer.eval()

    @torch.no_grad()
    def read(self, picture: NDArray[np.uint8], *, portrait: bool = False) -> list[Reading]:
        """The entities that a picture shows, best score first, at most one for a place.

        Args:
            picture: uint8 [S, S, 3]; a side other than 128 is resized to it (bicubic).
            portrait: sizes are those of a close-up (`stage.world.scene.PORTRAIT_SIDES`).

        Raises:
            ValueError: the picture is not uint8 [S, S, 3].
        """
        if picture.ndim != 3 or picture.shape[0] != picture.shape[1] or picture.shape[2] != 3:
            raise ValueError(f"picture: shape {picture.shape} is not [S, S, 3]; give one square RGB picture")
        if picture.dtype != np.uint8:
            raise ValueError(f"picture: dtype {picture.dtype} is not uint8; give sRGB values 0..255")
        scaled = picture
        if picture.shape[0] != SIDE:
            scaled = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        pixels = signal(torch.from_numpy(np.array(scaled))[None])
        ((boxes, _),) = find(self._finder(pixels), least=LEAST_CENTRE, most=MOST)
        kept: list[_Named] = []
        for named in sorted(self._name(pixels, boxes), key=lambda named: -named.score):
            if all(iou(named.box, other.box) <= _SAME for other in kept):
                fit = fitted(scaled, named.box, named.looks, named.beliefs)
                kept.append(named._replace(box=fit.box, looks=fit.looks))
        return [
            Reading(
                **named.looks,  # type: ignore[arg-type]
                size=size_of(named.box, portrait=portrait),
                box=named.box,
                score=named.score,
                sharpness=sharpness(picture, named.box),
            )
            for named in kept
        ]

    def _name(self, pixels: torch.Tensor, boxes: torch.Tensor) -> list[_Named]:
        """Name the boxes [N, 4] of one picture and correct them, twice: the second look is at the corrected box."""
        if not len(boxes):
            return []
        index = torch.zeros(len(boxes), dtype=torch.int64)
        # One crop at a time: sums of a batch may be ordered otherwise, and a reading must not depend on its neighbours.
        looks = [self._look(pixels, index[:1], box[None]) for box in boxes]
        named = []
        for logits, box in looks:
            kind = logits["kind"].softmax(-1)[0]
            best = int(kind.argmax())
            score = float(kind[best])
            if HEADS["kind"][best] == NOTHING or score < LEAST_KIND:
                continue
            values = {name: HEADS[name][int(logits[name].argmax())] for name in HEADS}
            beliefs = {
                name: dict(zip(HEADS[name], logits[name][0].log_softmax(-1).tolist(), strict=True)) for name in HEADS
            }
            looks = _consistent(values, logits)
            named.append(_Named(tuple(box[0].tolist()), score, looks, beliefs))  # type: ignore[arg-type]
        return named

    def _look(
        self, pixels: torch.Tensor, index: torch.Tensor, boxes: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Mean logits of a crop and its mirror image, at a corrected box; the box [1, 4] corrected once more."""
        logits: dict[str, torch.Tensor] = {}
        for _ in range(2):
            crop = cut(pixels, index, boxes)
            both = self._namer(torch.cat([crop, crop.flip(-1)]))
            # In the mirror left is right: facings change places, and the sides of the box with their signs.
            both["facing"][1] = both["facing"][1].flip(0)
            both["box"][1] = both["box"][1][[2, 1, 0, 3]] * torch.tensor([-1.0, 1.0, -1.0, 1.0])
            logits = {name: value.mean(0, keepdim=True) for name, value in both.items()}
            boxes = (boxes + logits["box"] * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)).clamp(-0.1, 1.1)
        return logits, boxes


def _consistent(values: dict[str, str | None], logits: dict[str, torch.Tensor]) -> dict[str, str | None]:
    """Values that can stand together: a second colour if and only if there is a pattern, and one that the world puts on
    the first.
    """
    if values["pattern"] == "plain":
        return values | {"second": None}
    allowed = second_colours(str(values["colour"]))
    scores = dict(zip(HEADS["second"], logits["second"][0].tolist(), strict=True))
    return values | {"second": max(allowed, key=lambda colour: scores[colour])}


def export(folder: Path, finder: Finder, namer: Namer, *, card: dict[str, Any]) -> None:
    """Write the weights as float16 safetensors and their card with the SHA-256, each atomically."""
    from safetensors.torch import save_file

    tensors = {
        f"{name}.{key}": value.detach().half().contiguous()
        for name, module in (("finder", finder), ("namer", namer))
        for key, value in module.state_dict().items()
        if value.is_floating_point()
    }
    with replacing(folder / _FILE) as temporary:
        save_file(tensors, temporary)
    content = (folder / _FILE).read_bytes()
    hashed = {"file": _FILE, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "dtype": "float16"}
    write_json(folder / _CARD, hashed | card)


def load_reader(folder: Path = WEIGHTS) -> Reader:
    """The shipped reader (or that of another folder), after its weights were checked against their card.

    Raises:
        FileNotFoundError: no weights or no card there.
        ValueError: the weights are not those the card names.
    """
    from safetensors.torch import load

    card, content = json.loads((folder / _CARD).read_text()), (folder / _FILE).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != card["sha256"]:
        raise ValueError(
            f"{folder / _FILE}: SHA-256 {found} is not {card['sha256']} of {_CARD}; the weights are damaged or were "
            "replaced: check them out again, or train anew with benchmarks/stage/instruments/train.py"
        )
    tensors = load(content)
    modules: dict[str, Any] = {"finder": Finder(), "namer": Namer()}
    for name, module in modules.items():
        own = {key.removeprefix(f"{name}."): value.float() for key, value in tensors.items() if key.startswith(name)}
        counters = {key: value for key, value in module.state_dict().items() if not value.is_floating_point()}
        module.load_state_dict(own | counters)
    return Reader(modules["finder"], modules["namer"])
