"""Byte-pair text and tags: ids from text, tag sentences and answers, and back; a person's text never becomes a control token."""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import tiktoken

from qwen_audio.config import Family
from qwen_audio.errors import CheckpointError
from tag_schema.custom import CustomTags
from tag_schema.vocabulary import (
    AUDIO_END,
    AUDIO_PAD,
    AUDIO_START,
    CONTENT_TOKENS,
    CONTROL_TOKENS,
    END_OF_TEXT,
    IM_END,
    IM_START,
    OFFSETS,
    SPECIAL_TOKENS,
    TAG_PATTERN,
    TIMESTAMP_LAST,
    TIMESTAMP_ZERO,
    TagError,
    check_spelling,
    unknown_tag,
)

# How text is cut before byte pairs are joined. Source: section 3.1 of the released tokenizer's description; Qwen2's is the same.
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
RANK_FILES = ("ranks.tiktoken", "qwen.tiktoken")  # ours, a released checkpoint's
TOKENIZER_FILE = "tokenizer.json"
# What transformers' Qwen2-Audio calls the three tokens of a clip's span: before it, in its places, after it.
TRANSFORMERS_AUDIO = {AUDIO_START: "<|audio_bos|>", AUDIO_PAD: "<|AUDIO|>", AUDIO_END: "<|audio_eos|>"}


class Tokenizer:
    """Turns text into ids and ids into text.

    Args:
        ranks: token bytes -> rank, every byte among them.
        custom: a user's tags on the reserved slots.
        family: "qwen2-audio" names the three audio tokens as transformers does.
        n_ranks: ids below this are text; len(ranks) unless the ranks are a part of a larger vocabulary.
        special: token -> id where it is not the released table behind the ranks.
    Raises:
        CheckpointError: a byte has no rank, or two tokens share one.
    """

    def __init__(
        self,
        ranks: dict[bytes, int],
        *,
        custom: CustomTags | None = None,
        family: Family = "qwen-audio",
        n_ranks: int | None = None,
        special: Mapping[str, int] | None = None,
    ) -> None:
        self.family: Family = family
        self.n_ranks = len(ranks) if n_ranks is None else n_ranks
        _check_ranks(ranks, self.n_ranks)
        self.custom = CustomTags({}) if custom is None else custom
        self.special: Mapping[str, int] = (
            {token: self.n_ranks + offset for token, offset in OFFSETS.items()} if special is None else dict(special)
        )
        self._ranks = ranks
        self._bytes = {rank: token for token, rank in ranks.items()}
        self._aliases = {tag: self._find(self.custom.token(tag)) for tag in self.custom.slots}
        self._names = {token_id: token for token, token_id in self.special.items()}
        self._names |= {token_id: tag for tag, token_id in self._aliases.items()}
        self._content = {token: self.special[token] for token in CONTENT_TOKENS if token in self.special} | self._aliases
        self._content_ids = frozenset(self._content.values())
        self._encoding = tiktoken.Encoding("qwen_audio", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens={})
        self.vocab_size = max(self.n_ranks, *(token_id + 1 for token_id in self.special.values()))
        names = TRANSFORMERS_AUDIO if family == "qwen2-audio" else {}
        self.end_of_text = self._find(END_OF_TEXT)
        self.im_start = self._find(IM_START)
        self.im_end = self._find(IM_END)
        self.audio_start = self._find(names.get(AUDIO_START, AUDIO_START))
        self.audio_pad = self._find(names.get(AUDIO_PAD, AUDIO_PAD))
        self.audio_end = self._find(names.get(AUDIO_END, AUDIO_END))

    def _find(self, token: str) -> int:
        """Return the id of a special token by its name in the table; CheckpointError where the table lacks it."""
        if token not in self.special:
            raise CheckpointError(f"the tokenizer has no token {token}; is it that of an audio checkpoint?")
        return self.special[token]

    # Loading ----------------------------------------------------------------------------------------------------------

    @classmethod
    def from_tiktoken(cls, path: str | Path, custom: CustomTags | None = None) -> Tokenizer:
        """Read ranks from a file of `base64 rank` lines: a released checkpoint's qwen.tiktoken or ours."""
        return cls(read_tiktoken(Path(path)), custom=custom)

    @property
    def timestamp_ids(self) -> range:
        """Ids of `<|0.00|>` to `<|30.00|>`, 0.01 s apart; empty where the vocabulary has none."""
        first = self.special.get(SPECIAL_TOKENS[TIMESTAMP_ZERO])
        return range(0) if first is None else range(first, first + TIMESTAMP_LAST - TIMESTAMP_ZERO + 1)

    @property
    def has_tags(self) -> bool:
        """Whether the released task tags are in the vocabulary, so that tag sentences can be written."""
        return len(self._content) - len(self._aliases) == len(CONTENT_TOKENS)

    # Encoding ---------------------------------------------------------------------------------------------------------

    def encode_text(self, text: str) -> list[int]:
        """Encode a person's text after NFC: pieces of text whatever it says, never a tag or control token."""
        return self._encoding.encode_ordinary(unicodedata.normalize("NFC", text))

    def encode_tags(self, text: str) -> list[int]:
        """Encode a tag sentence: released and custom tags become tokens, what stands between them is text.

        Raises:
            TagError: a tag is misspelt, unknown or a control token; the message names the right one.
        """
        check_spelling(text)
        for match in TAG_PATTERN.finditer(text):
            tag = match.group()
            if tag in CONTROL_TOKENS:
                raise TagError(f"{tag} is a control token: it cannot stand in a tag sentence")
            if tag not in self._content:
                raise TagError(unknown_tag(tag))
        return self.encode_answer(text)

    def encode_answer(self, text: str) -> list[int]:
        """Encode an answer: times, pitches and other content tags become tokens; control tokens stay text."""
        text = unicodedata.normalize("NFC", text)
        ids: list[int] = []
        done = 0  # characters
        for match in TAG_PATTERN.finditer(text):
            token_id = self._content.get(match.group())
            if token_id is not None:
                ids += self._encoding.encode_ordinary(text[done : match.start()])
                ids.append(token_id)
                done = match.end()
        return ids + self._encoding.encode_ordinary(text[done:])

    def id_of(self, token: str) -> int:
        """Return the id of a special token or custom tag.

        Raises:
            TagError: there is no such token.
        """
        if token in self._aliases:
            return self._aliases[token]
        if token not in self.special:
            raise TagError(unknown_tag(token))
        return self.special[token]

    def token_of(self, token_id: int) -> str | None:
        """Return the name of a special token, a custom tag by its own; None for a piece of text or an unused id."""
        return self._names.get(token_id)

    # Decoding ---------------------------------------------------------------------------------------------------------

    def decode(self, ids: Iterable[int], *, keep_tags: bool = True) -> str:
        """Turn ids into text: control tokens and unused ids are dropped, other tags kept unless keep_tags is False.

        Bytes that are no UTF-8 become the replacement character.
        """
        stream = StreamDecoder(self, keep_tags=keep_tags)
        return "".join([stream.push(token_id) for token_id in ids]) + stream.finish()

    def bytes_of(self, token_id: int) -> bytes | None:
        """Return the bytes of a piece of text, which may be part of a character; None for any other id."""
        return self._bytes.get(token_id)

    def is_content(self, token_id: int) -> bool:
        """Whether an id is a tag that belongs to an answer, such as a time."""
        return token_id in self._content_ids


