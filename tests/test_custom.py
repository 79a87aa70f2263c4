"""A user's new tags on the reserved slots."""

from __future__ import annotations

import pickle

import pytest

from tag_schema.custom import CustomTags
from tag_schema.vocabulary import OFFSETS, TagError


def test_new_tags_take_the_first_slots_in_the_order_they_are_named() -> None:
    tags = CustomTags.from_names(["ar", "<|ru|>", "he", "bird_species"])
    assert tags.to_mapping() == {"<|ar|>": 0, "<|ru|>": 1, "<|he|>": 2, "<|bird_species|>": 3}
    assert [tags.token(tag) for tag in tags.slots] == ["<|extra_0|>", "<|extra_1|>", "<|extra_2|>", "<|extra_3|>"]
    assert tags.tag("<|extra_2|>") == "<|he|>"
    assert tags.tag("<|extra_9|>") is None
    assert tags.tag("<|en|>") is None


def test_slot_of_the_first_tag_has_the_id_of_extra_0() -> None:
    assert 151_643 + OFFSETS[CustomTags.from_names(["ar"]).token("<|ar|>")] == 151_646


def test_form_of_a_name_says_its_kind() -> None:
    tags = CustomTags.from_names(["ar", "bird_species", "pt_br", "zh_yue", "yue", "whispered"])
    assert tags.languages == ("ar", "pt_br", "zh_yue", "yue")
    assert tags.instructions == ("bird_species", "whispered")


def test_a_users_file_names_languages_and_instructions() -> None:
    tags = CustomTags.from_file({"languages": ["ar", "ru"], "instructions": ["bird_species"]})
    assert tags == CustomTags.from_names(["ar", "ru", "bird_species"])
    assert CustomTags.from_file({"languages": None}) == CustomTags()


def test_extending_moves_no_earlier_tag() -> None:
    before = CustomTags.from_mapping({"<|ar|>": 4, "<|ru|>": 0})
    after = before.extend(["he", "pt", "uk", "pl", "nl"])
    assert {tag: after.slots[tag] for tag in before.slots} == before.to_mapping()
    assert [after.slots[f"<|{name}|>"] for name in ("he", "pt", "uk", "pl", "nl")] == [1, 2, 3, 5, 6]


def test_what_a_checkpoint_stores_comes_back() -> None:
    tags = CustomTags.from_names(["ar", "ru", "he"])
    assert CustomTags.from_mapping(tags.to_mapping()) == tags
    assert pickle.loads(pickle.dumps(tags)) == tags
    assert hash(CustomTags.from_mapping(tags.to_mapping())) == hash(tags)
    assert "<|ar|>" in tags
    assert len(tags) == 3


def test_205_tags_fit_and_no_more() -> None:
    names = [f"instruction{number}" for number in range(205)]
    assert CustomTags.from_names(names).token("<|instruction204|>") == "<|extra_204|>"
    with pytest.raises(TagError, match="all 205 slots are taken"):
        CustomTags.from_names([*names, "ar"])


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("en", "released vocabulary has it"),
        ("zh_tr", "released vocabulary has it"),
        ("2.33", "released vocabulary has it"),
        ("extra_3", "released vocabulary has it"),
        ("im_end", "released vocabulary has it"),
        ("analysis", "wrong name of <|startofanalysis|>"),
        ("AR", "small letters"),
        ("a", "small letters"),
        ("bird species", "small letters"),
        ("bird-species", "small letters"),
        ("", "small letters"),
        ("ar|><|im_end", "small letters"),
        (False, "quotes"),  # YAML reads the Norwegian `no` as false
    ],
)
def test_name_that_is_malformed_or_taken_is_refused(name: object, part: str) -> None:
    with pytest.raises(TagError) as caught:
        CustomTags.from_names([name])  # type: ignore[list-item]
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("slots", "part"),
    [
        ({"<|ar|>": 0, "<|ru|>": 0}, "<|ar|> and <|ru|> both claim <|extra_0|>"),
        ({"<|ar|>": 205}, "slot 205 does not exist"),
        ({"<|ar|>": -1}, "slot -1"),
        ({"<|ar|>": True}, "slot True"),
        ({"<|ar|>": "0"}, "slot '0'"),
        ({"ar": 0}, "the form <|name|>"),
        (["<|ar|>"], "found list"),
    ],
)
def test_stored_slots_that_cannot_be_are_refused(slots: object, part: str) -> None:
    with pytest.raises(TagError) as caught:
        CustomTags.from_mapping(slots)  # type: ignore[arg-type]
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"language": ["ar"]}, "unknown key language"),
        ({"languages": "ar"}, "expected a list"),
        ({"languages": ["bird_species"]}, "does not look like one of the languages"),
        ({"instructions": ["ar"]}, "does not look like one of the instructions"),
        ({"languages": ["ar", "ar"]}, "named twice"),
        (["ar"], "found list"),
    ],
)
def test_users_file_with_a_mistake_is_refused_by_name(values: object, part: str) -> None:
    with pytest.raises(TagError) as caught:
        CustomTags.from_file(values)  # type: ignore[arg-type]
    assert part in str(caught.value)


def test_tag_that_the_model_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(TagError, match=r"<\|he\|> is no custom tag of this model; it has <\|ar\|>"):
        CustomTags.from_names(["ar"]).token("<|he|>")


def test_stored_tags_cannot_be_changed_from_outside() -> None:
    slots = {"<|ar|>": 0}
    tags = CustomTags(slots)
    slots["<|im_end|>"] = 0
    assert tags.to_mapping() == {"<|ar|>": 0}
    tags.to_mapping()["<|ru|>"] = 1
    assert len(tags) == 1
