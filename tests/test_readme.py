"""What the README shows works as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus_tree import clip, text

from data import catalog
from data.commands import prepare
from data.ledger import Entry
from data.mixture.config import mixture_config
from data.recipe import Recipe
from data.rows.shapes import parse_line

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.split(f"{title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_recipe_of_a_corpus_of_ones_own_walks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = section("### A corpus of your own")
    assert len(part.splitlines()) <= 30
    code = re.findall(r"```python\n(.*?)```", part, re.DOTALL)[0]
    room: dict[str, Any] = {}
    exec(code, room)
    (birds,) = room["RECIPES"]
    assert isinstance(birds, Recipe)
    monkeypatch.setattr(catalog, "CATALOG", {"birds": birds})
    clip(tmp_path / "corpus" / "audio" / "a.wav")
    text(tmp_path / "corpus" / "train.csv", "file,species,recorder\na.wav,wren,ann\nb.wav,robin,ben\n")
    text(tmp_path / "corpus" / "test.csv", "file,species,recorder\n")
    said = prepare.prepare("birds", tmp_path / "corpus", tmp_path / "rows")
    rows = [json.loads(line) for line in (tmp_path / "rows" / "birds" / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["target"], row["meta"]["speaker"]) for row in rows] == [("wren", "ann")]
    assert "900" in said and "no_file" in said


def test_the_rows_that_are_shown_are_read() -> None:
    rows = [line.strip() for line in section("## Data").splitlines() if line.startswith("    {")]
    assert len(rows) == 3
    assert not [found for row in rows if isinstance(found := parse_line(row, "README:1"), Entry)]


def test_the_mixture_that_is_shown_is_one() -> None:
    shown = re.findall(r"```yaml\n(mixture:.*?)```", section("## Data"), re.DOTALL)[0]
    config = mixture_config(yaml.safe_load(shown)["mixture"])
    assert [source.weight for source in config.sources] == [1, 2]