class StreamDecoder:
    """Turns ids into text one by one, whole characters only."""

    def __init__(self, tokenizer: Tokenizer, *, keep_tags: bool = True) -> None:
        self._tokenizer = tokenizer
        self._keep_tags = keep_tags
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """Take one id and return the characters that are complete now, often none."""
        piece = self._tokenizer.bytes_of(token_id)
        if piece is not None:
            return self._utf8.decode(piece)
        text = self.finish()  # a tag ends whatever character was open
        if self._keep_tags and self._tokenizer.is_content(token_id):
            text += self._tokenizer.token_of(token_id) or ""
        return text

    def finish(self) -> str:
        """Return what is left: the replacement character where the last character is incomplete."""
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return text


def _check_ranks(ranks: dict[bytes, int], n_ranks: int) -> None:
    """Raise CheckpointError unless every byte has a rank and every rank one token."""
    missing = [value for value in range(256) if bytes([value]) not in ranks]
    if missing:
        raise CheckpointError(f"the vocabulary lacks {len(missing)} of the 256 single bytes, first 0x{missing[0]:02x}: it cannot write every text")
    if len(set(ranks.values())) != len(ranks):
        raise CheckpointError("two tokens of the vocabulary have the same rank")
    if min(ranks.values()) < 0 or max(ranks.values()) >= n_ranks:
        raise CheckpointError(f"ranks reach from {min(ranks.values())} to {max(ranks.values())}: expected 0 to {n_ranks - 1}")


def read_tiktoken(path: Path) -> dict[bytes, int]:
    """Read a file of `base64 rank` lines.

    Raises:
        CheckpointError: the file is missing, or a line is not of that form; the message begins with FILE:LINE.
    """
    ranks: dict[bytes, int] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise CheckpointError(f"{path}:{number}: expected a token in base64 and its rank, found {line[:60]!r}") from error
    return ranks
