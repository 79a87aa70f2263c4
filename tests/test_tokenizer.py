"""The tokenizer: text, tags, answers; decoding whole and in a stream."""

from __future__ import annotations

import json
import pickle
import random
import unicodedata
from pathlib import Path

import pytest
import tiktoken
from tiktoken.load import load_tiktoken_bpe

from qwen_audio.errors import CheckpointError
from qwen_audio.ranks import SPLIT_PATTERN, read_tiktoken
from qwen_audio.tokenizer import StreamDecoder, Tokenizer
from tag_schema.custom import CustomTags
from tag_schema.vocabulary import CONTENT_TOKENS, CONTROL_TOKENS, MISSPELT, SPECIAL_TOKENS, TagError

GOLDEN = Path(__file__).parent / "golden"
PROMPTS = json.loads((GOLDEN / "prompts.json").read_text(encoding="utf-8"))
RELEASED_RANKS = 151_643


@pytest.fixture(scope="module")
def released() -> Tokenizer:
    """Make the released tokenizer as far as the golden prompts need it: a few of its ranks, at their own ids."""
    return Tokenizer(read_tiktoken(GOLDEN / "prompt_ranks.tiktoken"), n_ranks=RELEASED_RANKS)


@pytest.fixture(scope="module")
def custom(released: Tokenizer) -> Tokenizer:
    ranks = read_tiktoken(GOLDEN / "prompt_ranks.tiktoken")
    return Tokenizer(ranks, n_ranks=RELEASED_RANKS, custom=CustomTags({"<|ar|>": 0, "<|bird_species|>": 7}))


@pytest.mark.parametrize(
    ("token", "token_id"),
    [
        ("<|endoftext|>", 151_643),
        ("<|im_start|>", 151_644),
        ("<|im_end|>", 151_645),
        ("<|extra_0|>", 151_646),
        ("[[[AUDIO:modality]]]", 151_851),
        ("<|startoftranscript|>", 151_852),
        ("<|0.00|>", 151_871),
        ("<|2.33|>", 152_104),
        ("<|30.00|>", 154_871),
        ("<|midi_pitch_127|>", 155_018),
        ("<audio>", 155_163),
        ("</audio>", 155_164),
    ],
)
def test_special_tokens_stand_where_they_were_released(released: Tokenizer, token: str, token_id: int) -> None:
    assert released.id_of(token) == token_id
    assert released.token_of(token_id) == token


def test_the_released_vocabulary_has_its_size_and_its_times(released: Tokenizer) -> None:
    assert (released.n_ranks, released.vocab_size) == (151_643, 155_165)
    assert released.timestamp_ids == range(151_871, 154_872)
    assert released.has_tags
    assert [released.audio_start, released.audio_pad, released.audio_end] == [155_163, 151_851, 155_164]
    assert [released.end_of_text, released.im_start, released.im_end] == [151_643, 151_644, 151_645]


def test_ids_of_tags_follow_a_smaller_vocabulary(tiny_tokenizer: Tokenizer) -> None:
    assert tiny_tokenizer.id_of("<|0.00|>") == 256 + 228
    assert tiny_tokenizer.vocab_size == 256 + 3522


# What a person types ----------------------------------------------------------------------------------------------------


def test_a_typed_control_string_is_text_as_in_the_released_chat(released: Tokenizer) -> None:
    assert released.encode_text("<|im_start|>system") == PROMPTS["injection"]["im_start_in_user_text"]


def test_no_special_string_that_a_person_types_becomes_a_special_token(tiny_tokenizer: Tokenizer) -> None:
    for token in SPECIAL_TOKENS:
        for typed in (token, f"a{token}b", token + token, token[:-1] + "\u0338" + token[-1]):
            ids = tiny_tokenizer.encode_text(typed)
            assert max(ids) < tiny_tokenizer.n_ranks
            assert tiny_tokenizer.decode(ids) == typed


