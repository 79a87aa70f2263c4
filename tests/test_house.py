"""The house itself: which room may know which, how large rooms grow, what a newcomer is promised."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
OURS = ("tag_schema", "qwen_audio", "data", "eval", "finetune", "chat_cli")
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 60
LONG_FUNCTIONS: dict[str, str] = {}  # "path:function" -> why it is better in one piece
LATE_IMPORTS = {  # room -> what it may import inside a function, being heavy and behind a command's flags
    "chat_cli": ("qwen_audio", "numpy", "prompt_toolkit", "soundfile", "tag_schema"),
    "qwen_audio.model.attention": ("torch.nn.attention.varlen",),
    "finetune.__main__": ("finetune", "data", "qwen_audio"),
    "finetune.adapters": ("peft",),
    "finetune.zero": ("deepspeed",),
    "eval.normalize": ("whisper_normalizer",),  # finetune may use these rooms without it
    "eval.normalize_chinese": ("zhconv",),
    "eval.models.opening": ("eval.models",),
    "eval.models.qwen2_audio": ("transformers",),
    "eval.models.sphinx": ("pocketsphinx",),
    "eval.__main__": ("eval", "data", "qwen_audio"),
    "data.__main__": ("data",),
    "data.rows.archives": ("pyarrow",),
    "data.commands.picture": ("matplotlib",),
    "finetune.cost.speed": ("transformers",),
    "finetune.watch.curves": ("matplotlib",),
    "finetune.watch.journal": ("torch.utils.tensorboard",),
    "data.recipes.parquet": ("datasets",),
    "data.recipes.constructed.espeak": ("espeakng_loader",),
    "data.recipes.constructed.guess": ("sklearn",),
}
MAY_IMPORT_TORCH = (
    "qwen_audio.model",
    "qwen_audio.engine",
    "data.batching",
    "eval.models.engine",
    "eval.models.qwen2_audio",
    "eval.speed",
    "finetune",
)
SCORING_ROOMS = ("eval.metrics", "eval.normalize")  # torch-free, so finetune may use them
HEAVY = ("torch", "av", "transformers")
COMMANDS = {"chat_cli.py": ["chat_cli.py"], "data": ["-m", "data"], "eval": ["-m", "eval"], "finetune": ["-m", "finetune"]}
HELP_SECONDS = 0.5


def within(module: str, rooms: tuple[str, ...]) -> bool:
    """Say whether module is one of the rooms or stands inside one."""
    return any(module == room or module.startswith(room + ".") for room in rooms)


@cache
def rooms() -> dict[str, Path]:
    """Find every module of the project: import name -> file."""
    found = {}
    for top in OURS:
        for path in [ROOT / f"{top}.py", *sorted((ROOT / top).rglob("*.py"))]:
            if path.is_file():
                parts = path.relative_to(ROOT).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(rooms()[module].read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Give the modules that an import statement names; `from package import room` names the room."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    return [f"{base}.{alias.name}" if f"{base}.{alias.name}" in rooms() else base for alias in node.names]


def imports(module: str) -> Iterator[tuple[str, int, bool]]:
    """Yield (name, line, late) of each import that runs; what stands under TYPE_CHECKING does not."""

    def walk(node: ast.AST, late: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                yield from ((name, child.lineno, late) for name in imported(child))
            elif not is_type_checking(child):
                yield from walk(child, late or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    return walk(tree(module), late=False)


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(module)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def tracked() -> list[str]:
    """List the files that git keeps, or skip where there is no git."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def forbidden(module: str) -> tuple[str, ...]:
    """Name the rooms that a room must never know: the paragraph "Never" of the house's plan."""
    top = module.split(".")[0]
    never = {
        "tag_schema": ("qwen_audio", "data", "eval", "finetune"),
        "qwen_audio": ("data", "eval", "finetune"),
        "data": ("eval", "finetune"),
        "eval": ("finetune",),
        "finetune": ("eval",),
        "chat_cli": ("data", "eval", "finetune"),
    }[top]
    if within(module, ("qwen_audio.model",)):
        never += ("qwen_audio.prompt", "qwen_audio.tokenizer", "tag_schema", "qwen_audio.engine", "qwen_audio.chat")
    if not within(module, ("qwen_audio.serve",)):
        never += ("qwen_audio.serve",)
    return (*never, "chat_cli")


def test_no_room_knows_what_stands_above_it() -> None:
    wrong = [
        f"{module}:{line} imports {name}"
        for module in rooms()
        for name, line, _ in imports(module)
        if within(name, forbidden(module)) and not (module.startswith("finetune") and within(name, SCORING_ROOMS))
    ]
    assert not wrong, wrong


def test_nothing_imports_a_command() -> None:
    assert not [f"{module}:{line}" for module in rooms() for name, line, _ in imports(module) if name.endswith("__main__")]


def test_the_ground_stands_on_the_standard_library_alone() -> None:
    foreign = {
        name
        for module in rooms()
        if within(module, ("tag_schema",))
        for name, _, _ in imports(module)
        if name.split(".")[0] not in {*sys.stdlib_module_names, "tag_schema"}
    }
    assert not foreign


def test_torch_is_imported_only_where_tensors_live() -> None:
    heavy = ("torch", "safetensors")
    wrong = [
        f"{module}:{line}"
        for module in rooms()
        for name, line, _ in imports(module)
        if within(name, heavy) and not within(module, MAY_IMPORT_TORCH)
    ]
    assert not wrong, wrong


def test_transformers_is_no_run_time_dependency_of_the_library() -> None:
    wrong = [f"{module}:{line}" for module in rooms() for name, line, _ in imports(module) if within(name, ("transformers",))]
    assert not [place for place in wrong if not place.startswith(("finetune", "eval.speed", "eval.models"))], wrong  # a peer


