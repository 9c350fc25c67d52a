"""Make the embedded model from nothing: world, autoencoder, denoiser, `models/stage`.

    .venv/bin/python benchmarks/stage/make.py [--config small_cpu]

Every stage resumes where it was stopped. `--prepare` is for a second core: it renders and encodes the training
pictures ahead of a run that is under way, then trains the decoder.
"""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))


def main() -> None:
    """Parse the command line and run all stages in order."""
    from stage.model.config import CONFIGS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=sorted(CONFIGS), default="small_cpu")
    parser.add_argument("--prepare", action="store_true", help="prepare the training pictures and train the decoder")
    arguments = parser.parse_args()
    config = CONFIGS[arguments.config]

    import torch

    # One thread: sums keep their order, so a rerun gives the same bytes whatever the machine's number of cores.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from stage.model.autoencoder import train_autoencoder
    from stage.model.decoder import train_decoder
    from stage.model.export import export
    from stage.model.latents import latents_of_chunk, tokens_of_chunk
    from stage.model.tokenizer import build_tokenizer
    from stage.model.train import train

    folder = ROOT / "build" / "stage" / config.name
    tokenizer = build_tokenizer()
    autoencoder = train_autoencoder(config, folder)
    if arguments.prepare:
        for chunk in range(config.pictures // config.chunk):
            latents_of_chunk(config, folder, chunk, autoencoder)
            tokens_of_chunk(config, folder, chunk, tokenizer)
        train_decoder(config, folder, autoencoder)
        return
    target = ROOT / "models" / "stage"
    trained = train(config, folder, tokenizer=tokenizer, autoencoder=autoencoder, target=target)
    train_decoder(config, folder, autoencoder)
    export(target, tokenizer=tokenizer, autoencoder=autoencoder, text_encoder=trained.text_encoder, unet=trained.unet)


if __name__ == "__main__":
    main()