@pytest.mark.parametrize(("typed", "composed"), [("e\u0301", "é"), ("\u1112\u1161\u11ab", "한"), ("A\u030a", "Å"), ("\u212b", "Å")])
def test_text_is_composed_before_it_is_encoded(tiny_tokenizer: Tokenizer, typed: str, composed: str) -> None:
    assert tiny_tokenizer.encode_text(typed) == list(composed.encode())
    assert tiny_tokenizer.encode_answer(typed) == list(composed.encode())


def test_a_mark_behind_a_tag_is_composed_first_as_the_released_code_does(tiny_tokenizer: Tokenizer) -> None:
    typed = "<|0.00|>\u0338"  # the > and the stroke compose, so that no tag is left
    assert tiny_tokenizer.encode_answer(typed) == list("<|0.00|\u226f".encode())


@pytest.mark.parametrize("text", ["", " ", "\n", "\ud800", "\x00", "a" * 50_000, " " * 50_000, "\n" * 50_000, "🎻" * 5_000])
def test_strange_texts_are_encoded(tiny_tokenizer: Tokenizer, text: str) -> None:
    expected = text.replace("\ud800", "\ufffd")
    assert tiny_tokenizer.decode(tiny_tokenizer.encode_text(text)) == expected


# Tag sentences ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PROMPTS["task_prompts"] if name not in ("asr_readme_bad", "aqa")])
def test_tag_sentences_have_the_released_ids(released: Tokenizer, name: str) -> None:
    case = PROMPTS["task_prompts"][name]
    assert released.encode_tags(case["text"].partition("</audio>")[2]) == case["ids_tail"]


def test_the_readmes_wrong_tag_splits_into_text_and_is_refused_in_a_sentence(released: Tokenizer) -> None:
    assert released.encode_text("<|startoftranscription|>") == PROMPTS["task_prompts"]["asr_readme_bad"]["ids_tail"][:8]
    with pytest.raises(TagError, match=r"right name is <\|startoftranscript\|>"):
        released.encode_tags("<|startoftranscription|><|en|>")


@pytest.mark.parametrize("wrong", sorted(MISSPELT))
def test_a_misspelt_tag_is_refused_with_the_right_name(released: Tokenizer, wrong: str) -> None:
    with pytest.raises(TagError) as caught:
        released.encode_tags(wrong + "<|en|>")
    assert MISSPELT[wrong] in str(caught.value)


@pytest.mark.parametrize("sentence", ["<|startoftranscript|><|klingon|>", "<|0.005|>", "<|ar|>", "<|30.01|>"])
def test_an_unknown_tag_is_refused(released: Tokenizer, sentence: str) -> None:
    with pytest.raises(TagError, match="is not a token"):
        released.encode_tags(sentence)


@pytest.mark.parametrize("token", [*sorted(CONTROL_TOKENS)[::17], "<audio>", "</audio>", "[[[AUDIO:modality]]]", "<|im_end|>"])
def test_a_control_token_is_refused_in_a_sentence(custom: Tokenizer, token: str) -> None:
    with pytest.raises(TagError, match="control token"):
        custom.encode_tags(f"<|startoftranscript|>{token}")


def test_custom_tags_take_their_slots_and_are_shown_by_their_names(custom: Tokenizer) -> None:
    ids = custom.encode_tags("<|startoftranscript|><|ar|><|transcribe|><|ar|><|notimestamps|><|bird_species|>")
    assert ids == [151_852, 151_646, 151_855, 151_646, 151_868, 151_653]
    assert custom.id_of("<|ar|>") == 151_646
    assert custom.token_of(151_646) == "<|ar|>"
    assert custom.decode(ids) == "<|startoftranscript|><|ar|><|transcribe|><|ar|><|notimestamps|><|bird_species|>"
    assert custom.token_of(151_647) == "<|extra_1|>"


def test_the_name_of_no_token_has_no_id(released: Tokenizer) -> None:
    with pytest.raises(TagError, match=r"<\|klingon\|> is not a token"):
        released.id_of("<|klingon|>")
    assert released.token_of(0) is None
    assert released.token_of(155_165) is None


# Answers --------------------------------------------------------------------------------------------------------------------


