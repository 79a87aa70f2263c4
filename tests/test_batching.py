"""Draws -> batches: the same draw sounds the same in whichever batch it comes; what cannot be read is left out and told of."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from data.augment_config import AugmentConfig
from data.batching import BatchMaker
from data.examples import clip_reader
from data.index.corpus import MemoryCorpus
from data.manifest import AudioRef, Record, Turn
from data.mixture.batches import DataState
from data.mixture.mixture import Draw, Mixture
from data.mixture.run_ledger import RunLedger
from qwen_audio.config import ModelConfig
from qwen_audio.errors import DataError
from qwen_audio.tokenizer import Tokenizer
from tag_schema.tasks import prefix_for

STATE = DataState()


@pytest.fixture
def mixed(tmp_path: Path) -> Mixture:
    """Mix four sounds (one of which is missing, one text), a chat without audio and a transcript whose language has no tag."""
    rng = np.random.default_rng(0)
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", 0.2 * rng.standard_normal(8000 + 1600 * number), 16_000)
    (tmp_path / "text.wav").write_text("this is no sound at all", encoding="utf-8")
    names = ("0.wav", "1.wav", "2.wav", "gone.wav", "text.wav")
    rows = [Record(name, (AudioRef(name, 0.0, 0.5),), "tone", "sound_event", prefix_for("sound_event")) for name in names]
    rows.append(Record("chat", (), "Hello.", messages=(Turn("user", ("Hi",)),)))
    rows.append(Record("tag", (AudioRef("0.wav", 0.0, 0.5),), "marhaba", "asr", prefix_for("asr", language="ar")))
    return Mixture([MemoryCorpus(rows, root=str(tmp_path))])


def draw_of(mixed: Mixture, name: str, position: int = 0) -> Draw:
    row = next(row for row in range(7) if mixed.corpora[0].record(row).id == name)
    return Draw(position, 0, 0, row, 30, 0.5)


def maker(
    mixed: Mixture, tokenizer: Tokenizer, config: ModelConfig, *, max_lost: float = 1.0, augment: AugmentConfig | None = None
) -> BatchMaker:
    return BatchMaker(tokenizer, config, mixed, [clip_reader(mixed.corpora[0].root)], augment, 3, RunLedger(max_lost))


def test_what_cannot_be_read_is_left_out_and_nothing_takes_its_place(
    mixed: Mixture, tiny_tokenizer: Tokenizer, tiny_config: ModelConfig, tmp_path: Path
) -> None:
    make = maker(mixed, tiny_tokenizer, tiny_config)
    make.ledger.path = tmp_path / "ledger.jsonl"
    made = make.make([draw_of(mixed, name) for name in ("0.wav", "gone.wav", "2.wav", "text.wav", "tag")], STATE)
    assert made is not None and [record.id for record in made.records] == ["0.wav", "2.wav"] and len(made.batch.token_ids) == 2
    assert make.ledger.reasons == {"no_file": 1, "corrupt": 1, "unknown_tag": 1} and make.ledger.account.admitted == 2
    assert len((tmp_path / "ledger.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert make.make([draw_of(mixed, "gone.wav")], STATE) is None


def test_too_many_lost_rows_end_the_run_but_not_among_the_first(
    mixed: Mixture, tiny_tokenizer: Tokenizer, tiny_config: ModelConfig
) -> None:
    make = maker(mixed, tiny_tokenizer, tiny_config, max_lost=0.002)
    make.make([draw_of(mixed, "0.wav"), draw_of(mixed, "gone.wav"), draw_of(mixed, "gone.wav")], STATE)
    with pytest.raises(DataError, match=r"this run: 3 of 4 rows are lost \(3 no_file\), more than the 0.2% allowed"):
        make.make([draw_of(mixed, "gone.wav")], STATE)


def test_a_batch_of_text_alone_has_no_clips(mixed: Mixture, tiny_tokenizer: Tokenizer, tiny_config: ModelConfig) -> None:
    made = maker(mixed, tiny_tokenizer, tiny_config, augment=AugmentConfig()).make([draw_of(mixed, "chat")], STATE)
    assert made is not None and made.batch.mels.shape == (0, 80) and made.batch.places.shape == (0, 3)
    assert made.batch.learned == len("Hello.") + 1  # a rank a byte, and the end of the turn


def test_a_draw_is_changed_alike_whatever_batch_it_comes_in(mixed: Mixture, tiny_tokenizer: Tokenizer, tiny_config: ModelConfig) -> None:
    augment = AugmentConfig(gain_db=6.0, noise_share=1.0, freq_masks=1, freq_width=20, time_masks=1, time_share=0.2, tilt_db=6.0)
    make = maker(mixed, tiny_tokenizer, tiny_config, augment=augment)
    first, second, third = (draw_of(mixed, f"{number}.wav", 10 + number) for number in range(3))
    together, alone = make.make([first, second, third], STATE), make.make([second], STATE)
    assert together is not None and alone is not None
    assert torch.equal(together.batch.mels.split(together.batch.frames.tolist())[1], alone.batch.mels)
    other = make.make([second._replace(position=99)], STATE)
    assert other is not None and not torch.equal(other.batch.mels, alone.batch.mels)


def test_a_clip_that_slowing_down_would_make_too_long_stays_as_it_is(
    tmp_path: Path, tiny_tokenizer: Tokenizer, tiny_config: ModelConfig
) -> None:
    soundfile.write(tmp_path / "long.wav", np.full(480_000, 0.1), 16_000)
    row = Record("long", (AudioRef("long.wav", 0.0, 30.0),), "well", "asr", prefix_for("asr", language="en"))
    make = maker(Mixture([MemoryCorpus([row], root=str(tmp_path))]), tiny_tokenizer, tiny_config, augment=AugmentConfig(speed=0.2))
    for position in range(4):
        made = make.make([Draw(position, 0, 0, 0, 760, 30.0)], STATE)
        assert made is not None and made.batch.frames.tolist()[0] <= 3000
    assert make.ledger.reasons == {}
