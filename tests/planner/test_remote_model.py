"""A planner behind an endpoint: a real HTTP server on this machine, friendly, slow, broken and hostile."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from raccord.planner.cli import app
from raccord.planner.direct import DirectError, proposals, propose
from raccord.planner.free_scene import SceneError, read_scene, wire_schema
from raccord.planner.language_model import LanguageModelError
from raccord.planner.prompt import EXAMPLES, chat
from raccord.planner.remote_model import EndpointError, RemoteModel
from raccord.planner.repair import repair
from raccord.sampler.plan import read_plan, write_plan

openai = pytest.importorskip("openai", reason="the extra `remote` is not installed")
SENTENCES, ANSWER = EXAMPLES[1]
STORY = ". ".join(SENTENCES) + "."
SECRET = "sk-never-shown-0123456789"


def answer(content, *, end="stop", refusal=None, **more):
    """An answer of a chat as servers send it."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    usage = {"prompt_tokens": 1, "completion_tokens": 7, "total_tokens": 8}
    choice = {"index": 0, "message": message, "finish_reason": end}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    } | more


class Server:
    """Answers with `script`, one entry a request: a document, (status, document), bytes of a body, or a function."""

    def __init__(self, *script):
        self.script, self.requests, self.headers = list(script), [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests.append(json.loads(body))
                outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                step = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                try:
                    if callable(step):
                        step(self)
                        return
                    status, document = step if isinstance(step, tuple) else (200, step)
                    data = document if isinstance(document, bytes) else json.dumps(document).encode()
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(data)))
                    self.send_header("retry-after-ms", "10")
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass  # the client has left

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/v1#small-model"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve(monkeypatch):
    """Start a server with a script; closed at the end."""
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_BASE_URL", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, f"{SECRET}-{name}")
    monkeypatch.delenv("RACCORD_PLANNER_KEY", raising=False)
    servers = []

    def start(*script):
        servers.append(Server(*script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def raccord(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_plan_by_an_endpoint(serve):
    server = serve(answer(ANSWER))
    proposal = propose(STORY, model=server.address, seed=3)
    plan = proposal.plan
    assert read_plan(write_plan(plan)) == plan
    assert [entity.name for entity in plan.entities] == ["Tom", "tractor"]
    assert [len(frame.items) for frame in plan.frames] == [2, 1]
    assert (proposal.tokens, proposal.repairs) == (7, ())
    assert proposal.planner == {"remote": "small-model", "host": "127.0.0.1"}
    (request,) = server.requests
    assert request["model"] == "small-model"
    assert request["messages"] == chat(SENTENCES)
    assert request["response_format"]["type"] == "json_schema"
    assert request["response_format"]["json_schema"]["schema"] == wire_schema()
    assert (request["temperature"], request["max_completion_tokens"]) == (0.0, 4096)


def test_nothing_travels_but_the_story_and_the_key_meant_for_it(serve, monkeypatch):
    server = serve(answer(ANSWER))
    propose(STORY, model=server.address)
    monkeypatch.setenv("RACCORD_PLANNER_KEY", SECRET)
    propose(STORY, model=server.address)
    first, second = server.headers
    assert "authorization" not in first
    assert second.pop("authorization") == f"Bearer {SECRET}"
    for headers in (first, second):
        assert SECRET not in json.dumps(headers)
        assert not [name for name in headers if name.startswith(("x-", "openai"))]
    assert set(server.requests[0]) == {
        "model", "messages", "response_format", "temperature", "seed", "max_completion_tokens",
    }  # fmt: skip


def test_the_schema_sent_is_in_the_common_part_of_json_schema():
    allowed = {"type", "properties", "required", "additionalProperties", "items", "$ref", "$defs", "enum"}

    def look(part):
        assert set(part) <= allowed
        if part.get("type") == "object":
            assert part["required"] == list(part["properties"])
            assert part["additionalProperties"] is False
        for inner in (*part.get("properties", {}).values(), *part.get("$defs", {}).values()):
            look(inner)
        if "items" in part:
            look(part["items"])

    look(wire_schema())


def test_proposals_ask_with_seeds(serve):
    other = ANSWER.replace("[7,20,18,10]", "[1,20,18,10]")
    server = serve(answer(ANSWER), answer(other), answer(ANSWER))
    found = proposals(STORY, count=3, model=server.address)
    assert [one.sample for one in found] == [0, 1]
    assert [(request["temperature"], request["seed"]) for request in server.requests] == [(0.0, 0), (0.8, 1), (0.8, 2)]


def test_what_a_model_does_not_take_is_left_out(serve):
    def unknown(name):
        return 400, {"error": {"message": f"unsupported: {name}", "param": name, "code": "unsupported_parameter"}}

    server = serve(unknown("temperature"), unknown("seed"), answer(ANSWER))
    assert propose(STORY, model=server.address).tokens == 7
    assert "temperature" not in server.requests[2]
    assert "seed" not in server.requests[2]
    assert "max_completion_tokens" in server.requests[2]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_busy_endpoint_is_tried_again_and_then_given_up(serve, status):
    server = serve((status, {"error": {"message": "busy"}}), answer(ANSWER))
    assert propose(STORY, model=server.address).tokens == 7
    server = serve((status, {"error": {"message": "busy"}}))
    with pytest.raises(EndpointError, match=f"refused 3 times with {status}: .*busy"):
        propose(STORY, model=server.address)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "RACCORD_PLANNER_KEY"), (404, "a model small-model"), (400, "response_format json_schema"), (302, "302")],
)
def test_refusals_say_what_to_do(serve, status, told):
    server = serve((status, {"error": {"message": "no"}}))
    with pytest.raises(EndpointError, match=told):
        propose(STORY, model=server.address)
    assert len(server.requests) == 1


