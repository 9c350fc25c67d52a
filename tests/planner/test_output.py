"""The story folder: what a draw leaves behind, what the next one keeps, and what it refuses to touch."""

import errno
import json
import os
import resource
import shutil

import pytest
from PIL import Image

from raccord.planner import manifest as manifests
from raccord.planner import story_folder
from raccord.planner.errors import InputError, MachineError
from raccord.planner.files import read_bounded, write_atomically
from raccord.planner.frame_png import decode_png, pixels_sha256
from raccord.planner.manifest import read_manifest
from raccord.planner.output import Settings, draw_into
from raccord.planner.progress import Progress
from raccord.planner.story_folder import open_story_folder
from raccord.sampler.plan import Entity, plan_hash, read_plan, write_plan

SETTINGS = Settings(steps=2)


def draw(path, plan, *, settings=SETTINGS, **options):
    with open_story_folder(path) as folder:
        return draw_into(folder, plan, settings=settings, progress=Progress(quiet=True), **options)


def contents(path):
    return {one.name: one.read_bytes() for one in path.iterdir() if one.name != story_folder.LOCK_NAME}


def assert_consistent(path, plan):
    """Every frame of the manifest is a whole file with the pixels it names, in the place the plan gives it."""
    manifest = read_manifest(path)
    assert manifest.plan_sha256 == plan_hash(plan) == plan_hash(read_plan((path / "plan.json").read_bytes()))
    order = [frame.id for frame in plan.frames]
    for record in manifest.frames:
        assert record.ordinal == 1 + order.index(record.id)
        assert record.file == f"frame-{record.ordinal:02d}.png"
        image = decode_png(path / record.file, size=plan.size)
        assert image is not None
        assert pixels_sha256(image) == record.pixels_sha256
    frames = {one.name for one in path.glob("frame-*.png")}
    assert frames == {record.file for record in manifest.frames}
    assert not list(path.glob(".raccord-*.tmp"))
    return manifest


def hashes(path):
    return {record.id: record.pixels_sha256 for record in read_manifest(path).frames}


def test_a_draw_leaves_exactly_the_named_files(tmp_path, flat_model, make_plan):
    plan = make_plan(3)
    drawing = draw(tmp_path / "out", plan)
    expected = {"plan.json", "manifest.json", "index.html", "storyboard.png"}
    memories = {record.file for record in read_manifest(tmp_path / "out").memories}
    assert len(memories) == 2
    assert set(contents(tmp_path / "out")) == expected | memories | {f"frame-0{n}.png" for n in (1, 2, 3)}
    assert (tmp_path / "out" / "plan.json").read_bytes() == write_plan(plan)
    manifest = assert_consistent(tmp_path / "out", plan)
    assert manifest.complete
    assert manifest.settings == {"steps": 2, "guidance": 4.0, "backend": None}
    assert drawing.drawn == ("scene-0", "scene-1", "scene-2")
    json.dumps(drawing.as_dict(), allow_nan=False)


def test_a_second_draw_keeps_every_byte(tmp_path, flat_model, make_plan):
    draw(tmp_path, make_plan())
    before = contents(tmp_path)
    drawing = draw(tmp_path, make_plan())
    assert (drawing.drawn, flat_model.drawn) == ((), [])
    assert contents(tmp_path) == before


@pytest.mark.parametrize("damage", ["missing", "truncated", "other pixels", "not a png", "other size", "symlink"])
def test_a_damaged_frame_alone_is_drawn_again(tmp_path, flat_model, make_plan, damage):
    plan = make_plan()
    draw(tmp_path, plan)
    before, file = hashes(tmp_path), tmp_path / "frame-02.png"
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "other pixels":
        Image.new("RGB", plan.size, "red").save(file)
    elif damage == "not a png":
        Image.new("RGB", plan.size, "red").save(file, "BMP")
    elif damage == "other size":
        Image.new("RGB", (8, 8)).save(file)
    else:
        (tmp_path / "elsewhere").write_bytes(b"mine")
        file.unlink()
        file.symlink_to(tmp_path / "elsewhere")
    draw(tmp_path, plan)
    assert flat_model.drawn == ["scene-1"]
    assert hashes(tmp_path) == before
    assert_consistent(tmp_path, plan)
    if damage == "symlink":
        assert not file.is_symlink()
        assert (tmp_path / "elsewhere").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "order", [[1, 2], [0, 3, 1, 2], [3, 2, 1, 0], [1, 2, 3, 0], [0, 1, 2, 3, 4], [4, 0, 5, 2], [4]], ids=str
)
def test_frames_follow_their_ids_through_any_edit(tmp_path, flat_model, make_plan, order):
    frames = make_plan(6).frames
    draw(tmp_path, make_plan(frames=frames[:4]))
    before = hashes(tmp_path)
    edited = make_plan(frames=tuple(frames[index] for index in order))
    draw(tmp_path, edited)
    assert flat_model.drawn == [f"scene-{index}" for index in order if index >= 4]
    after = hashes(tmp_path)
    assert all(after[name] == before[name] for name in after if name in before)
    manifest = assert_consistent(tmp_path, edited)
    assert manifest.complete
    for record in manifest.frames:
        with Image.open(tmp_path / record.file) as image:
            assert image.info["Plan"] == plan_hash(edited)


