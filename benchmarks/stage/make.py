"""Make the embedded model from nothing: world, autoencoder, text encoder, denoiser, `models/stage`.

    .venv/bin/python -P benchmarks/stage/make.py [--config small_cpu] [--workers 2]

Every stage resumes where it was stopped. `--prepare` is for a second core: it renders and encodes the training
pictures ahead of a run that is under way, then trains the decoder.
"""

import argparse
import concurrent.futures
import multiprocessing
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))


def render_chunk(name: str, folder: Path, kind: Any, chunk: int) -> None:
    """Write the pictures, shares, tokens and, where the training reads them, looks and places of one chunk, unless
    they are there.
    """
    from stage.model.config import CONFIGS
    from stage.model.latents import tokens_of_chunk
    from stage.model.pictures import looks_of_chunk, pictures_of_chunk, places_of_chunk, shares_of_chunk
    from stage.model.tokenizer import build_tokenizer

    pictures_of_chunk(CONFIGS[name], folder, kind, chunk)
    shares_of_chunk(CONFIGS[name], folder, kind, chunk)
    tokens_of_chunk(CONFIGS[name], folder, kind, chunk, build_tokenizer())
    if kind != "twin":
        looks_of_chunk(CONFIGS[name], folder, kind, chunk)
        places_of_chunk(CONFIGS[name], folder, kind, chunk)


def main() -> None:
    """Parse the command line and run all stages in order."""
    from stage.model.config import CONFIGS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=sorted(CONFIGS), default="small_cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that render first (0: render when needed)")
    parser.add_argument("--prepare", action="store_true", help="prepare the training pictures and train the decoder")
    arguments = parser.parse_args()
    config = CONFIGS[arguments.config]

    import torch

    from stage.model.autoencoder import train_autoencoder
    from stage.model.decoder import train_decoder
    from stage.model.export import export
    from stage.model.latents import channel_scales, latents_of_chunk
    from stage.model.tokenizer import build_tokenizer
    from stage.model.train import train

    folder = ROOT / "build" / "stage" / config.name
    chunks: list[tuple[Any, int]] = [("portrait", n) for n in range(config.portraits // config.chunk)]
    chunks += [(kind, n) for kind in ("scene", "twin") for n in range(config.scenes // config.chunk)]
    if arguments.workers:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(arguments.workers, mp_context=context) as pool:
            for done in [pool.submit(render_chunk, config.name, folder, *chunk) for chunk in chunks]:
                done.result()
    tokenizer = build_tokenizer()
    torch.set_num_threads(config.vae_threads)
    autoencoder = train_autoencoder(config, folder)
    # One thread from here on: the decoder trains beside the denoiser.
    torch.set_num_threads(1)
    if arguments.prepare:
        for kind, chunk in chunks:
            render_chunk(config.name, folder, kind, chunk)
            latents_of_chunk(config, folder, kind, chunk, autoencoder)
        train_decoder(config, folder, autoencoder)
        return
    # The model as it is so far, to look at; models/stage changes only at the end.
    trained = train(config, folder, tokenizer=tokenizer, autoencoder=autoencoder, target=folder / "model")
    train_decoder(config, folder, autoencoder)
    target = ROOT / "models" / "stage"
    export(
        target,
        tokenizer=tokenizer,
        autoencoder=autoencoder,
        scales=channel_scales(config),
        text_encoder=trained.text_encoder,
        unet=trained.unet,
    )


if __name__ == "__main__":
    main()