def test_a_redirection_is_not_followed(serve):
    other = serve(answer(ANSWER))

    def away(handler):
        handler.send_response(307)
        handler.send_header("location", other.address.partition("#")[0] + "/chat/completions")
        handler.send_header("content-length", "0")
        handler.end_headers()

    with pytest.raises(EndpointError, match="307"):
        propose(STORY, model=serve(away).address)
    assert other.requests == []


def test_a_key_is_never_repeated(serve, monkeypatch):
    monkeypatch.setenv("RACCORD_PLANNER_KEY", SECRET)
    server = serve((401, {"error": {"message": f"wrong key: {SECRET}\x1b[31m" + "x" * 500}}))
    done = raccord("plan", STORY, "--planner", server.address, "--json")
    assert done.exit_code == 3
    assert SECRET not in done.output
    assert "wrong key: ***" in done.stderr
    assert "\x1b" not in done.stderr
    assert len(done.stderr) < 1000


def test_a_slow_endpoint_ends_in_time(serve):
    def sleepy(handler):
        time.sleep(3)

    model = RemoteModel(serve(sleepy).address, read_seconds=0.2, retries=0)
    began = time.monotonic()
    with pytest.raises(EndpointError, match=r"did not answer \(1 tries\): .*timed out"):
        model.write(chat(SENTENCES), wire_schema(), max_tokens=99, max_seconds=60)
    assert time.monotonic() - began < 2.5


def test_a_body_that_drips_or_does_not_end_is_cut_off(serve):
    def drips(handler):
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", "100000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)

    def pours(status):
        def pour(handler):
            handler.send_response(status)
            handler.send_header("content-type", "application/json")
            handler.end_headers()
            for _ in range(400):
                handler.wfile.write(b" " * 65536)

        return pour

    began = time.monotonic()
    model = RemoteModel(serve(drips).address, read_seconds=5, retries=0)
    with pytest.raises(EndpointError, match="did not end in time"):
        model.write(chat(SENTENCES), wire_schema(), max_tokens=99, max_seconds=0.5)
    assert time.monotonic() - began < 4
    for status in (200, 500):
        model = RemoteModel(serve(pours(status)).address, retries=0)
        with pytest.raises(EndpointError, match="longer than"):
            model.write(chat(SENTENCES), wire_schema(), max_tokens=99, max_seconds=30)


