"""What `raccord plan` does: plan a story, check or show a plan made elsewhere, give the schema of plans."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raccord.planner.errors import InputError, MachineError
from raccord.planner.files import read_bounded, write_atomically
from raccord.planner.plan_check import Checked, check_plan
from raccord.planner.plan_page import is_ours, pictures_beside, render_plan_page
from raccord.planner.story_folder import PLAN_LIMIT_BYTES
from raccord.sampler.plan import plan_hash, plan_schema, write_plan

if TYPE_CHECKING:
    from raccord.planner.command import Command
    from raccord.planner.direct import Proposal


def output_path(output: str | None) -> Path | None:
    """Where -o says to write; None for standard output."""
    if output in (None, "-"):
        return None
    path = Path(output)
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"-o {output} cannot be a file", hint="name a file in a folder that exists")
    return path


def schema(command: "Command", path: Path | None) -> None:
    """Give the JSON Schema of plans."""
    document = plan_schema()
    _put(command, {"schema": document}, json.dumps(document, indent=2) + "\n", path)


def _put(command: "Command", document: dict[str, Any], text: str, path: Path | None) -> None:
    """End with `text` on standard output or, where `path` names one, in a file."""
    if path is None:
        command.result(document, text=text.rstrip("\n"))
    else:
        write_atomically(path, text.encode())
        command.result({"file": str(path)}, text=str(path))


def _looked_over(source: str) -> Checked:
    """The plan at `source` and its warnings; raises `InputError` with everything that refuses it."""
    checked = check_plan(read_bounded(source, limit=PLAN_LIMIT_BYTES, what="Plan"))
    if checked.errors:
        told = "\n".join(f"  {finding.text}" for finding in checked.errors)
        problems = [finding._asdict() for finding in checked.errors]
        raise InputError(f"{source} is no plan\n{told}", details={"problems": problems})
    return checked


def check(command: "Command", source: str) -> None:
    """Say what is wrong with the plan at `source`; raises `InputError` where it is none."""
    checked = _looked_over(source)
    plan = checked.plan
    assert plan is not None
    lines = [f"warning: {finding.text}" for finding in checked.warnings]
    count = f"{len(lines)} warning{'s' if len(lines) != 1 else ''}" if lines else "nothing to warn of"
    lines.append(f"{source}: a valid plan, {len(plan.entities)} entities, {len(plan.frames)} frames; {count}")
    result = {"plan_sha256": plan_hash(plan), "entities": len(plan.entities), "frames": len(plan.frames)}
    warnings = [finding._asdict() for finding in checked.warnings]
    command.result({**result, "warnings": warnings}, text="\n".join(lines))


def show(command: "Command", source: str, output: str | None) -> None:
    """Write a page with the boxes of the plan at `source`, and the pictures that lie beside it."""
    checked = _looked_over(source)
    assert checked.plan is not None
    pictures = {} if source == "-" else pictures_beside(checked.plan, Path(source).parent)
    data = render_plan_page(checked, pictures)
    path = output_path(output)
    if output is None and source != "-":
        path = Path(source).with_suffix(".html")
        if path.exists() and not is_ours(path):
            raise InputError(f"{path} is there already and no page of a plan", hint="name another file with -o")
    _put(command, {"page": data.decode()}, data.decode(), path)


def propose_plans(
    command: "Command", text: str, *, planner: str | None, adapters: list[str] | None, seed: int, count: int = 1
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


def made_by(story: str, proposal: "Proposal") -> dict[str, Any]:
    """What the manifest says of how a plan was made, so that `tune` can learn from what becomes of it."""
    return {"story": story, "plan_sha256": plan_hash(proposal.plan), **proposal.planner}


def plan(
    command: "Command",
    text: str,
    path: Path | None,
    *,
    planner: str | None,
    adapters: list[str] | None,
    seed: int,
    count: int | None,
) -> None:
    """Plan a story and write its plan; with `count`, so many different ones at most, best first."""
    found, notes = propose_plans(command, text, planner=planner, adapters=adapters, seed=seed, count=count or 1)
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
