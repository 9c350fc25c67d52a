"""Pictures made worse on purpose, keyed: as a small diffusion model may draw them, and too bad to be read."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from stage.draws import Draws, key

Picture = NDArray[np.uint8]


def blurred(picture: Picture, sigma: float) -> Picture:
    """Gaussian blur (as Pillow approximates it), sigma in pixels."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma)))


def resampled(picture: Picture, factor: float) -> Picture:
    """Shrunk by the factor (>= 1) and enlarged again, as what passed through a coarse latent."""
    side = picture.shape[0]
    less = max(1, round(side / factor))
    small = Image.fromarray(picture).resize((less, less), Image.Resampling.BICUBIC)
    return np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))


def noisy(picture: Picture, deviation: float, noise_key: int) -> Picture:
    """Independent normal noise with this standard deviation in 0..255."""
    noise = np.random.Generator(np.random.Philox(noise_key)).standard_normal(picture.shape, np.float32)
    return np.clip(picture + deviation * noise + 0.5, 0, 255).astype(np.uint8)


def wobbled(picture: Picture, amplitude: float, noise_key: int, *, cells: int = 12) -> Picture:
    """Every pixel fetched from up to `amplitude` pixels away, in x and in y; the displacement is smooth, with `cells`
    independent values across the picture.
    """
    side = picture.shape[0]
    coarse = np.random.Generator(np.random.Philox(noise_key)).uniform(-amplitude, amplitude, (2, cells, cells))
    x, y = (
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))
        for plane in coarse
    )
    x = np.clip(np.arange(side, dtype=np.float32) + x, 0, side - 1.001)
    y = np.clip(np.arange(side, dtype=np.float32)[:, None] + y, 0, side - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    across, down = (x - left)[..., None], (y - top)[..., None]
    flat, corner = picture.reshape(-1, 3), top * side + left
    upper = flat[corner] * (1 - across) + flat[corner + 1] * across
    lower = flat[corner + side] * (1 - across) + flat[corner + side + 1] * across
    return (upper * (1 - down) + lower * down + 0.5).astype(np.uint8)


def blended(picture: Picture, other: Picture, share: float) -> Picture:
    """`picture` with this share (0..1) of `other`."""
    return (picture * (1 - share) + other * share + 0.5).astype(np.uint8)


def as_drawn(picture: Picture, seed: int, *ids: int | str) -> Picture:
    """A picture (uint8 [S, S, 3]) as a small diffusion model may draw it: some blur, wobble, lost detail, noise and
    shifted tones, none of it in one picture of four.
    """
    draws = Draws(seed, "as drawn", *ids)
    if draws.chance(0.25):
        return picture
    unit = picture.shape[0] / 128
    if draws.chance(0.5):
        picture = wobbled(picture, draws.uniform(0.0, 2.0) * unit, key(seed, "wobble", *ids))
    if draws.chance(0.35):
        picture = resampled(picture, draws.uniform(1.0, 2.2))
    if draws.chance(0.6):
        picture = blurred(picture, draws.uniform(0.0, 1.5) * unit)
    if draws.chance(0.3):
        tint = np.array([draws.uniform(-8, 8) for _ in range(3)]) + 128
        picture = np.clip((picture - 128.0) * draws.uniform(0.88, 1.06) + tint, 0, 255).astype(np.uint8)
    if draws.chance(0.4):
        picture = noisy(picture, draws.uniform(0.0, 9.0), key(seed, "noise", *ids))
    return picture


def ruined(picture: Picture, other: Picture, seed: int, *ids: int | str) -> Picture:
    """A picture (uint8 [S, S, 3]) in which no entity should be named: smeared, broken up, drowned in noise, or half
    another picture.
    """
    draws, unit = Draws(seed, "ruined", *ids), picture.shape[0] / 128
    way = draws.integer(4)
    if way == 0:
        return blurred(picture, draws.uniform(4.5, 9.0) * unit)
    if way == 1:
        broken = wobbled(picture, draws.uniform(14.0, 24.0) * unit, key(seed, "wobble", *ids), cells=24)
        return blurred(broken, draws.uniform(0.5, 1.5) * unit)
    if way == 2:
        return noisy(blurred(picture, draws.uniform(1.0, 3.0) * unit), draws.uniform(70, 110), key(seed, "noise", *ids))
    return blended(picture, other, draws.uniform(0.42, 0.58))
