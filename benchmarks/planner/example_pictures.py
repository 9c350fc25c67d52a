"""Draw the ten stories of examples/stories: examples/stories/NAME.webp, a storyboard of at most 40 KB each, and
examples/stories/pictures.md with all of them.

    .venv/bin/python -P benchmarks/planner/example_pictures.py [NAME ...]

Full pictures lie in out/stories; a story that was drawn already is not drawn again.
"""

import argparse
import io
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
STORIES = ROOT / "examples" / "stories"
OUT = ROOT / "out" / "stories"
_MOST_BYTES = 40_000
_WIDTHS = (900, 760, 640, 520)
_QUALITIES = (80, 65, 50, 35)


def thumbnail(picture: Image.Image) -> bytes:
    """The picture as WebP of at most 40 KB, as large and as good as that allows.

    Raises:
        ValueError: even the smallest is larger.
    """
    for width in _WIDTHS:
        small = picture.convert("RGB")
        small.thumbnail((width, 10 * width), Image.Resampling.LANCZOS)
        for quality in _QUALITIES:
            data = io.BytesIO()
            small.save(data, "WEBP", quality=quality, method=6)
            if data.tell() <= _MOST_BYTES:
                return data.getvalue()
    raise ValueError(f"picture: has no WebP of {_MOST_BYTES} bytes at {_WIDTHS[-1]} pixels")


def draw(story: Path) -> Path:
    """Draw one story (or go on where it was) and write its storyboard beside its text."""
    command = [str(Path(sys.executable).with_name("raccord")), "story", str(story), "--out", str(OUT / story.stem)]
    subprocess.run(command, check=True)
    picture = story.with_suffix(".webp")
    with Image.open(OUT / story.stem / "storyboard.png") as image:
        picture.write_bytes(thumbnail(image))
    return picture


def page(stories: list[Path]) -> str:
    """Markdown with the text and the storyboard of every story that has one."""
    parts = ["# The ten stories, drawn\n\nWritten by `benchmarks/planner/example_pictures.py`.\n"]
    for story in stories:
        if story.with_suffix(".webp").exists():
            told = "  \n".join(story.read_text(encoding="utf-8").split("\n")).strip()
            parts.append(f"## {story.stem}\n\n{told}\n\n![{story.stem}]({story.stem}.webp)\n")
    return "\n".join(parts)


def main() -> None:
    """Draw the stories named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="such as 01-the-cake")
    names = parser.parse_args().names
    stories = sorted(STORIES.glob("*.txt"))
    for story in stories:
        if not names or story.stem in names:
            picture = draw(story)
            (STORIES / "pictures.md").write_text(page(stories), encoding="utf-8")
            print(f"{picture}: {picture.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
