"""Learn the byte-pair ranks of a small model from the texts that it is trained on."""

from __future__ import annotations

from pathlib import Path

from data.byte_pairs import train_ranks
from data.groups import prepared_records, split_rows
from qwen_audio.prompt import DEFAULT_SYSTEM
from qwen_audio.tokenizer import Tokenizer


def learn_vocabulary(data_root: Path | str, splits: Path | str, n_ranks: int, output: Path | str) -> str:
    """Train ranks on every question and answer of the training split and write them in the tiktoken format."""
    texts = [DEFAULT_SYSTEM]
    for record in prepared_records(split_rows(data_root, splits, "train"), pairs=2000, seed=0):
        texts.append(record.target)
        texts += [part for turn in record.messages for part in turn.parts if isinstance(part, str)]
        if record.prefix is not None and record.prefix.question:
            texts.append(record.prefix.question)
    ranks = train_ranks(texts, n_ranks)
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Tokenizer(ranks).write_tiktoken(output)
    return f"{output}: {len(ranks)} ranks from {len(texts)} texts"