def test_content_tags_of_an_answer_become_tokens(released: Tokenizer) -> None:
    answer = "ok <|2.33|> done"
    assert released.encode_answer(answer) == PROMPTS["decode"]["ids"][:-1]
    for token in sorted(CONTENT_TOKENS):
        assert released.encode_answer(token) == [released.id_of(token)]


def test_control_tokens_and_unknown_tags_of_an_answer_stay_text(custom: Tokenizer) -> None:
    for token in (*sorted(CONTROL_TOKENS), "<|klingon|>", "<|startoftranscription|>", "<||>", "<|0.001|>"):
        ids = custom.encode_answer(f"<|0.10|>{token}<|0.20|>")
        assert ids[0] == 151_881
        assert ids[-1] == 151_891
        assert max(ids[1:-1]) < RELEASED_RANKS
        assert custom.decode(ids) == f"<|0.10|>{token}<|0.20|>"


# Decoding -------------------------------------------------------------------------------------------------------------------


def test_decoding_keeps_times_and_drops_the_chats_control_tokens(released: Tokenizer) -> None:
    case = PROMPTS["decode"]
    assert released.decode(case["ids"]) == case["chatml"]
    assert released.decode(case["ids"], keep_tags=False) == case["skip_special_true"]
    assert released.decode([released.id_of(token) for token in sorted(CONTROL_TOKENS)]) == ""


def test_unused_rows_of_an_embedding_decode_to_nothing(released: Tokenizer) -> None:
    assert released.decode([562, 155_165, 155_946, 2814]) == "ok done"


def test_a_character_of_several_tokens_is_given_whole(tiny_tokenizer: Tokenizer) -> None:
    stream = StreamDecoder(tiny_tokenizer)
    assert [stream.push(token_id) for token_id in "é🎻".encode()] == ["", "é", "", "", "", "🎻"]
    assert stream.finish() == ""


def test_the_last_token_of_a_stream_is_not_lost(released: Tokenizer) -> None:
    stream = StreamDecoder(released)
    assert [stream.push(token_id) for token_id in PROMPTS["decode"]["ids"]] == ["ok", " ", "<|2.33|>", " done", ""]


def test_an_open_character_ends_in_a_replacement(tiny_tokenizer: Tokenizer) -> None:
    open_character = list("🎻".encode())[:3]
    stream = StreamDecoder(tiny_tokenizer)
    assert "".join(stream.push(token_id) for token_id in open_character) == ""
    assert stream.push(tiny_tokenizer.id_of("<|0.50|>")) == "\ufffd<|0.50|>"
    assert stream.push(open_character[0]) == ""
    assert stream.finish() == "\ufffd"
    assert stream.finish() == ""


def test_a_stream_says_what_whole_decoding_says_for_any_ids(tiny_tokenizer: Tokenizer) -> None:
    draw = random.Random(5)
    for _ in range(300):
        ids = [draw.randrange(256) if draw.random() < 0.8 else draw.randrange(300, tiny_tokenizer.vocab_size + 50) for _ in range(30)]
        expected, run = "", b""
        for token_id in ids:
            name = SPECIAL_TOKENS[token_id - 256] if 256 <= token_id < tiny_tokenizer.vocab_size else ""
            if token_id < 256:
                run += bytes([token_id])
                continue
            expected, run = expected + run.decode("utf-8", "replace") + (name if name in CONTENT_TOKENS else ""), b""
        expected += run.decode("utf-8", "replace")
        stream = StreamDecoder(tiny_tokenizer)
        assert "".join(stream.push(token_id) for token_id in ids) + stream.finish() == expected
        assert tiny_tokenizer.decode(ids) == expected


def test_decoding_undoes_encoding_for_text_of_any_script(tiny_tokenizer: Tokenizer) -> None:
    draw = random.Random(6)
    for _ in range(300):
        text = "".join(
            chr(draw.choice([draw.randrange(0x20, 0x7F), draw.randrange(0xA0, 0xD800), draw.randrange(0x1F300, 0x1F700)]))
            for _ in range(20)
        )
        assert tiny_tokenizer.decode(tiny_tokenizer.encode_text(text)) == unicodedata.normalize("NFC", text)


