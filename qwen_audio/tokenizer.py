"""Byte-pair text and tags: ids from text, tag sentences and answers, and back; a person's text never becomes a control token."""

from __future__ import annotations

import codecs
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import tiktoken

from qwen_audio.config import Family
from qwen_audio.errors import CheckpointError
from qwen_audio.ranks import (
    SPLIT_PATTERN,
    added_token,
    check_ranks,
    check_special,
    ranks_sha256,
    read_tiktoken,
    read_transformers,
    write_tiktoken,
    write_transformers,
)
from tag_schema.custom import CustomTags, as_tag, names_by_kind
from tag_schema.vocabulary import (
    AUDIO_END,
    AUDIO_PAD,
    AUDIO_START,
    CONTENT_TOKENS,
    CONTROL_TOKENS,
    END_OF_TEXT,
    FAMILIES,
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
        CheckpointError: a byte has no rank, two tokens share an id, or one that every chat needs is missing.
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
        check_ranks(ranks, self.n_ranks)
        self.custom = CustomTags({}) if custom is None else custom
        self.special: Mapping[str, int] = (
            {token: self.n_ranks + offset for token, offset in OFFSETS.items()} if special is None else dict(special)
        )
        check_special(self.special, ranks)
        self._ranks = ranks
        self._bytes = {rank: token for token, rank in ranks.items()}
        self._aliases = {tag: self._find(self.custom.token(tag)) for tag in self.custom.slots}
        self._names = {token_id: token for token, token_id in self.special.items()}
        self._names |= {token_id: tag for tag, token_id in self._aliases.items()}
        self._content = {token: self.special[token] for token in CONTENT_TOKENS if token in self.special} | self._aliases
        self._content_ids = frozenset(self._content.values())
        self._encoding = tiktoken.Encoding("qwen_audio", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens={})
        self.vocab_size = max([self.n_ranks, *(token_id + 1 for token_id in self.special.values())])
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
        ranks = read_tiktoken(Path(path))
        with _naming(path):
            return cls(ranks, custom=custom)

    @classmethod
    def from_transformers(cls, path: str | Path) -> Tokenizer:
        """Read a transformers tokenizer.json with Qwen2-Audio's three audio tokens; the special tokens are those it names.

        Where it has the whole released table, as one that we wrote does, other names on reserved slots are custom tags.
        """
        ranks, special = read_transformers(Path(path))
        n_ranks = max(ranks.values()) + 1
        custom = None
        if _is_released(special, n_ranks):
            names = {token_id: token for token, token_id in special.items()}
            slots = {names.get(n_ranks + offset): slot for slot, offset in enumerate(FAMILIES["extra"])}
            custom = CustomTags({tag: slot for tag, slot in slots.items() if tag is not None and tag not in OFFSETS})
            special |= {custom.token(tag): special.pop(tag) for tag in custom.slots}
        with _naming(path):
            return cls(ranks, custom=custom, family="qwen2-audio", n_ranks=n_ranks, special=special)

    @classmethod
    def from_directory(cls, directory: str | Path) -> Tokenizer:
        """Find and read the tokenizer of a checkpoint: ranks.tiktoken, qwen.tiktoken or tokenizer.json.

        The custom tags are those under "custom_tags" in its config.json.

        Raises:
            CheckpointError: there is none of them, the one there cannot be read, or its config.json names other ranks.
        """
        folder = Path(directory)
        for name in RANK_FILES:
            if (folder / name).is_file():
                custom, digest = _said_of_tokenizer(folder / "config.json")
                found = cls.from_tiktoken(folder / name, custom=custom)
                if digest not in (None, found.ranks_sha256):
                    raise CheckpointError(
                        f"{folder / name}: the weights were trained with other ranks (sha256 {digest} in config.json, here "
                        f"{found.ranks_sha256}): take both from one checkpoint"
                    )
                return found
        if (folder / TOKENIZER_FILE).is_file():
            return cls.from_transformers(folder / TOKENIZER_FILE)
        raise CheckpointError(f"{folder}: no tokenizer there; expected {', '.join(RANK_FILES)} or {TOKENIZER_FILE}")

    def with_new_tags(self, values: Mapping[str, object]) -> Tokenizer:
        """Return the same tokenizer with a user's tags behind those that it has.

        Args:
            values: {"languages": [..], "instructions": [..]}; names that it has already keep their slots.
        Raises:
            TagError: a name is malformed, or no slot is left.
        """
        new = [name for name in names_by_kind(values) if as_tag(name) not in self.custom]
        if not new:
            return self
        custom = self.custom.extend(new)
        return Tokenizer(self._ranks, custom=custom, family=self.family, n_ranks=self.n_ranks, special=self.special)

    @property
    def ranks_sha256(self) -> str:
        """Name the text ranks by their content: sha256 of the file that write_tiktoken writes."""
        return ranks_sha256(self._ranks)

    # Writing ----------------------------------------------------------------------------------------------------------

    def write_tiktoken(self, path: str | Path) -> None:
        """Write the ranks as `base64 rank` lines; special tokens follow from the count, custom tags go into config.json."""
        write_tiktoken(self._ranks, Path(path))

    def write_transformers(self, directory: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, so that transformers gives the same ids.

        The audio tokens take the names that Qwen2-Audio's processor looks for, custom tags stand under their own; content
        tags such as times are not "special" there, so that skip_special_tokens leaves them in an answer.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        added: dict[str, tuple[int, bool]] = {}
        for token, token_id in sorted(self.special.items(), key=lambda item: item[1]):
            name = TRANSFORMERS_AUDIO.get(token) or self._names[token_id]
            added[name] = (token_id, not self.is_content(token_id))
        write_transformers(self._ranks, added, folder / TOKENIZER_FILE)
        config = {
            "added_tokens_decoder": {str(token_id): added_token(name, special) for name, (token_id, special) in added.items()},
            "additional_special_tokens": [IM_START, IM_END, *TRANSFORMERS_AUDIO.values()],
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            "eos_token": IM_END,
            "errors": "replace",
            "model_max_length": 8192,
            "pad_token": END_OF_TEXT,
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    # Asking -----------------------------------------------------------------------------------------------------------

    @property
    def timestamp_ids(self) -> range:
        """Ids of `<|0.00|>` to `<|30.00|>`, 0.01 s apart; empty where the vocabulary has none."""
        first, last = (self.special.get(SPECIAL_TOKENS[offset], -1) for offset in (TIMESTAMP_ZERO, TIMESTAMP_LAST))
        return range(first, last + 1) if last - first == TIMESTAMP_LAST - TIMESTAMP_ZERO else range(0)

    @cached_property
    def has_tags(self) -> bool:
        """Whether the released tags stand where they were released, so that tag sentences can be written."""
        return _is_released(self.special, self.n_ranks)  # 3,000 look-ups: once, not for every prompt

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
        for tag in (AUDIO_START, AUDIO_PAD, AUDIO_END, *(match.group() for match in TAG_PATTERN.finditer(text))):
            if tag in CONTROL_TOKENS and tag in text:
                raise TagError(f"{tag} is a control token: it cannot stand in a tag sentence")
            if tag in CONTENT_TOKENS and tag not in self._content:
                raise TagError(f"{tag}: this checkpoint's vocabulary has no such tag; ask in words instead")
            if tag not in CONTROL_TOKENS and tag not in self._content:
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


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Put the file's name in front of what is wrong with a vocabulary."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _is_released(special: Mapping[str, int], n_ranks: int) -> bool:
    """Whether every content tag has its released place behind the ranks."""
    return all(special.get(token) == n_ranks + OFFSETS[token] for token in CONTENT_TOKENS)


def _said_of_tokenizer(path: Path) -> tuple[CustomTags | None, str | None]:
    """Read the custom tags and the digest of the ranks from a checkpoint's config.json; None for what it does not say."""
    if not path.is_file():
        return None, None
    try:
        values = json.loads(path.read_bytes())
        slots, digest = values.get("custom_tags"), values.get("ranks_sha256")
        return None if slots is None else CustomTags.from_mapping(slots), digest
    except (ValueError, AttributeError, TagError) as error:
        raise CheckpointError(f"{path}: custom_tags cannot be read ({error})") from error