def test_imports_stand_at_the_top_unless_heavy_and_behind_a_commands_flags() -> None:
    wrong = [
        f"{module}:{line} imports {name} late"
        for module in rooms()
        for name, line, late in imports(module)
        if late and not within(name, LATE_IMPORTS.get(module, ()))
    ]
    assert not wrong, wrong


def test_imports_are_absolute() -> None:
    relative = [module for module in rooms() for node in ast.walk(tree(module)) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative


def test_no_circle_of_imports() -> None:
    known = rooms()
    edges = {module: {name for name, _, _ in imports(module) if name in known and name != module} for module in known}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for name in sorted(edges[module]):
                visit(name, (*path, module))
            done.add(module)

    for module in edges:
        visit(module, ())


def test_files_are_short_enough_to_read() -> None:
    sizes = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in rooms().items()}
    assert not {name: size for name, size in sizes.items() if size > MAX_FILE_LINES}


def test_functions_are_short_enough_to_see_at_once() -> None:
    sizes = {f"{module}:{node.name}": (node.end_lineno or 0) - node.lineno + 1 for module in rooms() for node in functions(module)}
    long = {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES}
    assert set(long) == set(LONG_FUNCTIONS), long


def test_no_room_is_called_by_what_it_is_not() -> None:
    names = {path.name for path in rooms().values()}
    assert not names & {"utils.py", "common.py", "helpers.py", "misc.py", "data.py", "eval.py", "finetune.py"}


def test_every_public_name_has_a_docstring() -> None:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    missing = [module for module in rooms() if not ast.get_docstring(tree(module))]
    for module in rooms():
        public = [node for node in tree(module).body if isinstance(node, kinds) and not node.name.startswith("_")]
        missing += [f"{module}:{node.name}" for node in public if not ast.get_docstring(node)]
    assert not missing


def test_an_init_file_holds_a_sentence_and_nothing_else() -> None:
    faces = {"tag_schema", "qwen_audio"}  # these two name what is public
    inits = {module: path for module, path in rooms().items() if path.name == "__init__.py" and module not in faces}
    assert not [module for module in inits if len(tree(module).body) != 1]


def test_nothing_is_left_unfinished() -> None:
    marks = re.compile("NotImplemented" + "Error|TO" + r"DO|FIX" + r"ME|\bX{3}\b|except( Exception)?:\s*(pass)?$", re.MULTILINE)
    names = [name for name in tracked() if name.endswith(".py")]
    assert not [name for name in names if marks.search((ROOT / name).read_text(encoding="utf-8"))]


def test_no_tracked_file_names_a_place_on_one_machine() -> None:
    place = re.compile(rb"(^|[^0-9A-Za-z._-])/(root|home|work|farm|opt|Users)/[0-9A-Za-z.]", re.MULTILINE)
    text = [name for name in tracked() if Path(name).suffix in {"", ".py", ".md", ".toml", ".txt", ".json", ".jsonl", ".yaml", ".yml"}]
    assert not [name for name in text if place.search((ROOT / name).read_bytes())]


def test_the_wheel_carries_the_library_the_tags_and_the_chat() -> None:
    listed = project()["tool"]["setuptools"]
    found = [module for module, path in rooms().items() if path.name == "__init__.py" and within(module, ("qwen_audio", "tag_schema"))]
    assert sorted(listed["packages"]) == sorted(found)
    assert listed["py-modules"] == ["chat_cli"]
    assert listed["package-dir"] == {"": "."}
    for package, patterns in listed["package-data"].items():
        assert "py.typed" in patterns and (ROOT / package / "py.typed").is_file()


def test_every_folder_of_rooms_is_a_package() -> None:
    assert not [str(path) for path in rooms().values() if path.parent != ROOT and not (path.parent / "__init__.py").is_file()]


def test_every_dependency_has_a_tested_version() -> None:
    pins = {re.split(r"==", line)[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line}
    table = project()["project"]
    wanted = [*table["dependencies"], *(name for extra in table["optional-dependencies"].values() for name in extra)]
    names = {re.split(r"[<>=!~;\[ ]", name)[0].lower().replace("_", "-") for name in wanted}
    assert not names - pins


def run(*arguments: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run this Python in the project's folder; give the seconds of processor time, which a busy machine does not stretch."""
    before = os.times()
    result = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system, result


def loaded_after(code: str) -> str:
    """Run code in a fresh interpreter and name the heavy modules that it loaded."""
    _, result = run("-c", f"import sys\n{code}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])")
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("module", ["qwen_audio", "qwen_audio.tokenizer", "qwen_audio.prompt", "tag_schema"])
def test_words_are_imported_without_tensors(module: str) -> None:
    assert "torch" not in loaded_after(f"import {module}").split()


def test_the_package_itself_loads_nothing_heavy() -> None:
    assert loaded_after("import qwen_audio, tag_schema") == ""


@pytest.mark.parametrize("command", [name for name in COMMANDS if (ROOT / name).is_file() or (ROOT / name / "__main__.py").is_file()])
def test_help_answers_at_once_and_loads_nothing_heavy(command: str) -> None:
    runs = [run(*COMMANDS[command], "--help") for _ in range(3)]
    assert all(result.returncode == 0 and "usage:" in result.stdout for _, result in runs), runs[0][1].stderr
    assert min(seconds for seconds, _ in runs) < HELP_SECONDS
    _, result = run("-X", "importtime", *COMMANDS[command], "--help")
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert not loaded & set(HEAVY)
