"""Make models/planner of the latest checkpoints: transformers folder, peft adapter, world, model card, SHA-256
manifest."""

import json
import tempfile
from pathlib import Path

import corpus
import torch
from recipe import ADAPTER_NAME, new_model, with_adapter
from stage.checkpoint import load_checkpoint
from stage.files import replace_folder
from tokens import planner_tokenizer
from transformers import PreTrainedTokenizerFast

from raccord.planner.embedded import MANIFEST, check_folder, manifest
from raccord.planner.language_model import ADAPTERS
from raccord.planner.world import write_world

MODEL = Path(__file__).resolve().parents[2] / "models" / "planner"
CARD = Path(__file__).with_name("card.md")
RESULT = Path(__file__).resolve().parents[1] / "results" / "planner.json"


def _without_machine_paths(folder: Path) -> None:
    """peft writes where the base model lay on this machine; the adapter belongs to the folder it is in."""
    path = folder / "adapter_config.json"
    path.write_text(path.read_text().replace(str(corpus.BUILD), ""))


def _card(parameters: int) -> str:
    """The model card with the figures of the last report; before the first report it says that there are none."""
    report = (
        json.loads(RESULT.read_text()) if RESULT.exists() else {"held_out_stories": 0, "adapters": {}, "machine": ""}
    )
    columns = {
        f"{name}, {when}": figures[f"{key}_percent"]
        for name, figures in report["adapters"].items()
        for when, key in (("as written", "as_written"), ("repaired", "after_repair"))
    }
    rows = [["", *(f"adapter {title}" for title in columns)], ["---"] * (len(columns) + 1)]
    rows += [
        [measure.replace("_", " "), *(str(column.get(measure, "")) for column in columns.values())]
        for measure in next(iter(columns.values()), {})
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows) if columns else "Not measured yet."
    seconds = {name: figures["seconds_per_four_frame_story_median"] for name, figures in report["adapters"].items()}
    speed = (
        f"A story of four sentences takes {max(seconds.values())} s (median; {report['machine']})." if seconds else ""
    )
    text = CARD.read_text(encoding="utf-8")
    values = {
        "parameters": f"{parameters:,}",
        "stories": str(report["held_out_stories"]),
        "figures": table,
        "speed": speed,
    }
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def export(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write the model of the checkpoints in build/planner into `folder`, weights in float16."""
    model = new_model(tokenizer)
    load_checkpoint(corpus.BUILD / "base.safetensors", {"model": model})
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "world.json").write_text(write_world(corpus.world()), encoding="utf-8")
    adapter = corpus.BUILD / "adapter.safetensors"
    if adapter.exists():
        adapted = with_adapter(new_model(tokenizer))
        load_checkpoint(adapter, {"model": adapted})
        target = folder / ADAPTERS / ADAPTER_NAME
        adapted.half().save_pretrained(target)  # pyright: ignore[reportCallIssue]
        _without_machine_paths(target)
    # peft leaves a card of its own beside the adapter; ours describes both.
    for card in folder.rglob("README.md"):
        card.unlink()
    (folder / "README.md").write_text(_card(sum(p.numel() for p in model.parameters())), encoding="utf-8")
    # safetensors writes files that only their owner can read.
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / MANIFEST).write_text(manifest(folder), encoding="utf-8")
    check_folder(folder)


def main() -> None:
    """Replace models/planner at once: readers see the old folder or the new one."""
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MODEL.parent, prefix=".planner-") as temporary:
        folder = Path(temporary) / "planner"
        folder.mkdir()
        export(folder, planner_tokenizer())
        replace_folder(folder, MODEL)
    size = sum(path.stat().st_size for path in MODEL.rglob("*") if path.is_file())
    print(f"{MODEL}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
