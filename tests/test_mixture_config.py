"""The section `mixture` of a YAML file."""

from pathlib import Path

import pytest

from data.mixture.config import MixtureConfig, Source, mixture_config, read_mixture_config
from qwen_audio.errors import ConfigError

WRITTEN = """
sources:
  - rows.jsonl
  - {path: "shards/*.tar", weight: 2, repeat: 3, data_root: corpora}
data_root: recordings
temperature: 2
weights: {"*/asr": 3, "*": 1}
caps: {asr: 0.4}
hold_out: [speaker=ann]
long_audio: windows
max_lost: 0.02
"""


def test_every_setting_is_read(tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text(WRITTEN, encoding="utf-8")
    expected = MixtureConfig(
        sources=(Source(path="rows.jsonl"), Source(path="shards/*.tar", weight=2.0, repeat=3.0, data_root="corpora")),
        data_root="recordings",
        temperature=2.0,
        weights={"*/asr": 3, "*": 1},
        caps={"asr": 0.4},
        hold_out=("speaker=ann",),
        long_audio="windows",
        max_lost=0.02,
    )
    assert read_mixture_config(tmp_path / "mix.yaml") == expected
    assert read_mixture_config(tmp_path / "mix.yaml", seed=3).seed == 3


def test_a_training_configuration_is_read_by_its_section(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("max_steps: 5\nmixture: {sources: a.jsonl, temperature: .inf}\n", encoding="utf-8")
    read = read_mixture_config(tmp_path / "train.yaml")
    assert read.temperature == float("inf") and read.sources == (Source(path="a.jsonl"),)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"wieghts": {}}, "unknown setting wieghts"),
        ({"sources": 3}, "expected a list of paths"),
        ({"sources": [{"weight": 2}]}, r"either a path or \{prepared: true\}"),
        ({"sources": [{"path": "a", "prepared": True}], "data_root": "x"}, "either a path or"),
        ({"sources": [{"prepared": True}]}, "data_root is not set"),
        ({"sources": [{"path": "a", "weight": -1}]}, "a: weight is -1.0: expected 0 or more"),
        ({"temperature": 0}, r"temperature is 0.0: expected a number above 0, \.inf"),
        ({"weights": {"*": "much"}}, r"weights: \* is 'much': expected a number"),
        ({"weights": [1]}, "expected NAME: NUMBER"),
        ({"caps": {"asr": 1.5}}, "caps: asr is 1.5: expected a share"),
        ({"hold_out": ["ann"]}, "expected KEY=VALUE"),
        ({"long_audio": "cut"}, "expected one of ledger, windows"),
        ({"max_lost": 2}, "max_lost is 2.0: expected a share"),
        ({"index_workers": 0}, "expected 1 or more"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(section: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mixture_config(section)


def test_a_file_that_is_not_there_or_no_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_mixture_config(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected settings, NAME: VALUE a line"):
        read_mixture_config(tmp_path / "list.yaml")
    (tmp_path / "section.yaml").write_text("mixture: [a]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected settings"):
        read_mixture_config(tmp_path / "section.yaml")
