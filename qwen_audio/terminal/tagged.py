"""A tagged task at a terminal: one answer a recording, also where it is longer than the encoder hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from qwen_audio.audio import SAMPLE_RATE, AudioClip, fit_window
from qwen_audio.chat import AnswerSpan
from qwen_audio.config import GenerationOptions, LongAudio
from qwen_audio.engine import Engine, Reply
from qwen_audio.errors import PromptError
from qwen_audio.terminal.display import (
    Answering,
    Manner,
    answer_json,
    audio_values,
    describe_clip,
    show_answer,
    span_values,
    tell_about,
    write_clips,
)
from qwen_audio.terminal.screen import Interrupt, Screen
from tag_schema.prefix import TagPrefix
from tag_schema.timestamps import SRWT_START, find_spans


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A task, how it is answered, and where the answers are shown."""

    engine: Engine
    task: TagPrefix
    options: GenerationOptions
    long_audio: LongAudio
    screen: Screen
    manner: Manner
    interrupt: Interrupt = field(default_factory=Interrupt)

    def answer(self, clips: Sequence[AudioClip]) -> Reply:
        """Do the task once and show the answer; Ctrl-C stops it.

        Args:
            clips: the one recording that most tasks hear, or several that are heard together.
        Raises:
            AudioTooLongError, PromptError, TagError: it cannot be done.
        """
        parts = self._parts(clips)
        for number, clip in enumerate(clips, 1):
            windows = f"  in {len(parts)} windows, an answer each" if len(parts) > 1 else ""
            self.screen.note(f"Audio {number}: {describe_clip(clip.source, clip.duration_s, clip)}{windows}")
        replies: list[Reply] = []
        spans: list[AnswerSpan] = []
        for part in parts:
            reply = self._ask(part)
            replies.append(reply)
            spans += self._spans(reply, part[-1], len(clips), part[-1].start_s - clips[-1].start_s)
            if reply.stop == "cancelled":
                break
        return self._tell(clips, joined(replies), len(replies), spans)

    def _parts(self, clips: Sequence[AudioClip]) -> list[list[AudioClip]]:
        """Bring the recordings to what the model hears at once: a long one is heard in several parts."""
        windows = [fit_window(clip, self.long_audio) for clip in clips]
        if len(clips) == 1:
            return [[window] for window in windows[0]]
        for clip, fitted in zip(clips, windows, strict=True):
            if len(fitted) > 1:
                raise PromptError(f"{clip.source}: {clip.duration_s:.1f} s; recordings that are compared are at most 30 s, add #t=0,30")
        return [[fitted[0] for fitted in windows]]

    def _ask(self, part: Sequence[AudioClip]) -> Reply:
        """Let the model answer for one part."""

        def begin() -> Answering:
            return self.engine.stream_task(part, self.task, self.options, cancelled=self.interrupt)

        return show_answer(begin, self.interrupt, self.screen, self.manner, self.engine)

    def _spans(self, reply: Reply, clip: AudioClip, number: int, offset_s: float) -> list[AnswerSpan]:
        """Find the stretches that an answer points at, in the seconds of the whole recording."""
        text = reply.text
        if self.task.timestamps and not text.startswith(SRWT_START):
            text = SRWT_START + text  # the tag sentence gave the first time
        found = []
        for span in find_spans(text):
            end_s = min(span.end_s, clip.duration_s)
            if round(span.start_s * SAMPLE_RATE) < round(end_s * SAMPLE_RATE):
                found.append(AnswerSpan(number, offset_s + span.start_s, offset_s + end_s, clip.cut(span.start_s, end_s)))
        return found

    def _tell(self, clips: Sequence[AudioClip], reply: Reply, n_parts: int, spans: Sequence[AnswerSpan]) -> Reply:
        """Show what belongs to the whole answer."""
        heard = [sum(reply.heard_s)] if len(clips) == 1 else list(reply.heard_s)
        if self.manner.as_json:
            audio = [audio_values(clip.source, clip.duration_s, seconds) for clip, seconds in zip(clips, heard, strict=True)]
            self.screen.say_json(answer_json(reply, audio, [span_values(span) for span in spans], self.engine, self.manner))
        for number, (clip, seconds) in enumerate(zip(clips, heard, strict=True), 1):
            of = "" if abs(clip.duration_s - seconds) < 0.01 else f" of {clip.duration_s:.1f} s"
            self.screen.note(f"heard: Audio {number} {seconds:.1f} s{of}")
        if n_parts > 1 and self.task.timestamps:
            self.screen.note("times in the text count from the start of each window")
        tell_about(reply, self.screen, self.manner, sum(heard))
        if self.manner.clips_dir is not None:
            write_clips(spans, self.manner.clips_dir, self.screen)
        return reply


def joined(replies: Sequence[Reply]) -> Reply:
    """Put the answers for the windows of one recording together, a line each; it ended well only where all did."""
    return replace(
        next((reply for reply in replies if reply.stop != "end"), replies[0]),
        text="\n".join(reply.text for reply in replies),
        token_ids=[token for reply in replies for token in reply.token_ids],
        prompt_tokens=sum(reply.prompt_tokens for reply in replies),
        heard_s=tuple(seconds for reply in replies for seconds in reply.heard_s),
        encode_s=sum(reply.encode_s for reply in replies),
        answer_s=sum(reply.answer_s for reply in replies),
    )