def test_only_what_an_edit_touches_is_drawn_again(tmp_path, flat_model, make_plan):
    plan = make_plan()
    draw(tmp_path, plan)
    frames = list(plan.frames)
    frames[2] = frames[2].model_copy(update={"prompt": "Mira sleeps"})
    draw(tmp_path, plan.model_copy(update={"frames": tuple(frames)}))
    assert flat_model.drawn == ["scene-2"]
    mira = Entity(id="fox", name="Mira", card="a blue fox")
    draw(tmp_path, plan.model_copy(update={"entities": (mira, plan.entities[1])}))
    assert flat_model.drawn == [f"scene-{n}" for n in range(4)]


@pytest.mark.parametrize("what", ["steps", "backend", "machine", "seed"])
def test_other_conditions_draw_everything_again(tmp_path, flat_model, make_plan, what):
    plan, settings = make_plan(2), SETTINGS
    draw(tmp_path, plan)
    if what == "steps":
        settings = Settings(steps=3)
    elif what == "backend":
        settings = Settings(steps=2, backend="reference")
    elif what == "machine":
        flat_model.machine["threads"] = 2
    else:
        plan = plan.model_copy(update={"seed": 5})
    draw(tmp_path, plan, settings=settings)
    assert len(flat_model.drawn) == 2
    assert_consistent(tmp_path, plan)


def test_some_frames_first_and_the_rest_later(tmp_path, flat_model, make_plan):
    plan = make_plan()
    draw(tmp_path / "whole", plan)
    draw(tmp_path / "parts", plan, only=("scene-2",))
    manifest = assert_consistent(tmp_path / "parts", plan)
    assert not manifest.complete
    assert [record.file for record in manifest.frames] == ["frame-03.png"]
    draw(tmp_path / "parts", plan)
    assert flat_model.drawn == ["scene-0", "scene-1", "scene-3"]
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "whole")
    with pytest.raises(InputError, match="no frame of the plan") as caught:
        draw(tmp_path / "parts", plan, only=("scene-9",))
    assert "did you mean" in caught.value.hint


@pytest.mark.parametrize("name", ["index.html", "frame-01.png", "storyboard.png", "plan.json"])
def test_files_of_others_are_left_alone(tmp_path, flat_model, make_plan, name):
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(InputError, match="did not write it"):
        draw(tmp_path, make_plan())
    assert contents(tmp_path) == {name: b"precious"}


def test_a_damaged_manifest_stops_a_draw(tmp_path, flat_model, make_plan):
    (tmp_path / "manifest.json").write_text('{"name": "my web app"}')
    with pytest.raises(InputError, match="not a manifest that raccord wrote"):
        draw(tmp_path, make_plan())


def test_other_files_and_the_plan_itself_may_be_there(tmp_path, flat_model, make_plan):
    plan = make_plan(2)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "plan.json").write_bytes(b"  " + write_plan(plan))
    draw(tmp_path, plan)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "plan.json").read_bytes() == write_plan(plan)


