"""The vocabulary on disk: byte-pair ranks in the tiktoken format and in transformers' tokenizer.json, read and written."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from qwen_audio.errors import CheckpointError

# How text is cut before byte pairs are joined. Source: section 3.1 of the released tokenizer's description; Qwen2's is the same.
SPLIT_PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def check_ranks(ranks: Mapping[bytes, int], n_ranks: int) -> None:
    """Raise CheckpointError unless every byte has a rank, every rank one token, and all lie below n_ranks."""
    missing = [value for value in range(256) if bytes([value]) not in ranks]
    if missing:
        raise CheckpointError(
            f"the vocabulary lacks {len(missing)} of the 256 single bytes, first 0x{missing[0]:02x}: it cannot write every text"
        )
    if len(set(ranks.values())) != len(ranks):
        raise CheckpointError("two tokens of the vocabulary have the same rank")
    lowest, highest = min(ranks.values()), max(ranks.values())
    if lowest < 0 or highest >= n_ranks:
        raise CheckpointError(f"ranks of the vocabulary reach from {lowest} to {highest}: expected 0 to {n_ranks - 1}")


def check_special(special: Mapping[str, int], ranks: Mapping[bytes, int]) -> None:
    """Raise CheckpointError where a special token has the id of text or of another one: what is typed could then become it."""
    taken: dict[int, object] = {rank: token for token, rank in ranks.items()}
    for token, token_id in special.items():
        if token_id < 0 or token_id in taken:
            raise CheckpointError(f"the special token {token} has the id {token_id}, which is that of {taken.get(token_id, 'none')!r}")
        taken[token_id] = token


def read_tiktoken(path: Path) -> dict[bytes, int]:
    """Read a file of `base64 rank` lines.

    Raises:
        CheckpointError: the file cannot be read, or a line is not of that form; the message begins with FILE:LINE.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(_read_bytes(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise CheckpointError(f"{path}:{number}: expected a token in base64 and its rank, found {line[:60]!r}") from error
    return ranks


def write_tiktoken(ranks: Mapping[bytes, int], path: Path) -> None:
    """Write ranks as `base64 rank` lines, by rank."""
    path.write_bytes(tiktoken_bytes(ranks))


def tiktoken_bytes(ranks: Mapping[bytes, int]) -> bytes:
    """Lay ranks out as `base64 rank` lines, by rank."""
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in sorted(ranks.items(), key=lambda item: item[1]))


def ranks_sha256(ranks: Mapping[bytes, int]) -> str:
    """Name ranks by their content: sha256 of their lines."""
    return hashlib.sha256(tiktoken_bytes(ranks)).hexdigest()


def read_transformers(path: Path) -> tuple[dict[bytes, int], dict[str, int]]:
    """Read a tokenizer.json that is byte-level BPE with Qwen's split pattern.

    Returns:
        token bytes -> rank; and its added tokens, name -> id.
    Raises:
        CheckpointError: the file is not such a tokenizer; the message names the file and what differs.
    """
    try:
        content = json.loads(_read_bytes(path))
        model = content["model"]
        special = {str(row["content"]): int(row["id"]) for row in content.get("added_tokens", ())}
        if model["type"] != "BPE" or not isinstance(model["vocab"], dict):
            raise CheckpointError(f"{path}: a {model['type']} tokenizer; expected byte-level BPE as Qwen2-Audio's")
        if SPLIT_PATTERN not in _patterns(content.get("pre_tokenizer")):
            raise CheckpointError(f"{path}: cuts text by another pattern than Qwen's; this tokenizer would give other ids")
        ranks = {_token_bytes(token): int(rank) for token, rank in model["vocab"].items() if token not in special}
        merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
        joined = [ranks[_token_bytes("".join(merge))] for merge in merges]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a tokenizer.json of byte-level BPE ({type(error).__name__}: {error})") from error
    if any(later <= earlier for earlier, later in pairwise(joined)):
        raise CheckpointError(f"{path}: its merges are not in the order of their ids, so ids cannot serve as ranks")
    return ranks, special


def write_transformers(ranks: Mapping[bytes, int], added: Mapping[str, tuple[int, bool]], path: Path) -> None:
    """Write a tokenizer.json that gives the same ids.

    Args:
        ranks: the whole vocabulary, without gaps.
        added: token -> (id, whether transformers may skip it when it decodes).
        path: the file.
    Raises:
        CheckpointError: ranks are missing, or a token is not the union of two earlier ones.
    """
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise CheckpointError(f"{path}: cannot be written from a part of a vocabulary; load the whole one")
    letters = _letters()
    spell = {token: "".join(letters[value] for value in token) for token in ranks}
    by_rank = sorted(ranks, key=lambda token: ranks[token])
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": SPLIT_PATTERN}, "behavior": "Isolated", "invert": False}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(name, special) | {"id": token_id} for name, (token_id, special) in added.items()],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {spell[token]: ranks[token] for token in by_rank},
            "merges": [[spell[left], spell[right]] for left, right in recover_merges(ranks)],
        },
    }
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def added_token(name: str, special: bool) -> dict[str, Any]:
    """Describe one added token as tokenizer.json and tokenizer_config.json do; it is found as it stands, before NFC."""
    return {"content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}


def recover_merges(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Find for each token, by rank, the two earlier tokens that it joins: what plain merging makes of it without itself.

    Raises:
        CheckpointError: a token is not the union of two earlier ones, so that no order of merges gives it.
    """
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) == 1:
            continue
        parts = merge_bytes(token, ranks, below=rank)
        if len(parts) != 2:
            raise CheckpointError(
                f"token {token!r} of rank {rank} is {len(parts)} earlier tokens: expected 2, as byte-pair merging makes it"
            )
        merges.append((parts[0], parts[1]))
    return merges


def merge_bytes(piece: bytes, ranks: Mapping[bytes, int], *, below: int | None = None) -> list[bytes]:
    """Join the bytes of a piece by plain byte-pair merging: the lowest rank first, from the left; only ranks below a bound."""
    parts = [bytes([value]) for value in piece]
    while True:
        found = [(ranks[left + right], place) for place, (left, right) in enumerate(pairwise(parts)) if left + right in ranks]
        rank, place = min(found, default=(None, 0))
        if rank is None or (below is not None and rank >= below):
            return parts
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


@lru_cache(maxsize=1)
def _letters() -> dict[int, str]:
    """Map each byte to the letter that tokenizer.json spells it with: itself where it can be printed in Latin-1, else from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (value for value in range(256) if value not in set(printable))
    return {value: chr(value) for value in printable} | {value: chr(0x100 + place) for place, value in enumerate(others)}


@lru_cache(maxsize=1)
def _values() -> dict[str, int]:
    """Map each letter of tokenizer.json to its byte."""
    return {letter: value for value, letter in _letters().items()}


def _token_bytes(spelt: str) -> bytes:
    """Turn a token as tokenizer.json spells it into its bytes."""
    values = _values()
    return bytes(values[letter] for letter in spelt)


def _patterns(node: Any) -> list[str]:
    """List the split patterns in a pre_tokenizer of tokenizer.json."""
    if not isinstance(node, dict):
        return []
    inner = [pattern for part in node.get("pretokenizers", ()) for pattern in _patterns(part)]
    pattern = node.get("pattern")
    return inner + ([str(pattern["Regex"])] if isinstance(pattern, dict) and "Regex" in pattern else [])


def _read_bytes(path: Path) -> bytes:
    """Read a file; CheckpointError where it cannot be."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
