"""A model behind an OpenAI-compatible server: chat completions that hold their audio as base64 WAV."""

from __future__ import annotations

import base64
import io
import json
import os
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from data.manifest import Record
from eval.models.asking import in_words, numbered, told
from eval.models.base import About, Answered, Asked, ModelGone, failed, reason
from qwen_audio.audio import SAMPLE_RATE, AudioClip
from qwen_audio.errors import USER_ERRORS, ConfigError, DataError

PROMPTS = 1  # raise it when the same row is asked in another way
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)  # answers of a server that may be another the next time
REFUSED = (401, 403)
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
SHOWN = 300  # characters of a server's message


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Where the server is and how patiently it is asked.

    Attributes:
        base_url: what stands before /chat/completions.
        api_key_env: environment variable that holds the key; an unset one sends none.
        concurrency: requests at once.
        timeout_s: seconds to wait for one answer.
        retries: how often a request is made again, each time after twice the wait.
        sleep: how to wait.
    """

    base_url: str
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout_s: float = 120.0
    retries: int = 5
    sleep: Callable[[float], None] = time.sleep


class EndpointModel:
    """A served model. Rows do not meet there, so a batch is only what is written to the log at once."""

    def __init__(self, name: str, options: EndpointOptions) -> None:
        """Take a model's name and its server.

        Raises:
            ConfigError: the name or the address is missing.
        """
        address = urlsplit(options.base_url)
        if address.username or address.password:
            raise ConfigError(
                f"--base-url holds a name or password, which would stand in every result; put the key into ${options.api_key_env}"
            )
        if not name or address.scheme not in ("http", "https"):
            raise ConfigError(f"openai:{name}: expected -m openai:NAME and --base-url http(s)://..., found {options.base_url!r}")
        self.name, self.options = name, options
        self._address = f"{options.base_url.rstrip('/')}/chat/completions"
        self._key = os.environ.get(options.api_key_env, "")
        self.about = About(
            name=f"openai:{name}",
            identity=f"{name} at {options.base_url.rstrip('/')}",
            settings={"kind": "openai", "prompts": PROMPTS, "sampling": "temperature 0"},
            window_s=None,
            together=False,
            batch_size=4 * options.concurrency,
        )

    def prompt(self, record: Record) -> str:
        """Return the conversation; a tagged task is asked in words."""
        return told(in_words(record))

    def answer(self, rows: Sequence[Asked]) -> list[Answered]:
        """Answer rows, several at once; whatever goes wrong with one is told of it alone.

        Raises:
            ModelGone: the key is refused, or no row reached the server.
        """
        with ThreadPoolExecutor(self.options.concurrency) as pool:
            found = list(pool.map(self._answer, rows))
        if away := [error for error in found if isinstance(error, _Away)]:
            if len(away) == len(found):
                raise ModelGone(f"{self._address}: {away[0]}; start the server or mend --base-url, then run again: what is done is kept")
            return [failed(one) if isinstance(one, _Away) else one for one in found]
        return [one for one in found if isinstance(one, Answered)]

    def peak_bytes(self) -> int:
        """Return 0: its memory is elsewhere."""
        return 0

    def _answer(self, row: Asked) -> Answered | _Away:
        try:
            body = json.dumps(self._request(row)).encode()
        except USER_ERRORS as error:
            return failed(error)
        try:
            return _read_completion(self._post(body))
        except _Away as away:
            return away
        except (DataError, ValueError) as error:
            return failed(error)

    def _request(self, row: Asked) -> dict[str, Any]:
        messages = []
        for role, parts in numbered(in_words(row.record)):
            content: list[dict[str, Any]] = []
            for part in parts:
                if isinstance(part, str):
                    content.append({"type": "text", "text": part})
                else:
                    sounds = [{"data": _wav(clip), "format": "wav"} for clip in row.clips[part.number]]
                    content += [{"type": "input_audio", "input_audio": sound} for sound in sounds]
            texts = [part for part in parts if isinstance(part, str)]
            messages.append({"role": role, "content": content if len(texts) < len(parts) else "".join(texts)})
        return {"model": self.name, "messages": messages, "max_tokens": row.max_new_tokens, "temperature": 0}

    def _post(self, body: bytes) -> Any:
        """Send one request, again where the server is busy; return what it answers.

        Raises:
            _Away: it was never reached; ModelGone: it refuses the key; DataError: it answers with an error; TimeoutError.
        """
        wait_s = FIRST_WAIT_S
        for left in range(self.options.retries, -1, -1):
            try:
                return self._send(body)
            except urllib.error.HTTPError as error:
                found = f"the server answers {error.code}: {_message(error)}"
                if error.code in REFUSED:
                    raise ModelGone(f"{self._address}: {found}; put a valid key into ${self.options.api_key_env}") from error
                if error.code not in AGAIN or not left:
                    raise DataError(found) from error
                wait_s = max(wait_s, _retry_after(error.headers))
            except (OSError, HTTPException) as error:
                cause = error.reason if isinstance(error, urllib.error.URLError) else error
                if not left and isinstance(cause, TimeoutError):
                    raise DataError(f"no answer within {self.options.timeout_s:g} s") from error
                if not left:
                    raise _Away(reason(cause) if isinstance(cause, BaseException) else str(cause)) from error
            self.options.sleep(min(wait_s, LONGEST_WAIT_S))
            wait_s *= 2
        raise AssertionError("the last try either returns or raises")

    def _send(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        request = urllib.request.Request(self._address, data=body, headers=headers, method="POST")
        with urllib.request.urlopen(request, timeout=self.options.timeout_s) as answer:
            return json.loads(answer.read())


class _Away(Exception):
    """The server could not be reached."""


def _read_completion(found: Any) -> Answered:
    """Read the first choice of a chat completion.

    Raises:
        DataError: it is none.
    """
    try:
        content = found["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(f"expected a chat completion, the server answers {json.dumps(found)[:SHOWN]}") from error
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    usage = found.get("usage") or {}
    return Answered(content or "", n_tokens=int(usage.get("completion_tokens") or 0))


def _message(error: urllib.error.HTTPError) -> str:
    """Return what the server says of an error, in one line."""
    text = error.read().decode("utf-8", "replace")
    try:
        said = json.loads(text)
        text = str(said["error"]["message"] if isinstance(said["error"], Mapping) else said["error"])
    except (ValueError, KeyError, TypeError):
        text = text or str(error.reason)
    return " ".join(text.split())[:SHOWN]


def _retry_after(headers: Message) -> float:
    """Return the seconds that a busy server asks to wait; 0 where it does not say, or names a date."""
    try:
        return max(0.0, float(headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0


def _wav(clip: AudioClip) -> str:
    """Write a clip as base64 of a 16-bit WAV."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.round(np.clip(clip.samples, -1.0, 1.0) * 32767).astype("<i2").tobytes())
    return base64.b64encode(out.getvalue()).decode()
