"""The command line: `raccord story | plan | draw | verify | tune | doctor`. Heavy imports wait for a command."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raccord.planner.command import Command, running
from raccord.planner.errors import DIFFERENCE, ENVIRONMENT, OK, InputError
from raccord.planner.files import read_bounded

if TYPE_CHECKING:
    from raccord.planner.output import Settings
    from raccord.sampler.plan import Plan

STORY_LIMIT_BYTES = 64 << 10

_EPILOG = (
    "Exit codes: 0 done; 1 verify found a difference; 2 bad input or usage; 3 the machine lacks something (a model, "
    "disk, a backend) or the folder is in use; 70 a bug in raccord; 130 / 143 stopped by SIGINT / SIGTERM. "
    "Progress goes to standard error, results to standard output."
)

_QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
}

app = typer.Typer(
    name="raccord",
    help="Continuity for diffusion images: a story in, frames out in which every entity stays itself.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_STORY = typer.Argument(metavar="TEXT|FILE", help="The story, a file that holds it, or - for stdin.")
Story = Annotated[str, _STORY]
PlanFile = Annotated[str, typer.Argument(metavar="PLAN.json", help="The plan file, or - for stdin.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the pictures; made if need be.")]
Output = Annotated[str | None, typer.Option("-o", "--output", metavar="FILE", help="Where to; - for stdout.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Seed = Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="Seed of the plan; another one, other pictures.")]
Steps = Annotated[int, typer.Option(min=1, max=1000, help="Denoising steps a frame.")]
Guidance = Annotated[
    float | None, typer.Option(min=0, max=100, help="Classifier-free guidance scale; default: the model's own.")
]
Model = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Diffusers pipeline, folder or hub name; default: the embedded one."),
]
Planner = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Causal language model: folder, hub name, or https://host/v1#model for an OpenAI-compatible endpoint; "
        "default: our own.",
    ),
]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="NAME[:WEIGHT]",
        help="LoRA adapter of the planner: one of its own or a folder; may be repeated; base:0 leaves out its base.",
    ),
]
Backend = Annotated[str | None, typer.Option(help="Force a kernel backend: reference, cpu, triton or cuda.")]
NoMetadata = Annotated[bool, typer.Option("--no-metadata", help="Leave prompts, seed and plan out of the PNG files.")]
Frames = Annotated[list[str] | None, typer.Option("--frame", metavar="ID", help="Only this frame; may be repeated.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"raccord {version('raccord')}")
        raise typer.Exit


@app.callback()
def _raccord(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version, help="Print it.")] = False,
) -> None:
    pass


@app.command()
def story(
    story: Story,
    out: Out,
    seed: Seed = None,
    steps: Steps = 25,
    guidance: Guidance = None,
    model: Model = None,
    planner: Planner = None,
    adapter: Adapters = None,
    backend: Backend = None,
    frame: Frames = None,
    no_metadata: NoMetadata = False,
    as_json: AsJson = False,
) -> None:
    """Plan a story and draw it: `plan`, then `draw`."""
    with running(as_json) as command:
        settings = _settings(steps, guidance, backend)
        text = read_story(story)
        from raccord.planner.plan_command import made_by, propose_plans
        from raccord.planner.story_folder import open_story_folder

        with open_story_folder(out) as folder:
            found, notes = propose_plans(command, text, planner=planner, adapters=adapter, seed=seed or 0)
            _draw(
                command,
                folder,
                found[0].plan,
                settings,
                model=model,
                frames=frame,
                metadata=not no_metadata,
                planner=made_by(text, found[0]),
                notes=notes,
            )


@app.command()
def plan(
    story: Annotated[str | None, _STORY] = None,
    output: Output = None,
    seed: Seed = None,
    planner: Planner = None,
    adapter: Adapters = None,
    proposals: Annotated[
        int | None, typer.Option(min=1, max=16, metavar="N", help="Try N plans; the best one and the others, ranked.")
    ] = None,
    check: Annotated[
        str | None, typer.Option(metavar="PLAN.json", help="Plan nothing; say what is wrong with this plan.")
    ] = None,
    show: Annotated[
        str | None, typer.Option(metavar="PLAN.json", help="Plan nothing; show this plan's boxes as a page (HTML).")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Plan nothing; give the JSON Schema of plans.")] = False,
    as_json: AsJson = False,
) -> None:
    """Plan a story: who is in it, and where each stands in every frame. Or check or show a plan made elsewhere."""
    with running(as_json) as command:
        asked = [name for name in (story, check, show, schema or None) if name is not None]
        if len(asked) != 1:
            raise InputError("give a story, or one of --check, --show and --schema", hint="see raccord plan --help")
        from raccord.planner import plan_command

        path = plan_command.output_path(output)
        if check is not None:
            if path is not None:
                raise InputError("--check writes nothing, so -o has no meaning", hint="leave one of them out")
            plan_command.check(command, check)
        elif show is not None:
            plan_command.show(command, show, output)
        elif schema:
            plan_command.schema(command, path)
        else:
            assert story is not None
            text = read_story(story)
            plan_command.plan(command, text, path, planner=planner, adapters=adapter, seed=seed or 0, count=proposals)


@app.command()
def draw(
    plan: PlanFile,
    out: Out,
    seed: Seed = None,
    steps: Steps = 25,
    guidance: Guidance = None,
    model: Model = None,
    backend: Backend = None,
    frame: Frames = None,
    no_metadata: NoMetadata = False,
    as_json: AsJson = False,
) -> None:
    """Draw a plan; run it again after a stop, and it goes on where it was."""
    with running(as_json) as command:
        settings = _settings(steps, guidance, backend)
        from raccord.planner.story_folder import PLAN_LIMIT_BYTES, open_story_folder
        from raccord.sampler.plan import read_plan

        wanted = read_plan(read_bounded(plan, limit=PLAN_LIMIT_BYTES, what="Plan"))
        if seed is not None:
            wanted = wanted.model_copy(update={"seed": seed})
        with open_story_folder(out) as folder:
            _draw(command, folder, wanted, settings, model=model, frames=frame, metadata=not no_metadata, notes={})


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of a draw or story.")],
    model: Model = None,
    frame: Frames = None,
    as_json: AsJson = False,
) -> None:
    """Draw a folder again and compare every pixel with its manifest; exit 1 on a difference."""
    with running(as_json) as command:
        from raccord.planner.verify import verify_folder

        verdict = verify_folder(folder, model=model, only=tuple(frame or ()), progress=command.progress)
        lines = [f"{one.file or '-':<14} {one.id:<20} {one.status}" for one in verdict.frames]
        lines += [
            f"{one.file} memory of {one.entity}: {one.status}" for one in verdict.memories if one.status != "same"
        ]
        if not verdict.plan_same:
            lines.append("plan.json is not the plan the manifest was written for")
        lines += [f"note: equal pixels are not promised here: {why}" for why in verdict.expected]
        lines.append("every pixel is the same" if verdict.same else "there are differences")
        command.result(verdict.as_dict(), text="\n".join(lines), code=OK if verdict.same else DIFFERENCE)


@app.command()
def tune(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Story folders, and JSONL files of pairs, edits or failures."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the adapter; its name is DIR's.")],
    planner: Planner = None,
    adapter: Adapters = None,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="Updates.")] = 100,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Lessons an update.")] = 8,
    rank: Annotated[int, typer.Option(min=1, max=256, help="Rank of the adapter.")] = 8,
    seed: Seed = None,
    quantise: Annotated[
        str | None, typer.Option("--quantise", metavar="nf4", help="QLoRA: keep the planner in 4 bits meanwhile.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Train nothing; write the lessons as TRL reads them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Teach the planner an adapter from pairs, from edited plans and from who was missing after drawing."""
    with running(as_json) as command:
        from raccord.planner.tune import Tuning
        from raccord.planner.tune_command import run_tune

        settings = Tuning(steps=steps, rate=rate, batch=batch, rank=rank, seed=seed or 0)
        run_tune(
            command,
            sources,
            out,
            settings,
            planner=planner,
            adapters=adapter or [],
            quantise=quantise,
            export=export,
        )


