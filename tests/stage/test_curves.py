"""The plot of the training curves shows what the committed JSON holds."""

import json

import numpy as np
from PIL import Image
from stage.curves import RESULTS, ROOT, panels, plot


def committed():
    reader = ROOT / "benchmarks" / "stage" / "instruments" / "weights" / "curve.json"
    return json.loads((RESULTS / "stage.json").read_text()), json.loads(reader.read_text())


def test_every_line_has_its_column():
    drawn = panels(*committed())
    assert len({panel.title for panel in drawn}) == len(drawn)
    for panel in drawn:
        for row in panel.rows or []:
            assert all(row[column] > 0 for column, _ in panel.columns)


def test_the_picture_depends_on_the_rows_and_on_nothing_else(tmp_path):
    stage, reader = committed()
    plot(panels(stage, reader), tmp_path / "a.png")
    plot(panels(stage, reader), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    plot(panels(stage | {"loss_curve": None}, reader), tmp_path / "c.png")
    a, c = (np.asarray(Image.open(tmp_path / name).convert("L"), np.int16) for name in ("a.png", "c.png"))
    # the denoiser's panel is the first of the lower row, and only that one changed
    changed = np.argwhere(np.abs(a - c) > 8)
    assert len(changed)
    assert changed[:, 0].min() >= a.shape[0] * 0.45
    assert changed[:, 1].max() <= a.shape[1] * 0.36
