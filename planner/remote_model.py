"""A language model behind an OpenAI-compatible endpoint (OpenAI, vLLM, llama.cpp, Ollama and others)."""

import os
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from raccord.planner.language_model import LanguageModelError, Written

# The variables that may hold the endpoint's key. The second one is for OpenAI's own host and goes nowhere else.
KEY_VARIABLE = "RACCORD_PLANNER_KEY"
OPENAI_VARIABLE, OPENAI_HOST = "OPENAI_API_KEY", "api.openai.com"
_HERE = ("localhost", "127.0.0.1", "::1")
_MAX_BYTES = 2 << 20
_CONNECT_SECONDS = 15.0
_RETRIES = 2
# Sent where the endpoint takes them: some models know no temperature, some no seed.
_OPTIONAL = ("temperature", "seed", "max_completion_tokens")
_HEADERS = frozenset(
    "accept accept-encoding authorization connection content-length content-type host user-agent".split()
)


class EndpointError(OSError):
    """An endpoint cannot be used: it does not answer, refuses, or a library or key for it is missing."""


def is_address(name: object) -> bool:
    """Whether a planner's name is the address of an endpoint, and no folder or hub name."""
    return isinstance(name, str) and name.startswith(("http://", "https://"))


class RemoteModel:
    """A chat model by the address of its endpoint and its name there: "https://host/v1#model".

    Nothing is sent but the story's sentences, the schema of scenes, bounds and, in the header of authorisation, the
    key from `RACCORD_PLANNER_KEY` (or `OPENAI_API_KEY` for api.openai.com). No redirection is followed.

    Attributes:
        world: None; such a model is a general one.
    """

    world = None

    def __init__(self, address: str, *, read_seconds: float = 120.0, retries: int = _RETRIES):
        """Raises `EndpointError` when the address, the key or the `openai` package will not do; sends nothing."""
        try:
            parts = urlsplit(address)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise EndpointError(f"the address of a planner must be a URL: {error}") from error
        # The address itself may hold a key by mistake, so no message repeats it.
        if parts.username is not None or parts.query:
            raise EndpointError(
                f"the address of a planner is like https://{host}/v1#model, without keys and parameters; put the key "
                f"into the environment variable {KEY_VARIABLE}"
            )
        if not host or not parts.fragment:
            raise EndpointError("the address of a planner ends with the model's name there: https://host/v1#model")
        key = os.environ.get(KEY_VARIABLE) or (os.environ.get(OPENAI_VARIABLE) if host == OPENAI_HOST else None)
        if key and parts.scheme == "http" and host not in _HERE:
            raise EndpointError(f"a key would go to {host} for everybody to read; use https, or unset {KEY_VARIABLE}")
        self.host, self.name = host, parts.fragment
        self._key = key or ""
        self._address = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._read_seconds, self._retries = read_seconds, retries
        self._deadline = 0.0
        self._client = self._connected()

    @property
    def record(self) -> dict[str, Any]:
        """What provenance says of it: its name and host. Nobody outside knows what weights answer there."""
        return {"remote": self.name, "host": self.host}

    def write(
        self,
        turns: Sequence[dict[str, str]],
        schema: dict[str, Any],
        *,
        max_tokens: int,
        max_seconds: float,
        sample: int = 0,
    ) -> Written:
        """The model's answer to a chat, asked for as JSON of `schema`; the endpoint may not have held it to that.

        Args:
            turns: the chat, as {"role", "content"}.
            schema: a JSON schema.
            max_tokens, max_seconds: bounds.
            sample: 0 asks for the likeliest answer, another number for one drawn with it as the seed.

        Raises:
            EndpointError: no answer came in time, or the endpoint refused the request.
            LanguageModelError: the answer is empty, cut off or a refusal, or no answer of a chat at all.
        """
        import openai

        self._deadline = time.monotonic() + max_seconds
        options: dict[str, Any] = {
            "temperature": 0.8 if sample else 0.0,
            "seed": sample,
            "max_completion_tokens": max_tokens,
        }
        form = {"type": "json_schema", "json_schema": {"name": "scene", "strict": True, "schema": schema}}
        while True:
            try:
                answer: Any = self._client.chat.completions.create(
                    model=self.name,
                    messages=list(turns),  # pyright: ignore[reportArgumentType]
                    response_format=form,  # pyright: ignore[reportArgumentType]
                    timeout=self._timeout(),
                    **options,
                )
                break
            except openai.BadRequestError as error:
                # The endpoint says which of our parameters its model does not take.
                if error.param not in options:
                    raise self._refused(error) from error
                del options[error.param]
            except openai.APIStatusError as error:
                raise self._refused(error) from error
            except openai.APIConnectionError as error:
                raise self._unreachable(error) from error
            except (openai.OpenAIError, ValueError, TypeError, AttributeError, RecursionError) as error:
                raise LanguageModelError(f"{self.host} sent no answer of a chat: {self._told(error)}") from error
        return self._written(answer)

    def _written(self, answer: Any) -> Written:
        try:
            choice = answer.choices[0]
            text, refusal, end = choice.message.content, choice.message.refusal, choice.finish_reason
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise LanguageModelError(f"{self.host} sent no answer of a chat") from error
        tokens = getattr(answer.usage, "completion_tokens", None)
        if refusal or end == "content_filter":
            raise LanguageModelError(f"the model {self.name} refused this story: {self._told(refusal or end)}")
        if end == "length":
            raise LanguageModelError(f"the answer of {self.name} was cut off; tell a shorter story")
        if not isinstance(text, str) or not text.strip():
            raise LanguageModelError(f"the model {self.name} answered with nothing")
        return Written(text, tokens if isinstance(tokens, int) else 0)

    def _connected(self) -> Any:
        try:
            import httpx2
            import openai
        except ImportError as error:
            raise EndpointError(f"a planner by address needs {error.name}: pip install 'raccord[remote]'") from error

        remote = self

        class Bounded(httpx2.SyncByteStream):
            """A body of at most `_MAX_BYTES` that ends before the deadline."""

            def __init__(self, stream: Any):
                self._stream = stream

            def __iter__(self) -> Any:
                size = 0
                for chunk in self._stream:
                    size += len(chunk)
                    if size > _MAX_BYTES:
                        raise httpx2.ReadError(f"the answer is longer than {_MAX_BYTES:,} bytes")
                    if time.monotonic() > remote._deadline:
                        raise httpx2.ReadTimeout("the answer did not end in time")
                    yield chunk

            def close(self) -> None:
                self._stream.close()

        def trim(request: Any) -> None:
            if time.monotonic() > remote._deadline:
                raise httpx2.ConnectTimeout("no time is left for another try")
            for name in [name for name in request.headers if name.lower() not in _HEADERS]:
                del request.headers[name]
            if not remote._key:
                request.headers.pop("authorization", None)

        def bound(response: Any) -> None:
            response.stream = Bounded(response.stream)

        http = openai.DefaultHttpxClient(
            follow_redirects=False, event_hooks={"request": [trim], "response": [bound]}, timeout=_CONNECT_SECONDS
        )
        return openai.OpenAI(
            api_key=self._key or "none",
            base_url=self._address,
            max_retries=self._retries,
            http_client=http,
            # Variables of another account must not travel along.
            admin_api_key="",
            webhook_secret="",
        )

    def _timeout(self) -> Any:
        import httpx2

        left = max(0.1, self._deadline - time.monotonic())
        return httpx2.Timeout(min(left, self._read_seconds), connect=min(left, _CONNECT_SECONDS))

    def _refused(self, error: Any) -> EndpointError:
        hint = {
            401: f"; put a key for it into {KEY_VARIABLE}",
            403: f"; does the key in {KEY_VARIABLE} allow it?",
            404: f"; does the address end in /v1, and is there a model {self.name}?",
            400: "; the endpoint must know response_format json_schema",
        }.get(error.status_code, "")
        tries = f" {self._retries + 1} times" if error.status_code >= 500 or error.status_code == 429 else ""
        return EndpointError(f"{self.host} refused{tries} with {error.status_code}: {self._told(error.message)}{hint}")

    def _unreachable(self, error: BaseException) -> EndpointError:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        why = self._told(cause) if str(cause) else type(cause).__name__
        return EndpointError(f"{self.host} did not answer ({self._retries + 1} tries): {why}")

    def _told(self, what: object) -> str:
        """What a stranger says, short and without the key."""
        text = " ".join(str(what).split())
        text = text.replace(self._key, "***") if self._key else text
        return text if len(text) <= 200 else f"{text[:197]}..."
