"""The command line: `raccord story | plan | draw | verify | tune | doctor`. Heavy imports wait for a command."""

import json
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raccord.planner.command import Command, running
from raccord.planner.errors import DIFFERENCE, ENVIRONMENT, OK, InputError, MachineError
from raccord.planner.files import read_bounded, write_atomically

if TYPE_CHECKING:
    from raccord.planner.direct import Proposal
    from raccord.planner.output import Settings
    from raccord.planner.plan_check import Checked
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
        from raccord.planner.story_folder import open_story_folder

        with open_story_folder(out) as folder:
            found, notes = _propose(command, text, planner=planner, adapters=adapter, seed=seed or 0)
            _draw(
                command,
                folder,
                found[0].plan,
                settings,
                model=model,
                frames=frame,
                metadata=not no_metadata,
                planner=_made_by(text, found[0]),
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
        path = _output_path(output)
        if check is not None:
            if path is not None:
                raise InputError("--check writes nothing, so -o has no meaning", hint="leave one of them out")
            _check(command, check)
        elif show is not None:
            _show(command, show, output)
        elif schema:
            from raccord.sampler.plan import plan_schema

            document = plan_schema()
            _put(command, {"schema": document}, json.dumps(document, indent=2) + "\n", path)
        else:
            assert story is not None
            _plan(command, story, path, planner=planner, adapters=adapter, seed=seed or 0, count=proposals)


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


def _output_path(output: str | None) -> Path | None:
    """Where -o says to write; None for standard output."""
    if output in (None, "-"):
        return None
    path = Path(output)
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"-o {output} cannot be a file", hint="name a file in a folder that exists")
    return path


def _put(command: Command, document: dict[str, Any], text: str, path: Path | None) -> None:
    """End with `text` on standard output or, where `path` names one, in a file."""
    if path is None:
        command.result(document, text=text.rstrip("\n"))
    else:
        write_atomically(path, text.encode())
        command.result({"file": str(path)}, text=str(path))


def _looked_over(source: str) -> "Checked":
    """The plan at `source` and its warnings; raises `InputError` with everything that refuses it."""
    from raccord.planner.plan_check import check_plan
    from raccord.planner.story_folder import PLAN_LIMIT_BYTES

    checked = check_plan(read_bounded(source, limit=PLAN_LIMIT_BYTES, what="Plan"))
    if checked.errors:
        told = "\n".join(f"  {finding.text}" for finding in checked.errors)
        problems = [finding._asdict() for finding in checked.errors]
        raise InputError(f"{source} is no plan\n{told}", details={"problems": problems})
    return checked


def _check(command: Command, source: str) -> None:
    from raccord.sampler.plan import plan_hash

    checked = _looked_over(source)
    plan = checked.plan
    assert plan is not None
    lines = [f"warning: {finding.text}" for finding in checked.warnings]
    count = f"{len(lines)} warning{'s' if len(lines) != 1 else ''}" if lines else "nothing to warn of"
    lines.append(f"{source}: a valid plan, {len(plan.entities)} entities, {len(plan.frames)} frames; {count}")
    result = {"plan_sha256": plan_hash(plan), "entities": len(plan.entities), "frames": len(plan.frames)}
    warnings = [finding._asdict() for finding in checked.warnings]
    command.result({**result, "warnings": warnings}, text="\n".join(lines))


def _show(command: Command, source: str, output: str | None) -> None:
    from raccord.planner.plan_page import is_ours, pictures_beside, render_plan_page

    checked = _looked_over(source)
    assert checked.plan is not None
    pictures = {} if source == "-" else pictures_beside(checked.plan, Path(source).parent)
    data = render_plan_page(checked, pictures)
    path = _output_path(output)
    if output is None and source != "-":
        path = Path(source).with_suffix(".html")
        if path.exists() and not is_ours(path):
            raise InputError(f"{path} is there already and no page of a plan", hint="name another file with -o")
    _put(command, {"page": data.decode()}, data.decode(), path)


