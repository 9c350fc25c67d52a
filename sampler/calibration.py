"""What depends on the model and not on the story: strengths and thresholds, measured once and stored beside it."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

FILE_NAME = "raccord.json"


@dataclass(frozen=True)
class Calibration:
    """Constants of one diffusion model.

    guidance: classifier-free guidance scale used when the caller names none.
    eta: DDIM's eta in 0..1 used when the caller names none.
    guidance_rescale: share of Lin et al.'s rescale (arXiv 2305.08891, section 3.4), 0..1.
    beta: share of the frame prompt inside items, 0..1.
    bank_weight: factor on an entity's memory in self-attention; 0 = no memory is made.
    casting_background: what stands behind an entity in its casting pass.
    casting_candidates: noise fields tried for each entity, >= 1; 1 = the first is taken unseen.
    casting_steps: steps each candidate is run for.
    check_share: share of the steps after which presence is checked.
    presence_threshold: an item below it is repaired; None = not calibrated, nothing is repaired.
    repair_tries: fresh noise fields an item may get in a frame.
    memory_budget: memory tokens on a grid of 256 positions; other grids in proportion.
    """

    guidance: float = 7.5
    eta: float = 0.0
    guidance_rescale: float = 0.0
    beta: float = 0.1
    bank_weight: float = 1.0
    casting_background: str = "a plain background"
    casting_candidates: int = 8
    casting_steps: int = 3
    check_share: float = 0.16
    presence_threshold: float | None = None
    repair_tries: int = 3
    memory_budget: int = 32

    def __post_init__(self) -> None:
        for name, low, high in (
            ("guidance", 0.0, 100.0),
            ("eta", 0.0, 1.0),
            ("guidance_rescale", 0.0, 1.0),
            ("beta", 0.0, 1.0),
            ("bank_weight", 0.0, 100.0),
            ("casting_candidates", 1, 1024),
            ("casting_steps", 1, 1000),
            ("check_share", 0.0, 1.0),
            ("repair_tries", 0, 1024),
            ("memory_budget", 1, 256),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise ValueError(f"calibration: {name} must lie in {low}..{high}, got {value!r}")


def read_calibration(folder: Path) -> Calibration:
    """The calibration stored as `raccord.json` in a model's folder; the defaults where there is none.

    Raises:
        ValueError: the file is not a JSON object of the fields above, or a value is out of range.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return Calibration()
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); restore the file or delete it to use defaults") from error
    known = {field.name for field in fields(Calibration)}
    if not isinstance(found, dict) or not found.keys() <= known:
        raise ValueError(f"{path}: must be an object with fields among {sorted(known)}, got {found!r}")
    return Calibration(**found)
