"""What `data list` tells of the catalog."""

from __future__ import annotations

import pytest

from data.catalog import CATALOG, by_task
from data.commands.listing import WIDTH, listing
from qwen_audio.errors import ConfigError
from tag_schema.tasks import TASKS
from tag_schema.vocabulary import TagError


def test_every_task_is_listed_with_each_of_its_recipes_and_constructed_examples() -> None:
    words = listing().replace(",", " ").split()
    for name in TASKS:
        start = words.index(name)
        found = words[start + 2 : words.index("constructed", start)]
        assert sorted(recipe.name for recipe in by_task()[name]) == found
        assert int(words[start + 1]) == len(found)
    assert f"{len(TASKS)} tasks, {len(CATALOG)} recipes" in listing()


def test_a_recipe_is_told_with_its_splits_its_counts_and_its_layout() -> None:
    text = listing("en_fsdd")
    lines = [line.split() for line in text.splitlines()]
    assert ["licence", "CC", "BY-SA", "4.0"] in lines
    assert any(line[:3] == ["train", "train", "2,700"] and "README" in line for line in lines)
    assert "recordings/{digit}_{speaker}_{take}.wav" in text
    assert "python -m data prepare en_fsdd FOLDER" in text


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_every_recipe_can_be_told_in_lines_of_a_terminal(name: str) -> None:
    about = CATALOG[name]
    text = listing(name)
    assert " ".join(text.split()).startswith(f"{name} corpus {about.title} source {about.source.split()[0]}")
    for split in about.splits:
        assert f"    {split.name} " in text
    layout = set(about.layout.splitlines())
    assert [line for line in text.splitlines() if len(line) > WIDTH and line.strip() not in layout] == []


def test_a_task_is_told_with_its_sentence_and_its_recipes() -> None:
    text = listing(task="keyword_spotting")
    assert TASKS["keyword_spotting"].prefix.sentence() in text
    for recipe in by_task()["keyword_spotting"]:
        assert f"\n  {recipe.name} " in text
        assert recipe.licence in text


def test_a_name_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"no recipe is called 'nowhere'; there are: .*librispeech"):
        listing("nowhere")
    with pytest.raises(TagError, match="task 'singing' does not exist"):
        listing(task="singing")
