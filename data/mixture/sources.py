"""Open what a mixture names: files of rows by their indexes, prepared sets in memory; refuse where too much is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial

from data.admission import AdmissionOptions, count_tokens
from data.groups import Split, prepared_records, split_rows
from data.index.build import open_index
from data.index.corpus import UNREAD, Account, Corpus, JoinedCorpus, MemoryCorpus, check_lost
from data.index.index import IndexOptions
from data.manifest import Record
from data.mixture.config import MixtureConfig, Source, files_of
from data.mixture.mixture import Mixture
from data.rows.lengths import estimate_positions
from qwen_audio.audio import WINDOW_S
from qwen_audio.errors import ConfigError, DataError
from qwen_audio.tokenizer import Tokenizer

log = logging.getLogger(__name__)


def open_mixture(config: MixtureConfig, tokenizer: Tokenizer | None = None, *, seed: int = 0, refuse: bool = True) -> Mixture:
    """Open the sources of a mixture and weigh them.

    Args:
        config: what the run is made of.
        tokenizer: counts positions as training will; without it they are estimated.
        seed: of the order, where the settings name none.
        refuse: whether too many lost rows are an error.
    Raises:
        ConfigError: no source, or settings that fit nothing; DataError: a source cannot be read, or more of it is lost than allowed.
    """
    if not config.sources:
        raise ConfigError("mixture: no sources; name files of rows with --train-file, or sources in the section `mixture`")
    seed = config.seed if config.seed is not None else seed
    corpora = [open_source(source, config, tokenizer, seed) for source in config.sources]
    for corpus in corpora:
        if refuse:
            check_lost(corpus.account, config.max_lost, corpus.name)
    for entry in config.hold_out:
        if not any(corpus.account.held_by[entry] for corpus in corpora):
            log.warning("hold_out: %s keeps no row out; is it spelt as the rows have it?", entry)
    return Mixture(
        corpora,
        weights=config.weights,
        temperature=config.temperature,
        caps=config.caps,
        sources=[(source.weight, source.repeat) for source in config.sources],
        seed=seed,
    )


def open_source(source: Source, config: MixtureConfig, tokenizer: Tokenizer | None, seed: int, *, evaluation: bool = False) -> Corpus:
    """Open one source: the prepared sets, a file of rows, or all files that a pattern fits, one after another.

    Args:
        evaluation: rows to measure by rather than to train on: of dev and test splits too, of the prepared sets those of dev alone.
    Raises:
        DataError: no file fits.
    """
    root = source.data_root or config.data_root
    if source.prepared:
        return _prepared(source, root, config, tokenizer, seed, "dev" if evaluation else "train")
    options = IndexOptions(
        admission=AdmissionOptions(
            long_audio=config.long_audio,
            max_tokens=config.max_tokens,
            trust_durations=source.trust_durations,
            evaluation=evaluation,
        ),
        hold_out=config.hold_out,
        root=root,
        index_dir=config.index_dir,
        workers=config.index_workers,
    )
    files = [str(file) for file in files_of(source)]
    if not files:
        raise DataError(f"{source.path}: no such file of rows")
    parts: list[Corpus] = [open_index(file, options, tokenizer) for file in files]
    return parts[0] if len(parts) == 1 else JoinedCorpus(parts, source.path)


def _prepared(
    source: Source, root: str, config: MixtureConfig, tokenizer: Tokenizer | None, seed: int, split: Split
) -> MemoryCorpus:  # fmt: skip
    """Make the records of a split of the prepared sets; a row over 30 s serves none and is lost, and text alone is for training."""
    rows = split_rows(root, source.splits, split)
    account = Account()
    for row in rows:
        if row["duration_s"] > WINDOW_S:
            account.lose(UNREAD, "too_long")  # in which group it would be, its records would say, and it has none
    records = prepared_records(rows, source.pairs, seed)
    return MemoryCorpus(
        records if split == "train" else [record for record in records if record.audio],
        name=root,
        root=root,
        account=account,
        hold_out=config.hold_out,
        count=_counter(tokenizer),
        exact=tokenizer is not None,
    )


def _counter(tokenizer: Tokenizer | None) -> Callable[[Record], int]:
    return estimate_positions if tokenizer is None else partial(_positions, tokenizer)


def _positions(tokenizer: Tokenizer, record: Record) -> int:
    return count_tokens(record, tokenizer).all


def some_records(mixture: Mixture, most: int = 200_000) -> Iterator[Record]:
    """Yield the records of a mixture, or as many spread evenly over it where there are more: what classes are counted on."""
    rows = sum(len(corpus) for corpus in mixture.corpora)
    stride = max(1, -(-rows // most))
    for corpus in mixture.corpora:
        for row in range(0, len(corpus), stride):
            record = corpus.record(row)
            if isinstance(record, Record):
                yield record