def _settings(steps: int, guidance: float | None, backend: str | None) -> "Settings":
    from raccord.planner.output import Settings

    return Settings(steps=steps, guidance=guidance, backend=backend)


def _propose(
    command: Command, text: str, *, planner: str | None, adapters: list[str] | None, seed: int, count: int = 1
) -> "tuple[tuple[Proposal, ...], dict[str, Any]]":
    """Different plans of a story, best first, and what `--json` says of the best."""
    with command.progress.stage("planning the story"):
        from raccord.planner.direct import DirectError, proposals
        from raccord.planner.embedded import EmbeddedModelError
        from raccord.planner.remote_model import EndpointError

        try:
            found = proposals(
                text,
                count=count,
                model=planner,
                adapters=adapters or (),
                seed=seed,
                progress=lambda done, total: command.progress.step(done, total),
            )
        except DirectError as error:
            raise InputError(f"no plan for this story: {error}") from error
        except EndpointError as error:
            raise MachineError(f"the planner cannot be used: {error}") from error
        except (OSError, EmbeddedModelError) as error:
            raise MachineError(f"the planner {planner or 'embedded'} cannot be loaded: {error}") from error
    best = found[0]
    for sentence in best.repairs:
        command.progress.say(f"repaired: {sentence}")
    for sentence in best.warnings:
        command.progress.warn(sentence)
    if best.unknown_words:
        command.progress.warn(f"the planner does not know: {', '.join(best.unknown_words)}")
    return found, _notes(best)


def _notes(proposal: "Proposal") -> dict[str, Any]:
    return {
        "repairs": list(proposal.repairs),
        "warnings": list(proposal.warnings),
        "unknown_words": list(proposal.unknown_words),
        "planner": proposal.planner,
    }


def _made_by(story: str, proposal: "Proposal") -> dict[str, Any]:
    """What the manifest says of how a plan was made, so that `tune` can learn from what becomes of it."""
    from raccord.sampler.plan import plan_hash

    return {"story": story, "plan_sha256": plan_hash(proposal.plan), **proposal.planner}


def _plan(
    command: Command,
    story: str,
    path: Path | None,
    *,
    planner: str | None,
    adapters: list[str] | None,
    seed: int,
    count: int | None,
) -> None:
    text = read_story(story)
    found, notes = _propose(command, text, planner=planner, adapters=adapters, seed=seed, count=count or 1)
    from raccord.sampler.plan import plan_hash, write_plan

    best = found[0].plan
    result: dict[str, Any] = {"plan_sha256": plan_hash(best), "frames": len(best.frames), **notes}
    names = [path and (path if not rank else _numbered(path, rank + 1)) for rank in range(len(found))]
    ranked = []
    for name, one in zip(names, found, strict=True):
        data = write_plan(one.plan)
        if name is not None:
            write_atomically(name, data)
        shown = str(name) if name else json.loads(data)
        ranked.append({"plan": shown, "plan_sha256": plan_hash(one.plan), "sample": one.sample, **_notes(one)})
    if count is not None:
        result["proposals"] = ranked
        for rank, (name, one) in enumerate(zip(names, found, strict=True), start=1):
            checks = f"{len(one.repairs)} repairs, {len(one.warnings)} warnings"
            how = "the likeliest" if one.sample == 0 else f"draw {one.sample}"
            command.progress.say(f"proposal {rank}: {name or 'not written without -o'} ({how}; {checks})")
    text = f"{path}: {len(best.frames)} frames" if path else write_plan(best).decode()
    command.result({"plan": ranked[0]["plan"], **result}, text=text)


def _numbered(path: Path, rank: int) -> Path:
    """ "tale.plan.json" -> "tale-2.plan.json"."""
    stem, dot, ends = path.name.partition(".")
    return path.with_name(f"{stem}-{rank}{dot}{ends}")


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
