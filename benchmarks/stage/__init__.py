"""The stage: a procedural world with ground truth and the small latent diffusion model trained on it.

Scripts here are run by path (`.venv/bin/python -P benchmarks/stage/make.py`); they put `benchmarks/` on the path,
and the modules import each other as `stage.world.scene`, `stage.model.train` and so on.
"""
