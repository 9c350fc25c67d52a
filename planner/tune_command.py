"""What `raccord tune` does: load the planner, gather lessons, train an adapter or write the lessons down."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from raccord.planner.direct import DirectError, loaded
from raccord.planner.embedded import EmbeddedModelError
from raccord.planner.errors import InputError, MachineError
from raccord.planner.files import told_as_machine_error, write_atomically
from raccord.planner.language_model import LanguageModel, LanguageModelError
from raccord.planner.lessons import read_lessons
from raccord.planner.tune import Tuning, tune

if TYPE_CHECKING:
    from raccord.planner.command import Command


def run_tune(
    command: "Command",
    sources: list[str],
    out: Path,
    settings: Tuning,
    *,
    planner: str | None,
    adapters: list[str],
    quantise: str | None,
    export: Path | None,
) -> None:
    """The body of the command.

    Raises:
        InputError: a source, an option or an adapter is not what it must be.
        MachineError: the planner cannot be loaded.
    """
    progress = command.progress
    try:
        with progress.stage("loading the planner"):
            model = loaded(planner, adapters, quantise=quantise)
    except (DirectError, LanguageModelError) as error:
        raise InputError(str(error)) from error
    except (OSError, EmbeddedModelError) as error:
        raise MachineError(f"the planner {planner or 'embedded'} cannot be loaded: {error}") from error
    if not isinstance(model, LanguageModel):
        raise InputError("a model behind an endpoint cannot be tuned here", hint="name a folder or a hub model")
    with progress.stage("reading the lessons"):
        lessons = read_lessons(model, sources)
    for sentence in lessons.skipped:
        progress.warn(f"no lesson: {sentence}")
    counted = {kind: sum(one.kind == kind for one in lessons.found) for kind in sorted({o.kind for o in lessons.found})}
    if export is not None:
        rows = [{"prompt": lesson.prompt, "completion": lesson.completion} for lesson in lessons.found]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomically(export, text.encode())
        command.result({"lessons": counted, "file": str(export)}, text=f"{export}: {len(rows)} lessons")
        return
    with progress.stage("training the adapter"), told_as_machine_error(f"cannot write to {out}"):
        try:
            record = tune(model, lessons.found, out, settings, progress=progress.step, skipped=progress.warn)
        except FloatingPointError as error:
            raise InputError(str(error), hint="--rate") from error
    used = record["lessons"]["used"]
    command.result(
        {"adapter": str(out), **record}, text=f"{out}: learned from {used} lessons; use it with --adapter {out}"
    )
