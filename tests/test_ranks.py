"""The vocabulary on disk: transformers reads what we write and we read what it writes, with the same ids."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from data.byte_pairs import train_ranks
from qwen_audio.errors import CheckpointError
from qwen_audio.ranks import SPLIT_PATTERN, read_tiktoken, recover_merges
from qwen_audio.tokenizer import Tokenizer
from tag_schema.custom import CustomTags
from tag_schema.vocabulary import SPECIAL_TOKENS

GOLDEN = Path(__file__).parent / "golden"
N_RANKS = 360
TEXTS = [
    "the dog barks at the other dog, and the other dog barks back: bark, bark, bark!",
    "I'll say it's what we'll hear; THEY'VE heard it's OURS\n\n\tand  that   is it. 12345 12 1",
    "今天天气很好，我们去公园。今天我们听音乐，今天很好。",
    "مرحبا بالعالم، مرحبا يا صديقي", "Добрый день, добрый вечер, доброе утро", "שלום עולם שלום חבר",
    "こんにちは、元気ですか。こんばんは。", "안녕하세요 안녕히 가세요", "नमस्ते दुनिया नमस्ते", "è già così perché più café café", "🎻🎺 🎻🥁",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(train_ranks(TEXTS, N_RANKS), custom=CustomTags({"<|ar|>": 0, "<|he|>": 2}))


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written")
    tokenizer.write_transformers(path)
    return path


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return pytest.importorskip("transformers").AutoTokenizer.from_pretrained(folder)


def random_texts(count: int) -> list[str]:
    """Draw texts of many scripts, with contractions, digits, combining marks and all kinds of white space."""
    draw = random.Random(11)
    pieces = [piece for text in TEXTS for piece in text.split(" ")] + [
        "'LL",
        "don't",
        "'ſ",
        "\u00a0",
        "\u3000",
        "e\u0301",
        "\u1112\u1161\u11ab",
        "ﬁ",
    ]
    low_scripts = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x530), (0x5D0, 0x5EB), (0x620, 0x64B), (0x905, 0x93A)]
    blocks = [*low_scripts, (0x3040, 0x3100), (0x4E00, 0x9FA0), (0xAC00, 0xD7A4), (0x1F300, 0x1F640)]
    texts = []
    for _ in range(count):
        text = ""
        for _ in range(draw.randint(1, 10)):
            low, high = draw.choice(blocks)
            text += (
                draw.choice(pieces) if draw.random() < 0.5 else "".join(chr(draw.randrange(low, high)) for _ in range(draw.randint(1, 4)))
            )
            text += draw.choice(["", " ", "  ", "\n", "\r\n", " \n \n", "\t"])
        texts.append(text)
    return texts


def test_transformers_gives_our_ids_for_text_of_any_script(tokenizer: Tokenizer, theirs: Any) -> None:
    for text in random_texts(1500):
        assert theirs.encode(text, add_special_tokens=False) == tokenizer.encode_text(text), ascii(text)


def test_transformers_decodes_our_ids(tokenizer: Tokenizer, theirs: Any) -> None:
    for text in random_texts(200):
        assert theirs.decode(tokenizer.encode_text(text)) == tokenizer.decode(tokenizer.encode_text(text))


def test_transformers_knows_every_special_token_by_its_id(tokenizer: Tokenizer, theirs: Any) -> None:
    renamed = {"<audio>": "<|audio_bos|>", "</audio>": "<|audio_eos|>", "[[[AUDIO:modality]]]": "<|AUDIO|>"}
    renamed |= {"<|extra_0|>": "<|ar|>", "<|extra_2|>": "<|he|>"}
    for offset, token in enumerate(SPECIAL_TOKENS):
        assert theirs.encode(renamed.get(token, token), add_special_tokens=False) == [N_RANKS + offset]
    assert len(theirs) == tokenizer.vocab_size
    assert (theirs.eos_token_id, theirs.pad_token_id) == (tokenizer.im_end, tokenizer.end_of_text)


def test_transformers_reads_tag_sentences_as_we_do(tokenizer: Tokenizer, theirs: Any) -> None:
    sentence = "<|startoftranscript|><|ar|><|transcribe|><|ar|><|timestamps|><|0.00|>"
    assert theirs.encode(sentence, add_special_tokens=False) == tokenizer.encode_tags(sentence)


def test_skipping_special_tokens_there_leaves_times_and_drops_controls(tokenizer: Tokenizer, theirs: Any) -> None:
    ids = [*tokenizer.encode_answer("the dog<|2.33|> barks"), tokenizer.im_end, tokenizer.audio_pad]
    assert theirs.decode(ids, skip_special_tokens=True) == "the dog<|2.33|> barks"


def test_what_we_wrote_we_read_back_with_its_custom_tags(tokenizer: Tokenizer, folder: Path) -> None:
    again = Tokenizer.from_directory(folder)
    assert again.family == "qwen2-audio"
    assert again.custom == tokenizer.custom
    assert again.has_tags
    assert again.vocab_size == tokenizer.vocab_size
    assert (again.audio_start, again.audio_pad, again.audio_end) == (tokenizer.audio_start, tokenizer.audio_pad, tokenizer.audio_end)
    assert again.timestamp_ids == tokenizer.timestamp_ids
    answer = "今天<|0.50|>barks<|he|>"
    assert again.encode_answer(answer) == tokenizer.encode_answer(answer)


@pytest.fixture(scope="module")
def trained_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a tokenizer with Hugging Face's own library and name its tokens as Qwen2-Audio's does."""
    tokenizers = pytest.importorskip("tokenizers")
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.normalizer = tokenizers.normalizers.NFC()
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(SPLIT_PATTERN), "isolated")
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [split, tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator(TEXTS, trainer)
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]
    bpe.add_special_tokens([tokenizers.AddedToken(name, normalized=False, special=True) for name in names])
    path = tmp_path_factory.mktemp("elsewhere") / "tokenizer.json"
    bpe.save(str(path))
    return path


