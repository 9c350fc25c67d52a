"""The stage: a procedural world with ground truth and the small latent diffusion model trained on it.

Scripts here are run by path (`.venv/bin/python benchmarks/stage/make.py`); `benchmarks/` is then on the path and the
modules import
each other as `stage.world`, `stage.world.captions` and so on.
"""
