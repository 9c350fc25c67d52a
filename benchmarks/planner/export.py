"""Make models/planner of the latest checkpoints: transformers folder, peft adapters, world, model card, SHA-256
manifest."""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import corpus
import torch
from recipe import ADAPTERS, checkpoint, new_model, trained_model, with_adapter
from stage.files import replace_folder
from tokens import planner_tokenizer
from transformers import PreTrainedTokenizerFast

from raccord.planner.adapters import ADAPTERS as ADAPTERS_FOLDER
from raccord.planner.adapters import save_adapter
from raccord.planner.embedded import MANIFEST, check_folder, manifest
from raccord.planner.tuning import load_weights
from raccord.planner.world import write_world

MODEL = Path(__file__).resolve().parents[2] / "models" / "planner"
CARD = Path(__file__).with_name("card.md")
RESULT = Path(__file__).resolve().parents[1] / "results" / "planner.json"


def _card(parameters: int) -> str:
    """The model card with the figures of the last report; before the first report it says that there are none."""
    report = json.loads(RESULT.read_text()) if RESULT.exists() else None
    figures, speed = "Not measured yet.", ""
    if report is not None:
        figures = "\n\n".join(part(report) for part in (_plans, _scenes, _adapters, _others))
        seconds = report["adapters"]["base"]["processor_seconds_per_four_frame_story_median"]
        speed = f"A story of four sentences takes {seconds} s of processor time (median; {report['machine']})."
    text = CARD.read_text(encoding="utf-8")
    values = {
        "parameters": f"{parameters:,}",
        "stories": str(report["held_out_stories"]) if report else "no",
        "rules": str(report["rules_without_a_model"]["held_out_stories"]) if report else "no",
        "figures": figures,
        "speed": speed,
    }
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _table(columns: dict[str, dict[str, float]]) -> str:
    """Columns of figures by measure, as Markdown."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    rows += [[name.replace("_", " "), *(str(column.get(name, "")) for column in columns.values())] for name in names]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _plans(report: dict) -> str:
    columns = {f"plan, {name}": figures["plans_percent"] for name, figures in report["adapters"].items()}
    columns["plan, two examples instead of adapters"] = report["few_shot_without_adapter"]["plans_percent"]
    return _table({**columns, "plan, rules": report["rules_without_a_model"]["plans_percent"]})


def _scenes(report: dict) -> str:
    columns = {f"as written, {name}": f["as_written_percent"] for name, f in report["adapters"].items()}
    columns["as written, two examples"] = report["few_shot_without_adapter"]["as_written_percent"]
    free = report["free_decoding"]
    columns |= {f"free decoding, {how}": f["as_written_percent"] for how, f in free.items() if isinstance(f, dict)}
    return _table(columns)


def _adapters(report: dict) -> str:
    columns = {name: f["layout_percent"] for name, f in report["adapters"].items()}
    crowds = {f"crowded stories, {name}": f["layout_percent"] for name, f in report["crowds"].items()}
    return _table(columns | crowds)


def _others(report: dict) -> str:
    valid = {name: figures["valid_plans_percent"] for name, figures in report["adapters"].items()}
    free = {how: f["valid_plans_percent"] for how, f in report["free_decoding"].items() if isinstance(f, dict)}
    told = " and ".join(f"{value} % by {how}" for how, value in free.items())
    return (
        f"Valid plans: {min(valid.values())} % (free decoding: {told}). Further wordings of a story that give the "
        f"same plan: {report['paraphrases_same_plan_percent']} %. Stories with orders in them that had any effect but "
        f"text and boxes: {report['injection_stories_with_an_effect']} of {report['injection_stories']}."
    )


def export(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write the model of the checkpoints in build/planner into `folder`, weights in float16."""
    model = trained_model(tokenizer, corpus.BUILD)
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "world.json").write_text(write_world(corpus.world()), encoding="utf-8")
    for name in ADAPTERS:
        adapted = with_adapter(new_model(tokenizer))
        load_weights(checkpoint(corpus.BUILD, name), adapted)
        save_adapter(adapted.half(), "default", folder / ADAPTERS_FOLDER / name)
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