def test_a_tokenizer_of_hugging_faces_library_gives_the_same_ids_here(trained_elsewhere: Path) -> None:
    theirs = pytest.importorskip("tokenizers").Tokenizer.from_file(str(trained_elsewhere))
    ours = Tokenizer.from_transformers(trained_elsewhere)
    for text in random_texts(1000):
        assert ours.encode_text(text) == theirs.encode(text).ids, ascii(text)
    size = theirs.get_vocab_size(with_added_tokens=False)
    assert ours.n_ranks == size
    assert ours.vocab_size == size + 6
    assert [ours.audio_pad, ours.audio_start, ours.audio_end] == [size + 3, size + 4, size + 5]
    assert ours.family == "qwen2-audio"


def test_qwen2_audios_vocabulary_has_no_tags_and_says_so(trained_elsewhere: Path) -> None:
    ours = Tokenizer.from_transformers(trained_elsewhere)
    assert not ours.has_tags
    assert len(ours.timestamp_ids) == 0
    assert max(ours.encode_answer("dog<|0.50|>")) < ours.n_ranks
    with pytest.raises(ValueError, match=r"<\|transcribe\|>: this checkpoint's vocabulary has no such tag"):
        ours.encode_tags("<|transcribe|>")


def test_merges_written_as_words_are_read_too(trained_elsewhere: Path, tmp_path: Path) -> None:
    content = json.loads(trained_elsewhere.read_text(encoding="utf-8"))
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    text = "the other dog, 今天"
    assert Tokenizer.from_transformers(path).encode_text(text) == Tokenizer.from_transformers(trained_elsewhere).encode_text(text)


def changed(path: Path, content: dict, folder: Path) -> Path:
    found = folder / path.name
    found.write_text(json.dumps(content), encoding="utf-8")
    return found


def test_a_tokenizer_that_would_give_other_ids_is_refused(trained_elsewhere: Path, tmp_path: Path) -> None:
    whole = json.loads(trained_elsewhere.read_text(encoding="utf-8"))
    other_cut = whole | {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}}
    with pytest.raises(CheckpointError, match="cuts text by another pattern"):
        Tokenizer.from_transformers(changed(trained_elsewhere, other_cut, tmp_path))
    turned = whole | {"model": whole["model"] | {"merges": whole["model"]["merges"][::-1]}}
    with pytest.raises(CheckpointError, match="merges are not in the order of their ids"):
        Tokenizer.from_transformers(changed(trained_elsewhere, turned, tmp_path))
    pieces = whole | {"model": {"type": "WordPiece", "vocab": {}}}
    with pytest.raises(CheckpointError, match="a WordPiece tokenizer; expected byte-level BPE"):
        Tokenizer.from_transformers(changed(trained_elsewhere, pieces, tmp_path))
    for broken in ({}, {"model": {"type": "BPE", "vocab": {}}}, [1], {"model": 7}):
        with pytest.raises(CheckpointError, match=r"tokenizer\.json: "):
            Tokenizer.from_transformers(changed(trained_elsewhere, broken, tmp_path))  # type: ignore[arg-type]


def test_a_text_models_tokenizer_is_not_an_audio_models(trained_elsewhere: Path, tmp_path: Path) -> None:
    content = json.loads(trained_elsewhere.read_text(encoding="utf-8"))
    content["added_tokens"] = [row for row in content["added_tokens"] if "audio" not in row["content"].lower()]
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: the tokenizer has no token <\|audio_bos\|>"):
        Tokenizer.from_transformers(changed(trained_elsewhere, content, tmp_path))


def test_a_special_token_with_the_id_of_text_is_refused(trained_elsewhere: Path, tmp_path: Path) -> None:
    content = json.loads(trained_elsewhere.read_text(encoding="utf-8"))
    content["added_tokens"][2]["id"] = 70  # <|im_end|>
    with pytest.raises(CheckpointError, match=r"the special token <\|im_end\|> has the id 70, which is that of b'"):
        Tokenizer.from_transformers(changed(trained_elsewhere, content, tmp_path))
    content["added_tokens"] = []
    with pytest.raises(CheckpointError, match=r"the tokenizer has no token <\|endoftext\|>"):
        Tokenizer.from_transformers(changed(trained_elsewhere, content, tmp_path))


def test_a_part_of_a_vocabulary_cannot_be_written_for_transformers(tmp_path: Path) -> None:
    part = Tokenizer(read_tiktoken(GOLDEN / "prompt_ranks.tiktoken"), n_ranks=151_643)
    with pytest.raises(CheckpointError, match="a part of a vocabulary"):
        part.write_transformers(tmp_path)


def test_ranks_that_no_merging_makes_are_refused() -> None:
    ranks = {bytes([value]): value for value in range(256)} | {b"abc": 256}
    with pytest.raises(CheckpointError, match="is 3 earlier tokens: expected 2"):
        recover_merges(ranks)
