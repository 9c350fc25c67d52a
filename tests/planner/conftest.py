"""A drawing call that costs microseconds, so that the folder, the page and the commands are tested without a model."""

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image, ImageDraw

from raccord.planner import output, storyboard
from raccord.planner.output import OpenStory
from raccord.sampler.plan import Entity, Frame, Item, Plan

# Tests of this folder share helpers by importing them.
sys.path.insert(0, str(Path(__file__).resolve().parent))


class FlatStory:
    """Has the interface of `raccord.sampler.story.Story`; a frame is flat boxes whose colours are keyed hashes.

    As with the real one, a frame's pixels depend on its own part of the plan and on the settings, nothing else.
    """

    def __init__(self, plan, *, steps=25, guidance=None, delay=0.0):
        self.plan, self.steps, self.delay = plan, steps, delay
        self.guidance = 4.0 if guidance is None else guidance
        self.drawn, self.cast_now, self.memories = [], [], {}

    def made_from(self, entity_id):
        entity = next(entity for entity in self.plan.entities if entity.id == entity_id)
        return {"entity": entity.id, "card": entity.card, "seed": str(self.plan.seed), "steps": str(self.steps)}

    def memory_bytes(self, entity_id):
        return self.memories[entity_id]

    def remember(self, data):
        origin = json.loads(data)
        if origin != self.made_from(origin["entity"]):
            raise ValueError("cast with another seed")
        self.memories[origin["entity"]] = data
        return origin["entity"]

    def frame_key(self, frame_id):
        frame = next(frame for frame in self.plan.frames if frame.id == frame_id)
        here = {item.entity for item in frame.items}
        parts = [
            [self.plan.seed, list(self.plan.size), self.plan.style, self.steps, self.guidance],
            frame.model_dump(mode="json"),
            [entity.model_dump(mode="json") for entity in self.plan.entities if entity.id in here],
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def cast(self, entity_ids=None, *, progress=None, keep=None):
        for entity_id in entity_ids or ():
            if entity_id in self.memories:
                continue
            if progress:
                progress(1, 1, "casting")
            self.cast_now.append(entity_id)
            self.memories[entity_id] = json.dumps(self.made_from(entity_id)).encode()
            if keep:
                keep(entity_id)

    def frame(self, frame_id, *, progress=None):
        frame = next(frame for frame in self.plan.frames if frame.id == frame_id)
        for step in range(self.steps):
            time.sleep(self.delay)
            if progress:
                progress(step + 1, self.steps, f"frame {frame_id}")
        width, height = self.plan.size
        key = self.frame_key(frame_id)
        image = Image.new("RGB", (width, height), f"#{key[:6]}")
        draw = ImageDraw.Draw(image)
        for item in frame.items:
            x0, y0, x1, y1 = item.box
            draw.ellipse((x0 * width, y0 * height, x1 * width, y1 * height), fill=f"#{_hash(key, item.entity)[:6]}")
        self.drawn.append(frame_id)
        digest = hashlib.sha256(image.tobytes()).hexdigest()
        return _Drawn(frame_id, image, digest, {"presence": {item.entity: 1.5 for item in frame.items}})


class _Drawn:
    def __init__(self, frame_id, image, pixels_sha256, report):
        self.id, self.image, self.pixels_sha256, self.report = frame_id, image, pixels_sha256, report


def _hash(*parts):
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


class FlatModel:
    """Stands in for `output.open_story`; `stories` are those it opened, `machine` the fingerprint it reports."""

    def __init__(self):
        self.stories = []
        self.machine = {"threads": 1, "cpu": "test"}
        self.delay = 0.0

    def __call__(self, plan, *, model, settings, progress):
        story = FlatStory(plan, steps=settings.steps, guidance=settings.guidance, delay=self.delay)
        self.stories.append(story)
        used = {"steps": settings.steps, "guidance": float(story.guidance), "backend": settings.backend}
        weights = {"id": model or "embedded", "weights_sha256": "0" * 64}
        return OpenStory(cast(Any, story), used, weights, {"raccord": "0.1.0", "torch": "test"}, dict(self.machine))

    @property
    def drawn(self):
        """Ids drawn by the story opened last."""
        return self.stories[-1].drawn

    @property
    def cast(self):
        """Ids of the entities cast by the story opened last."""
        return self.stories[-1].cast_now


@pytest.fixture
def flat_model(monkeypatch):
    """The command line draws with `FlatStory` instead of a diffusion model."""
    model = FlatModel()
    monkeypatch.setattr(output, "open_story", model)
    # Sheets of full size would take most of the time of these tests.
    monkeypatch.setattr(storyboard, "_PANEL", 80)
    return model


@pytest.fixture
def make_plan():
    """A plan of `count` 64x64 frames with two entities; keywords replace fields of the plan."""

    def build(count=4, **fields):
        boxes = {"fox": (0.05, 0.35, 0.5, 0.95), "lamp": (0.55, 0.2, 0.9, 0.7)}
        entities = (
            Entity(id="fox", name="Mira", card="a red fox with a green scarf"),
            Entity(id="lamp", name="the old lamp", card="a yellow lamp"),
        )
        items = tuple(Item(entity=name, box=box, action="waiting") for name, box in boxes.items())
        frames = tuple(
            Frame(id=f"scene-{n}", prompt=f"Mira and the lamp, moment {n}", background="a meadow", items=items)
            for n in range(count)
        )
        return Plan(**{"title": "The lamp", "size": (64, 64), "entities": entities, "frames": frames, **fields})

    return build
