"""LoRA adapters: found, weighted, added up, taken out; what cannot be used is refused by name."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from raccord.planner.adapters import AdapterError, find_adapters
from raccord.planner.direct import propose
from raccord.planner.embedded import embedded_model
from raccord.planner.language_model import LanguageModelError, load_language_model

STORY = "Lina is a red cat. Bo is a blue dog. Lina meets Bo at the beach."


@pytest.fixture(scope="module")
def planner():
    return embedded_model("planner")


@pytest.fixture
def other(planner, tmp_path):
    """A folder with an adapter of one's own: the model's own with its A and B scaled."""
    return _scaled(planner / "adapters" / "base", tmp_path / "other", 0.5)


def _scaled(source: Path, folder: Path, factor: float) -> Path:
    folder.mkdir()
    tensors = load_file(source / "adapter_model.safetensors")
    save_file({k: v * factor for k, v in tensors.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text((source / "adapter_config.json").read_text())
    return folder


def _logits(model):
    ids = torch.arange(2, 40)[None]
    with torch.no_grad():
        return model.model(input_ids=ids).logits


def test_base_is_in_use_unless_it_is_told_otherwise(planner):
    assert [(one.name, one.weight) for one in find_adapters(planner)] == [("base", 1.0)]
    assert find_adapters(planner, ["base:0"]) == ()
    assert [one.weight for one in find_adapters(planner, ["base:-0.5"])] == [-0.5]


def test_what_is_taken_out_leaves_no_bit_behind(planner, other):
    model = load_language_model(planner, adapters=["base:0"])
    plain, names = _logits(model), {name for name, _ in model.model.named_parameters()}
    model.use(find_adapters(planner, [str(other)]))
    assert not torch.equal(_logits(model), plain)
    model.use(())
    assert torch.equal(_logits(model), plain)
    assert {name for name, _ in model.model.named_parameters()} == names


def test_adapters_add_up_as_the_formula_says_in_any_order(planner, other):
    model = load_language_model(planner, adapters=["base:0"])
    weights = {name: value.double() for name, value in model.model.named_parameters()}
    wanted = ["base:0.5", f"{other}:2"]
    one = load_language_model(planner, adapters=wanted)
    same = load_language_model(planner, adapters=wanted[::-1])
    assert torch.equal(_logits(one), _logits(same))
    assert one.record == same.record
    scaling = 2.0  # alpha / r of both
    sums = {}
    for adapter in one.adapters:
        tensors = load_file(adapter.folder / "adapter_model.safetensors")
        for key, a in tensors.items():
            if "lora_A" in key:
                b = tensors[key.replace("lora_A", "lora_B")]
                name = key.removeprefix("base_model.model.").replace(".lora_A", "")
                sums[name] = sums.get(name, 0) + adapter.weight * scaling * b.double() @ a.double()
    reference = load_language_model(planner, adapters=["base:0"])
    with torch.no_grad():
        for name, value in reference.model.named_parameters():
            if name in sums:
                value.copy_(weights[name] + sums[name])
    torch.testing.assert_close(_logits(one), _logits(reference), rtol=1e-3, atol=1e-3)


def test_a_plan_says_which_adapters_it_is_from(planner, other):
    proposal = propose(STORY, adapters=[f"{other}:0.25"])
    assert {(one["name"], one["weight"]) for one in proposal.planner["adapters"]} == {("base", 1.0), ("other", 0.25)}
    assert all(len(one["sha256"]) == 64 for one in proposal.planner["adapters"])
    assert str(other.parent) not in json.dumps(proposal.planner)
    assert proposal.planner["weights_sha256"] == propose(STORY, adapters=["base:0"]).planner["weights_sha256"]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (["missing"], "neither one of this model's"),
        (["../../secret"], "neither one of this model's"),
        (["base:nan"], "number from -4 to 4"),
        (["base:5"], "number from -4 to 4"),
        (["base:"], "number from -4 to 4"),
        ([":1"], "number from -4 to 4"),
        (["base", "base:0.5"], "twice"),
        (["base"] * 9, "at most 8"),
    ],
)
def test_what_cannot_be_used_is_refused(planner, wanted, told):
    with pytest.raises(AdapterError, match=told):
        find_adapters(planner, wanted)


def test_folders_that_are_no_lora_are_refused(planner, other):
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps({**config, "peft_type": "IA3"}))
    with pytest.raises(AdapterError, match="must be a LoRA, got peft_type 'IA3'"):
        find_adapters(planner, [str(other)])
    (other / "adapter_config.json").write_text("[1]")
    with pytest.raises(AdapterError, match="no description of an adapter"):
        find_adapters(planner, [str(other)])
    # Pickled weights are not even looked at.
    (other / "adapter_model.safetensors").rename(other / "adapter_model.bin")
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors"):
        find_adapters(planner, [str(other)])


def test_an_adapter_of_another_model_is_refused(planner, other):
    tensors = load_file(other / "adapter_model.safetensors")
    save_file({k: v[:, :-1].contiguous() for k, v in tensors.items()}, other / "adapter_model.safetensors")
    with pytest.raises(LanguageModelError, match="'other' does not fit this model"):
        load_language_model(planner, adapters=[str(other)])