@app.command()
def doctor(
    probe: Annotated[bool, typer.Option("--probe", help="Also draw twice, to see that it repeats (20 s).")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is installed, which backends work and why others do not; exit 3 if something needed is missing."""
    with running(as_json) as command:
        from raccord.planner.doctor import as_lines, examine

        report = examine(probe=probe, progress=command.progress)
        code = OK if not report["problems"] else ENVIRONMENT
        command.result(report, text="\n".join(as_lines(report)), code=code)


def read_story(source: str) -> str:
    """The story: the content of the file `source` names, standard input for "-", else `source` itself.

    Raises `InputError` when it is empty, is not UTF-8, is longer than 64 KiB, or looks like a file that is missing.
    """
    hint = "give the story as text in quotes, as a UTF-8 file, or - for standard input"
    try:
        is_path = source == "-" or Path(source).exists()
    except (OSError, ValueError):
        is_path = False
    if is_path:
        data = read_bounded(source, limit=STORY_LIMIT_BYTES, what="Story")
    elif Path(source).suffix in (".txt", ".md", ".json") and not source.strip().count(" "):
        raise InputError(f"there is no file {source}", hint=hint)
    else:
        data = source.encode("utf-8", "surrogateescape")
    if len(data) > STORY_LIMIT_BYTES:
        raise InputError(f"the story is longer than {STORY_LIMIT_BYTES} bytes", hint="shorten it or split it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte {error.start} is {data[error.start]:#04x}"
        raise InputError(f"the story is not UTF-8 text: {where}", hint=hint) from None
    if not text.strip():
        raise InputError("the story is empty", hint=hint)
    return text


def _settings(steps: int, guidance: float | None, backend: str | None) -> "Settings":
    from raccord.planner.output import Settings

    return Settings(steps=steps, guidance=guidance, backend=backend)


def _draw(
    command: Command,
    folder: Any,
    plan: "Plan",
    settings: "Settings",
    *,
    model: str | None,
    frames: list[str] | None,
    metadata: bool,
    notes: dict[str, Any],
    planner: dict[str, Any] | None = None,
) -> None:
    from raccord.planner.output import draw_into

    drawing = draw_into(
        folder,
        plan,
        model=model,
        settings=settings,
        only=tuple(frames or ()),
        metadata=metadata,
        planner=planner,
        progress=command.progress,
    )
    result = {**drawing.as_dict(), **notes}
    text = f"{result['page']}: {len(drawing.drawn)} frames drawn, {len(drawing.kept)} kept, {drawing.seconds:.1f} s"
    command.result(result, text=text)


def main() -> None:
    """Entry point of the console script `raccord`."""
    # Our own progress says what a person needs; the libraries' bars and remarks would tear it apart.
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    # A text Python cannot print in this terminal's encoding must not end a run that went well.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()
