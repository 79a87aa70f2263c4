"""Answers and recordings as a person or a program reads them: streamed text, tokens, JSON, one line a recording, WAV files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import soundfile

from qwen_audio.audio import SAMPLE_RATE, AudioClip
from qwen_audio.chat import AnswerSpan
from qwen_audio.engine import Engine, Reply
from qwen_audio.errors import QwenAudioError
from qwen_audio.history import Attached
from qwen_audio.terminal.screen import Interrupt, Screen, clean_name


class Answering(Protocol):
    """An answer that comes piece by piece: a ChatStream or a ReplyStream."""

    @property
    def reply(self) -> Reply:
        """What has been said so far."""

    def __iter__(self) -> Iterator[str]:
        """Yield pieces of whole characters."""

    def close(self) -> None:
        """Stop the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How answers are shown and kept."""

    stream: bool = True
    raw: bool = False
    as_json: bool = False
    verbose: bool = False
    clips_dir: Path | None = None
    save: Path | None = None


def show_answer(begin: Callable[[], Answering], interrupt: Interrupt, screen: Screen, manner: Manner, engine: Engine) -> Reply:
    """Let an answer come and show its text, piece by piece where that was asked for; Ctrl-C ends it and keeps what was said."""
    with interrupt:
        answering = begin()
        live = manner.stream and not (manner.as_json or manner.raw)
        try:
            for piece in answering:
                if live:
                    screen.say(piece, end="")
        finally:
            answering.close()
            if live:
                screen.say("")
    reply = answering.reply
    if manner.raw and not manner.as_json:
        show_tokens(reply, engine, screen)
    elif not live and not manner.as_json:
        screen.say(reply.text)
    return reply


def show_tokens(reply: Reply, engine: Engine, screen: Screen) -> None:
    """Show every token of an answer on a line: its id and its text or name."""
    for token in reply.token_ids:
        screen.say(f"{token:>6}  {clean_name(token_text(token, engine))}")


def token_text(token: int, engine: Engine) -> str:
    """Name a token: a tag by its name, text in quotes, bytes that are no whole character as bytes."""
    piece = engine.tokenizer.bytes_of(token)
    if piece is None:
        return engine.tokenizer.token_of(token) or "(unused)"
    try:
        return json.dumps(piece.decode("utf-8"), ensure_ascii=False)
    except UnicodeDecodeError:
        return str(piece)


def tell_about(reply: Reply, screen: Screen, manner: Manner, heard_s: float) -> None:
    """Say why an answer ended where it did not end by itself, and what it cost where that was asked for."""
    if reply.stop == "length":
        screen.note(f"stopped after {len(reply.token_ids)} tokens; --max-new-tokens (/set max_new_tokens) allows more")
    elif reply.stop == "cancelled":
        screen.note("stopped")
    if manner.verbose:
        rate = len(reply.token_ids) / reply.answer_s if reply.answer_s > 0 else 0.0
        sound = f", audio {heard_s:.1f} s in {reply.encode_s:.1f} s" if heard_s else ""
        screen.note(f"{len(reply.token_ids)} tokens, {rate:.0f} tok/s{sound}, prompt {reply.prompt_tokens}")


def answer_json(
    reply: Reply, audio: Sequence[Mapping[str, object]], spans: Sequence[Mapping[str, object]], engine: Engine, manner: Manner
) -> str:
    """Write an answer as one JSON object; --raw adds its tokens."""
    values: dict[str, object] = {
        "text": reply.text,
        "stop": reply.stop,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": len(reply.token_ids),
        "audio": list(audio),
        "spans": list(spans),
    }
    if manner.raw:
        values["tokens"] = [token_text(token, engine) for token in reply.token_ids]
    return json.dumps(values, ensure_ascii=False)


def audio_values(source: str, seconds: float, heard_seconds: float) -> dict[str, object]:
    """Name a recording in an answer's JSON."""
    return {"source": source, "seconds": round(seconds, 3), "heard_seconds": round(heard_seconds, 3)}


def span_values(span: AnswerSpan) -> dict[str, object]:
    """Name a stretch in an answer's JSON."""
    return {"audio": span.audio, "start_s": round(span.start_s, 2), "end_s": round(span.end_s, 2)}


def describe(audio: Attached) -> str:
    """Say what a recording is: `Audio 1: rain.wav  12.4 s  44.1 kHz stereo -> 16 kHz mono`."""
    clip = audio.windows[0]
    text = f"Audio {audio.number}: {describe_clip(audio.source, audio.seconds, clip)}"
    if len(audio.windows) > 1:
        text += f"  in {len(audio.windows)} windows"
    elif audio.seconds - audio.heard_seconds > 0.01:
        text += f"  only the first {audio.heard_seconds:.1f} s are heard"
    return text


def describe_clip(source: str, seconds: float, clip: AudioClip) -> str:
    """Say how long a recording is and in what form it was."""
    channels = {1: "mono", 2: "stereo"}.get(clip.native_channels, f"{clip.native_channels} channels")
    return f"{clean_name(source)}  {seconds:.1f} s  {clip.native_rate / 1000:g} kHz {channels} -> {SAMPLE_RATE // 1000} kHz mono"


def describe_engine(engine: Engine) -> str:
    """Name a model, where it runs and in which numbers."""
    return f"{clean_name(engine.name)}  {engine.device}  {str(engine.dtype).removeprefix('torch.')}"


def heard_of(audio: Attached) -> str:
    """Say how much of a recording was heard."""
    whole = abs(audio.seconds - audio.heard_seconds) < 0.01
    return f"Audio {audio.number} {audio.heard_seconds:.1f} s" + ("" if whole else f" of {audio.seconds:.1f} s")


def write_clips(spans: Sequence[AnswerSpan], folder: Path, screen: Screen) -> None:
    """Write the stretches that an answer points at as WAV files, and say where."""
    for span in spans:
        path = write_clip(span.clip, folder, f"audio{span.audio}_{span.start_s:.2f}-{span.end_s:.2f}s")
        screen.note(f"wrote {clean_name(str(path))}")


def write_clip(clip: AudioClip, folder: Path, stem: str) -> Path:
    """Write a clip as 16-bit WAV under a name that is free; raises QwenAudioError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number, path = 1, folder / f"{stem}.wav"
        while path.exists():
            number += 1
            path = folder / f"{stem}_{number}.wav"
        soundfile.write(path, clip.samples, SAMPLE_RATE, subtype="PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise QwenAudioError(f"{folder}: the clip cannot be written there ({error}); choose another folder") from error
    return path