def test_out_must_be_a_folder_that_is_free(tmp_path, flat_model, make_plan):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        draw(tmp_path / "file", make_plan())
    with pytest.raises(MachineError, match="cannot use the folder"):
        draw(tmp_path / "file" / "below", make_plan())
    with open_story_folder(tmp_path / "out"):
        pid = os.fork()
        if pid == 0:
            try:
                draw(tmp_path / "out", make_plan())
            except MachineError as error:
                os._exit(7 if "another raccord" in error.message else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_leftovers_of_a_killed_run_are_cleared_away(tmp_path, flat_model, make_plan):
    (tmp_path / ".raccord-0123456789abcdef.tmp").write_bytes(b"half")
    draw(tmp_path, make_plan(1))
    assert_consistent(tmp_path, make_plan(1))


def test_every_failed_write_leaves_whole_files_and_a_way_on(tmp_path, flat_model, make_plan, monkeypatch):
    old, new = make_plan(2), make_plan(2, seed=9)
    draw(tmp_path / "old", old)
    draw(tmp_path / "reference", new)
    real = os.fsync
    calls = 0

    def failing(descriptor):
        nonlocal calls
        calls += 1
        if calls == cut:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    for cut in range(1, 40):
        calls, folder = 0, tmp_path / f"cut-{cut}"
        shutil.copytree(tmp_path / "old", folder)
        before = contents(folder)
        monkeypatch.setattr(os, "fsync", failing)
        refused = None
        try:
            draw(folder, new)
        except MachineError as error:
            refused = error
        monkeypatch.setattr(os, "fsync", real)
        if calls < cut:
            break
        # a folder that cannot be synced is no failure: the file itself is on disk
        assert (refused is not None) == (cut % 2 == 1)
        assert refused is None or "No space left" in refused.message
        for name, data in contents(folder).items():
            assert data == before.get(name) or _is_whole(folder / name)
        draw(folder, new)
        assert hashes(folder) == hashes(tmp_path / "reference")
        assert_consistent(folder, new)
    # manifest, plan, two memories and two frames with a manifest each, sheet, page, manifest: 13 writes, each syncs
    # file and folder
    assert cut == 1 + 2 * 13


def _is_whole(path):
    if path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
    elif path.suffix in (".json", ".safetensors"):
        json.loads(path.read_bytes())
    else:
        assert path.read_bytes().rstrip().endswith(b"</html>")
    return True


def test_a_real_limit_of_the_system_is_one_clear_error(tmp_path, flat_model, make_plan):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
    try:
        with pytest.raises(MachineError, match=r"cannot write .*: File too large"):
            draw(tmp_path, make_plan())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert set(contents(tmp_path)) <= {"manifest.json"}
    draw(tmp_path, make_plan())
    assert_consistent(tmp_path, make_plan())


def test_atomic_writes_respect_mode_and_links(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "link", b"new")
    finally:
        os.umask(before)
    assert target.read_bytes() == b"old"
    assert (tmp_path / "link").read_bytes() == b"new"
    assert (tmp_path / "link").stat().st_mode & 0o777 == 0o640
    with pytest.raises(MachineError, match="cannot write"):
        write_atomically(tmp_path / "nowhere" / "file", b"")


def test_reading_is_bounded(tmp_path):
    (tmp_path / "small").write_bytes(b"x" * 10)
    assert read_bounded(tmp_path / "small", limit=10, what="Plan") == b"x" * 10
    for path, limit, message in [
        (tmp_path / "small", 9, "longer than 9 bytes"),
        (tmp_path, 9, "is a folder"),
        (tmp_path / "none", 9, "is missing"),
        ("/dev/zero", 9, "is a device"),
    ]:
        with pytest.raises(InputError, match=message):
            read_bounded(path, limit=limit, what="Plan")


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document["frames"][0].update(file="../../etc/passwd"),
        lambda document: document["frames"][0].update(file="frame-01.png/../x.png"),
        lambda document: document["frames"][0].update(pixels_sha256="../x"),
        lambda document: document["frames"][0].update(ordinal="1"),
        lambda document: document["frames"][0].update(ordinal=True),
        lambda document: document["frames"].append(document["frames"][0]),
        lambda document: document["frames"].append(None),
        lambda document: document.update(format="other"),
        lambda document: document.update(version=2),
        lambda document: document.update(settings=[]),
        lambda document: document.pop("model"),
        lambda document: document.update(frames=5),
    ],
    ids=range(12),
)
def test_a_hostile_manifest_is_refused(tmp_path, flat_model, make_plan, edit):
    draw(tmp_path, make_plan(2))
    path = tmp_path / manifests.NAME
    document = json.loads(path.read_bytes())
    edit(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"manifest"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}'], ids=range(7)
)
def test_bytes_that_are_no_manifest_are_refused(tmp_path, data):
    (tmp_path / manifests.NAME).write_bytes(data)
    with pytest.raises(InputError, match="not a manifest that raccord wrote"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [{"steps": 0}, {"steps": 1001}, {"steps": 2.0}, {"guidance": float("nan")}, {"guidance": -1.0}, {"backend": "rm"}],
    ids=str,
)
def test_settings_have_ranges(fields):
    with pytest.raises(InputError):
        Settings(**fields)