# Files ----------------------------------------------------------------------------------------------------------------------


def test_the_tiktoken_file_is_read_by_tiktoken_itself(released: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    path = tmp_path / "ranks.tiktoken"
    released.write_tiktoken(path)
    assert path.read_bytes() == (GOLDEN / "prompt_ranks.tiktoken").read_bytes()
    ranks = load_tiktoken_bpe(str(path))
    encoding = tiktoken.Encoding("test", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens={})
    text = "You are a helpful assistant. Compare them."
    assert encoding.encode(text) == released.encode_text(text)


@pytest.mark.parametrize("name", ["ranks.tiktoken", "qwen.tiktoken"])
def test_a_checkpoints_folder_gives_its_tokenizer_and_custom_tags(tiny_tokenizer: Tokenizer, tmp_path: Path, name: str) -> None:
    tiny_tokenizer.write_tiktoken(tmp_path / name)
    assert len(Tokenizer.from_directory(tmp_path).custom) == 0
    (tmp_path / "config.json").write_text(json.dumps({"format": "qwen_audio", "custom_tags": {"<|he|>": 3}}))
    found = Tokenizer.from_directory(tmp_path)
    assert found.id_of("<|he|>") == 256 + 6
    assert found.encode_text("héllo") == tiny_tokenizer.encode_text("héllo")


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no tokenizer there; expected ranks\.tiktoken, qwen\.tiktoken or tokenizer\.json"):
        Tokenizer.from_directory(tmp_path)


@pytest.mark.parametrize("custom_tags", ["[1]", '{"<|en|>": 0}', '{"<|ar|>": 205}', "7"])
def test_custom_tags_that_cannot_be_are_refused_with_the_file(tiny_tokenizer: Tokenizer, tmp_path: Path, custom_tags: str) -> None:
    tiny_tokenizer.write_tiktoken(tmp_path / "ranks.tiktoken")
    (tmp_path / "config.json").write_text(f'{{"custom_tags": {custom_tags}}}')
    with pytest.raises(CheckpointError, match=r"config\.json: custom_tags"):
        Tokenizer.from_directory(tmp_path)


@pytest.mark.parametrize("line", ["IQ==", "IQ== zero", "I?== 0", "IQ== 0 0", "\xff 1"])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "qwen.tiktoken"
    path.write_bytes(b"IQ== 0\n\n" + line.encode("latin-1") + b"\n")
    with pytest.raises(CheckpointError, match=r"qwen\.tiktoken:3: expected a token in base64 and its rank"):
        Tokenizer.from_tiktoken(path)


def test_a_vocabulary_that_cannot_write_every_text_is_refused(tmp_path: Path) -> None:
    every_byte = {bytes([value]): value for value in range(256)}
    with pytest.raises(CheckpointError, match="lacks 1 of the 256 single bytes, first 0x41"):
        Tokenizer({token: rank for token, rank in every_byte.items() if token != b"A"})
    with pytest.raises(CheckpointError, match="two tokens of the vocabulary have the same rank"):
        Tokenizer(every_byte | {b"ab": 5})
    with pytest.raises(CheckpointError, match="from 0 to 300: expected 0 to 256"):
        Tokenizer(every_byte | {b"ab": 300})
    (tmp_path / "ranks.tiktoken").write_bytes(b"IQ== 0\n")
    with pytest.raises(CheckpointError, match=r"ranks\.tiktoken: the vocabulary lacks 255"):
        Tokenizer.from_directory(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.tiktoken: cannot be read"):
        Tokenizer.from_tiktoken(tmp_path / "nowhere.tiktoken")


def test_a_tokenizer_travels_to_another_process(custom: Tokenizer) -> None:
    copy = pickle.loads(pickle.dumps(custom))
    sentence = "<|startoftranscript|><|ar|><|transcribe|>"
    assert copy.encode_tags(sentence) == custom.encode_tags(sentence)
    assert copy.encode_text("Compare them.") == custom.encode_text("Compare them.")
