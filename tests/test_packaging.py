"""What pip is told: each part of the project installs what it imports."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
OURS = {"chat_cli", "data", "eval", "finetune", "qwen_audio", "tag_schema"}
DISTRIBUTIONS = {"yaml": "pyyaml", "sklearn": "scikit-learn", "whisper": "openai-whisper", "prompt_toolkit": "prompt-toolkit"}
WITH_TIKTOKEN = {"regex"}  # its own dependency, and data/byte_pairs.py cuts text as it does
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    """Name the distributions of requirements as pip spells them."""
    return {re.split(r"[<>=!~;\[ ]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def imported(path: Path) -> set[str]:
    """Name the distributions that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    roots = {module.split(".")[0] for module in modules} - OURS - set(sys.stdlib_module_names)
    return {DISTRIBUTIONS.get(root, root.replace("_", "-")) for root in roots}


@pytest.mark.parametrize(
    ("part", "extras"),
    [
        ("chat_cli.py", ()),
        ("tag_schema", ()),
        ("qwen_audio", ()),
        ("data", ("data",)),
        ("finetune", ("train",)),
        ("eval", ("eval", "captions", "peers")),
    ],
)
def test_a_part_imports_only_what_its_installation_brings(part: str, extras: tuple[str, ...]) -> None:
    brought = WITH_TIKTOKEN | names(PROJECT["dependencies"])
    for extra in extras:
        brought |= names(PROJECT["optional-dependencies"][extra])
    files = [ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py"))
    assert files
    assert {str(path.relative_to(ROOT)): missing for path in files if (missing := imported(path) - brought)} == {}


def test_the_tests_import_only_what_their_extra_brings() -> None:
    brought = WITH_TIKTOKEN | names([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]])
    beside = {path.stem.replace("_", "-") for path in (ROOT / "tests").glob("*.py")} | {"tests"}
    found = {path.name: missing for path in sorted((ROOT / "tests").glob("*.py")) if (missing := imported(path) - brought - beside)}
    assert found == {}