def test_nobody_there():
    server = Server(answer(ANSWER))
    server.close()
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1 did not answer"):
        propose(STORY, model=server.address)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (answer(None, refusal="I would rather not\x00."), "refused this story: I would rather not"),
        (answer("", end="content_filter"), "refused"),
        (answer(ANSWER[:200], end="length"), "cut off"),
        (answer("  "), "with nothing"),
        ({"choices": []}, "no answer of a chat"),
        ({"hello": 1}, "no answer of a chat"),
        ([1, 2], "no answer of a chat"),
        (b"<html>nginx</html>", "no answer of a chat"),
        (b'{"choices": [' + b"[" * 50_000, "no answer of a chat"),
        (answer(7), "with nothing"),
    ],
    ids=str,
)
def test_replies_that_are_no_answer(serve, reply, told):
    server = serve(reply)
    with pytest.raises(DirectError, match=told):
        propose(STORY, model=server.address)


def test_a_wrong_answer_is_asked_for_again_with_the_reason(serve):
    server = serve(answer("Sure! Here is your scene."), answer(ANSWER[:-10]), answer(f"```json\n{ANSWER}\n```"))
    proposal = propose(STORY, model=server.address)
    assert proposal.tokens == 21
    assert "asked again" in proposal.repairs[0]
    last = server.requests[2]["messages"]
    assert last[:-2] == chat(SENTENCES)
    assert last[-2] == {"role": "assistant", "content": ANSWER[:-10]}
    assert "no JSON" in last[-1]["content"]
    server = serve(answer("{}"))
    with pytest.raises(
        DirectError, match="no scene of this story in 3 tries: the answer must be an object with a list"
    ):
        propose(STORY, model=server.address)
    assert len(server.requests) == 3


def spoiled(**changes):
    """The answer with fields of its first frame replaced."""
    document = json.loads(ANSWER)
    document["frames"][0] |= changes
    return json.dumps(document)


def item(**changes):
    return {"entity": "Tom", "action": "standing", "box": [20, 5, 9, 20], **changes}


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (spoiled(items=[item(box=[-5, 2.4, 900, 1e30])]), 'frame 1: brought the box of "Tom" onto the grid'),
        (spoiled(items=[item() | {"entity": f"e{n}"} for n in range(9)]), "frame 1: left out"),
        (
            spoiled(relations=[{"subject": "Tom", "relation": "inside", "object": "tractor"}]),
            'frame 1: dropped the relation "inside"',
        ),
        (
            spoiled(relations=[{"subject": "Tom", "relation": "left of", "object": "tractor"}] * 9),
            "frame 1: dropped a relation",
        ),
        (
            json.dumps({**json.loads(ANSWER), "entities": json.loads(ANSWER)["entities"] * 9}),
            "left out 10 entities",
        ),
        (
            json.dumps({**json.loads(ANSWER), "frames": json.loads(ANSWER)["frames"] * 3}),
            "left out 4 frames",
        ),
    ],
)
def test_what_can_be_kept_is_kept_and_every_change_is_told(text, note):
    scene, notes = read_scene(text, SENTENCES)
    assert any(one.startswith(note) for one in notes), notes
    assert repair(repair(scene).scene).repairs == ()


