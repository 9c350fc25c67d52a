"""Figures of the shipped model with the stock pipeline: `benchmarks/results/stage.json` and a contact sheet.

.venv/bin/python benchmarks/stage/report.py [--count 48] [--steps 25] [--guidance 3]
"""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

# Any seed but the training's own: scenes, prompts and noise of the figures.
SEED = 4242


def trained_captions(config: Any) -> set[str]:
    """Every caption of the training pictures."""
    from stage.draws import Draws
    from stage.model.pictures import Kind, scene_of
    from stage.world.captions import caption

    sets: tuple[tuple[Kind, int], ...] = (
        ("portrait", config.portraits),
        ("scene", config.scenes),
    )
    return {
        caption(scene, Draws(config.seed, f"{kind} caption", number, i))
        for kind, count in sets
        for number in range(count)
        for scene in (scene_of(config, kind, number),)
        for i in range(config.captions)
    }


def unseen_prompts(config: Any, count: int, *, trained: set[str], items: int, seed: int) -> list[tuple[str, Any]]:
    """Captions with named colours and their scenes whose exact text is none of the training captions.

    Args:
        count: how many.
        trained: captions to leave out.
        items: items a scene, 1 or 2, of different colours.
    """
    from stage.draws import Draws
    from stage.world.captions import caption
    from stage.world.scene import sample_scene

    found, number = [], 0
    while len(found) < count:
        scene = sample_scene(seed, number, rates=config.rates)
        text = caption(scene, Draws(seed, "caption", number))
        named = len(scene.items) == items and all(item.colour in text for item in scene.items)
        if named and len({item.colour for item in scene.items}) == items and text not in trained:
            found.append((text, scene))
        number += 1
    return found


def autoencoder_figures(vae: Any, count: int) -> dict[str, float]:
    """PSNR in dB of `count` scenes never trained on: over all pixels, and the mean over pictures."""
    import numpy as np
    import torch

    from stage.model.autoencoder import psnr
    from stage.model.pictures import to_signal
    from stage.world.scene import render, sample_scene

    signals = to_signal(np.stack([render(sample_scene(SEED, n)) for n in range(count)]))
    with torch.no_grad():
        results = torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in signals.split(8)])
    single = [psnr(a, b) for a, b in zip(results, signals, strict=True)]
    return {
        "pictures": count,
        "psnr": round(psnr(results, signals), 2),
        "psnr_mean_of_pictures": round(sum(single) / count, 2),
    }


def draw(pipe: Any, texts: list[str], *, steps: int, guidance: float) -> Any:
    """Pictures of the texts, uint8 [N, H, W, 3]; the noise of text n is keyed by n."""
    import numpy as np
    import torch

    from stage.draws import key

    pictures = []
    for start in range(0, len(texts), 8):
        generators = [
            torch.Generator().manual_seed(key(SEED, "noise", n)) for n in range(start, min(start + 8, len(texts)))
        ]
        result = pipe(
            texts[start : start + 8],
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generators,
            output_type="np",
        )
        pictures.append(np.round(result.images * 255).astype(np.uint8))
    return np.concatenate(pictures)


def prompt_figures(pictures: Any, prompts: list[tuple[str, Any]], reader: Any) -> dict[str, Any]:
    """What a reader finds of the prompts in drawn pictures.

    One item: everything the prompt names (`stage.instruments.prompts`), and how sharp the entity is against the
    world's own picture of the scene. Two items: kind, and kind and colour, of every item; counts.
    """
    from stage.instruments.metrics.counts import count_scores
    from stage.instruments.metrics.sharpness import relative_sharpness, sharpness
    from stage.instruments.prompts import answer, success_rates
    from stage.world.scene import render

    side = pictures[0].shape[0]
    read = [
        reader.read(picture, portrait=scene.portrait) for picture, (_, scene) in zip(pictures, prompts, strict=True)
    ]
    figures: dict[str, Any] = {"prompts": len(prompts)}
    rows = []
    if len(prompts[0][1].items) == 1:
        answers = [answer(r, text, scene.items[0]) for r, (text, scene) in zip(read, prompts, strict=True)]
        pairs = [
            (one.reading.sharpness, sharpness(render(scene, side=side), scene.items[0].box))
            for one, (_, scene) in zip(answers, prompts, strict=True)
            if one.reading is not None
        ]
        figures |= {name: round(value, 3) for name, value in success_rates(answers).items()}
        figures["surplus_per_picture"] = round(sum(one.surplus for one in answers) / len(answers), 3)
        if pairs:
            figures["relative_sharpness"] = round(relative_sharpness(*zip(*pairs, strict=True)), 3)
        for one, (text, _) in zip(answers, prompts, strict=True):
            rows.append({"prompt": text, **one.right, "read": one.reading and list(one.reading.code)})
    else:
        hits = []
        for readings, (text, scene) in zip(read, prompts, strict=True):
            seen = [(one.kind, one.colour) for one in readings]
            hits += [(item.kind in dict(seen), (item.kind, item.colour) in seen) for item in scene.items]
            rows.append({"prompt": text, "read": [list(one.code) for one in readings]})
        figures["kind"] = round(sum(kind for kind, _ in hits) / len(hits), 3)
        figures["kind_and_colour"] = round(sum(both for _, both in hits) / len(hits), 3)
        scores = count_scores([(readings, scene.items) for readings, (_, scene) in zip(read, prompts, strict=True)])
        figures["count"] = {name: round(value, 3) for name, value in scores._asdict().items()}
    return figures | {"rows": rows}


