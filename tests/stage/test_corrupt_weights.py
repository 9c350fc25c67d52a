"""The shipped weights are refused before use when one bit of them differs from their SHA-256 manifest."""

import pickle
import shutil
from pathlib import Path

import pytest
from stage.draws import Draws

from raccord.planner.embedded import EmbeddedModelError, check_folder

MODEL = Path(__file__).resolve().parents[2] / "models" / "stage"


@pytest.fixture
def model(tmp_path):
    """A copy of the shipped folder whose files may be broken."""
    return Path(shutil.copytree(MODEL, tmp_path / "stage"))


def _weights(model: Path) -> list[Path]:
    return sorted(model.rglob("*.safetensors"))


def test_the_shipped_folder_is_whole():
    check_folder(MODEL)


def test_64_truncations_are_refused(model):
    for n in range(64):
        draws = Draws(1, "truncation", n)
        path = draws.choose(_weights(model))
        content = path.read_bytes()
        path.write_bytes(content[: draws.integer(len(content))])
        with pytest.raises(EmbeddedModelError, match="SHA-256"):
            check_folder(model)
        path.write_bytes(content)
    check_folder(model)


def test_1000_bit_flips_are_refused(model):
    paths = _weights(model)
    sizes = [path.stat().st_size for path in paths]
    for n in range(1_000):
        draws = Draws(1, "bit flip", n)
        place, bit = draws.integer(sum(sizes)), draws.integer(8)
        index = next(i for i in range(len(sizes)) if place < sum(sizes[: i + 1]))
        place -= sum(sizes[:index])
        with paths[index].open("r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ (1 << bit)]))
            file.flush()
            with pytest.raises(EmbeddedModelError, match="SHA-256"):
                check_folder(model)
            file.seek(place)
            file.write(bytes([byte]))
    check_folder(model)


def test_wrong_shapes_are_refused(model):
    from safetensors.torch import load_file, save_file

    path = model / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    name = max(weights, key=lambda name: weights[name].numel())
    save_file(weights | {name: weights[name].flatten()[:-1].clone()}, path)
    with pytest.raises(EmbeddedModelError, match="SHA-256"):
        check_folder(model)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors", "more.txt"])
def test_a_pickle_is_refused_under_any_name(name, model):
    (model / "unet" / name).write_bytes(pickle.dumps({"weight": 1}))
    with pytest.raises(EmbeddedModelError, match=r"can run code|SHA-256|not listed"):
        check_folder(model)


def test_a_missing_file_is_refused(model):
    (model / "unet" / "config.json").unlink()
    with pytest.raises(EmbeddedModelError, match="missing"):
        check_folder(model)