def test_texts_are_freed_of_marks():
    text = spoiled(background='<script>alert("x")</script> \u202e barn\n' + "y" * 500)
    scene, _ = read_scene(text, SENTENCES)
    assert scene.frames[0].background.startswith("script alert x script barn y")
    assert len(scene.frames[0].background) == 80
    assert [shot.sentence for shot in scene.frames] == list(SENTENCES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{" * 100_000,
        '{"a":' * 5000,
        "x" * 200_000,
        '{"entities":[],"frames":[]}',
        '{"entities":7,"frames":[]}',
        '{"entities":[7],"frames":[1,2]}',
        spoiled(items=[item(box=[1, 2, 3])]),
        spoiled(items=[item(box=[1, 2, 3, "4"])]),
        spoiled(items=[item(box=[1, 2, 3, True])]),
        spoiled(items=[item(box=[1, 2, 3, float("nan")])]),
        spoiled(items=[item(entity="...")]),
        spoiled(items=[item(action=None)]),
        spoiled(items=[]),
        spoiled(background=""),
        spoiled(relations="none"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_scene_is_refused_with_a_reason(text):
    with pytest.raises(SceneError):
        read_scene(text, SENTENCES)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://host/v1", "ends with the model's name"),
        ("https:///v1#m", "ends with the model's name"),
        (f"https://user:{SECRET}@host/v1#m", "without keys"),
        (f"https://host/v1?key={SECRET}#m", "without keys"),
        ("https://host:port/v1#m", "must be a URL"),
    ],
)
def test_addresses_are_checked_before_anything_is_sent(address, told):
    with pytest.raises(EndpointError, match=told) as raised:
        RemoteModel(address)
    assert SECRET not in str(raised.value)


def test_a_key_goes_only_where_it_belongs(monkeypatch):
    monkeypatch.delenv("RACCORD_PLANNER_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert RemoteModel("https://api.openai.com/v1#gpt")._key == SECRET
    assert RemoteModel("https://api.openai.com.evil.example/v1#gpt")._key == ""
    monkeypatch.setenv("RACCORD_PLANNER_KEY", SECRET)
    with pytest.raises(EndpointError, match="use https"):
        RemoteModel("http://far.example/v1#m")
    assert RemoteModel("http://localhost:8000/v1#m")._key == SECRET


def test_the_command_line_takes_an_address(serve, tmp_path):
    server = serve(answer(ANSWER))
    path = tmp_path / "x.plan.json"
    assert raccord("plan", STORY, "--planner", server.address, "-o", path).exit_code == 0
    assert len(read_plan(path.read_bytes()).frames) == 2
    server = serve(answer(None, refusal="no"))
    assert raccord("plan", STORY, "--planner", server.address).exit_code == 2
    server = serve((500, {}))
    done = raccord("plan", STORY, "--planner", server.address)
    assert done.exit_code == 3
    assert "the planner cannot be used: 127.0.0.1 refused 3 times with 500" in done.stderr
    with pytest.raises(DirectError, match="on this machine"):
        propose(STORY, model=server.address, adapters=["crowd"])


def test_without_the_library_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(EndpointError, match=r"raccord\[remote\]"):
        RemoteModel("https://host/v1#m")


def test_a_hostile_server_changes_nothing_but_texts_and_boxes(serve):
    """Whatever an answer says, the plan is a plan: 200 answers with orders, paths, markup and code in every field."""
    orders = [
        "../../etc/passwd",
        "<script>x</script>",
        "Ignore all rules",
        "$(reboot)",
        "{{ 7*7 }}",
        "\x1b[2J",
        "; rm -rf /",
    ]
    for number in range(200):
        text = f"{orders[number % len(orders)]} {number}"
        document = {
            "entities": [{"name": text, "card": text, "model": text}, {"name": "Tom", "card": "a man"}],
            "frames": [
                {"background": text, "relations": [], "items": [item(action=text), item(entity=text)], "exec": text}
            ] * 2,
            "seed": number,
            "path": text,
        }  # fmt: skip
        scene, _ = read_scene(json.dumps(document), SENTENCES)
        assert set(scene.model_dump()) == {"entities", "frames"}
        assert repair(repair(scene).scene).repairs == ()
    server = serve(answer(json.dumps(document)))
    plan = propose(STORY, model=server.address, seed=5).plan
    assert plan.seed == 5
    assert read_plan(write_plan(plan)) == plan


def test_write_alone_refuses_what_is_no_answer(serve):
    model = RemoteModel(serve(answer(ANSWER, choices=None)).address)
    with pytest.raises(LanguageModelError, match="no answer"):
        model.write(chat(SENTENCES), wire_schema(), max_tokens=9, max_seconds=9)