def contact_sheet(pictures: Any, path: Path, *, columns: int) -> None:
    """Write the first pictures side by side as PNG."""
    import numpy as np
    from PIL import Image

    rows = [
        np.concatenate(list(pictures[i : i + columns]), 1)
        for i in range(0, len(pictures) // columns * columns, columns)
    ]
    Image.fromarray(np.concatenate(rows)).save(path, optimize=True)


def text_curve(path: Path) -> list[Any] | None:
    """Rows of step and loss from the text encoder's checkpoint, None where there is none."""
    if not path.exists():
        return None
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["state"])["curve"]


def main() -> None:
    """Compute all figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=48, help="prompts of one item and of two items each")
    parser.add_argument("--steps", type=int, default=25)
    # The best of 2, 3, 4 and 7 on 40 other prompts, for the model's sixth version.
    parser.add_argument("--guidance", type=float, default=3.0)
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    from stage.files import write_json
    from stage.instruments.reader import WEIGHTS, load_reader
    from stage.model.config import SMALL_CPU
    from stage.world.scene import render

    model = ROOT / "models" / "stage"
    began = time.monotonic()
    pipe = StableDiffusionPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    reader = load_reader()
    results: dict[str, Any] = {
        "unet_sha256": hashlib.sha256(
            (model / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
        ).hexdigest(),
        "config": SMALL_CPU.to_json(),
        "sampling": {
            "pipeline": "stock StableDiffusionPipeline",
            "steps": arguments.steps,
            "guidance": arguments.guidance,
            "seed": SEED,
        },
        "autoencoder": autoencoder_figures(pipe.vae, 64),
        "reader_sha256": json.loads((WEIGHTS / "reader.json").read_text())["sha256"],
    }
    trained = trained_captions(SMALL_CPU)
    single = unseen_prompts(SMALL_CPU, arguments.count, trained=trained, items=1, seed=SEED)
    double = unseen_prompts(SMALL_CPU, arguments.count, trained=trained, items=2, seed=SEED)
    for name, prompts in (("one_item", single), ("two_items", double)):
        pictures = draw(pipe, [text for text, _ in prompts], steps=arguments.steps, guidance=arguments.guidance)
        results[name] = prompt_figures(pictures, prompts, reader)
        results[name]["ceiling_on_renders"] = {
            k: v
            for k, v in prompt_figures([render(scene) for _, scene in prompts], prompts, reader).items()
            if k != "rows"
        }
        contact_sheet(pictures, ROOT / "benchmarks" / "results" / f"stage_{name}.png", columns=8)
        print(name, {k: v for k, v in results[name].items() if k != "rows"}, flush=True)
    for name, file in (
        ("loss_curve", "curve.json"),
        ("autoencoder_curve", "vae_curve.json"),
        ("decoder_curve", "decoder_curve.json"),
    ):
        path = ROOT / "build" / "stage" / SMALL_CPU.name / file
        results[name] = json.loads(path.read_text()) if path.exists() else None
    results["text_curve"] = text_curve(ROOT / "build" / "stage" / SMALL_CPU.name / "text.safetensors")
    results["seconds"] = round(time.monotonic() - began, 1)
    write_json(ROOT / "benchmarks" / "results" / "stage.json", results)


if __name__ == "__main__":
    main()
