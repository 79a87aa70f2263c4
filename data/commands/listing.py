"""List what there is: the 31 tasks with their recipes, or all about one recipe or one task."""

from __future__ import annotations

import textwrap

from data.catalog import CATALOG, by_task
from data.catalog import recipe as find_recipe
from data.recipe import Recipe, Split
from tag_schema.tasks import TASKS, family

WIDTH = 110  # letters of a line
LABEL = 11  # letters of a label
NAME = 24  # letters of a recipe's name
SHOWN = 8  # languages that are named before the rest is counted
CONSTRUCTED = "constructed"  # makes examples of every task: `python -m data construct`
AREAS = (("speech", "SPEECH"), ("sound", "SOUND"), ("music", "MUSIC"))


def listing(name: str | None = None, task: str | None = None) -> str:
    """Describe the catalog.

    Args:
        name: a recipe, of which everything is told.
        task: one of the 31, whose recipes are told with their languages, hours and licences.
    Raises:
        ConfigError, TagError: there is no such recipe or task.
    """
    if name is not None:
        return _one(find_recipe(name))
    if task is not None:
        return _task(task)
    return _all()


def _all() -> str:
    """List the tasks by area, each with its recipes."""
    served = by_task()
    left = max(map(len, TASKS)) + 2
    lines = []
    for area, title in AREAS:
        names = [name for name, about in TASKS.items() if about.area == area]
        lines += ["", f"{title}, {len(names)} tasks", ""]
        for name in names:
            recipes = sorted(recipe.name for recipe in served[name])
            wrapped = textwrap.wrap(", ".join([*recipes, CONSTRUCTED]), WIDTH - left - 6, break_on_hyphens=False, break_long_words=False)
            lines += [f"  {name:<{left}}{len(recipes):>2}  {wrapped[0]}", *(" " * (left + 6) + line for line in wrapped[1:])]
    hours = sum(recipe.hours or 0.0 for recipe in CATALOG.values())
    lines += [
        "",
        f"{len(TASKS)} tasks, {len(CATALOG)} recipes; {hours:,.0f} hours of those whose sources say; {CONSTRUCTED} serves every task.",
        "`python -m data list NAME` tells all about a recipe, `--task TASK` compares those of a task.",
    ]
    return "\n".join(lines).strip("\n")


def _task(name: str) -> str:
    """Tell what a task is and compare its recipes."""
    about = family(name)
    recipes = sorted(by_task()[name], key=lambda recipe: recipe.name)
    head = [f"{name}: {about.title} ({about.area}, measured by {about.metric})"]
    head += (
        _wrapped("sentence", about.prefix.sentence()) + _wrapped("answer", about.target_format) + _wrapped("in words", about.chat_prompt)
    )
    for recipe in recipes:
        more = len(recipe.languages) - SHOWN
        spoken = ", ".join(recipe.languages[:SHOWN]) + (f" and {more} more" if more > 0 else "")
        hours = "" if recipe.hours is None else f"{recipe.hours:,g} h"
        head += ["", f"  {recipe.name:<{NAME}}{'  '.join(filter(None, (hours, spoken, recipe.licence)))}"]
        head += [" " * (NAME + 2) + line for line in textwrap.wrap(recipe.title, WIDTH - NAME - 2)]
    none = [] if recipes else ["", "  no public corpus has a recipe here"]
    return "\n".join([*head, *none, "", f"{CONSTRUCTED} makes examples of it: `python -m data construct`"])


def _one(recipe: Recipe) -> str:
    """Tell everything about a recipe."""
    lines = [recipe.name, *_wrapped("corpus", recipe.title)]
    lines += _wrapped("source", recipe.source) + _wrapped("licence", recipe.licence) + _wrapped("hours", _hours(recipe))
    lines += _wrapped("languages", ", ".join(recipe.languages) or "none: sound or music, or as the files say")
    lines += _wrapped("tasks", ", ".join(recipe.tasks))
    if recipe.extras:
        lines += _wrapped("needs", f"pip install {' '.join(recipe.extras)}")
    if recipe.notes:
        lines += _wrapped("notes", recipe.notes)
    lines += ["", *_splits(recipe), "", "  layout of its folder:", *(f"    {line}" for line in recipe.layout.strip("\n").splitlines())]
    lines += _wrapped("  seen in", recipe.verified)
    if recipe.parquet is not None:
        lines += ["", f"  or the parquet copy {recipe.parquet.hub}:"]
        lines += [f"    {split}: {pattern}" for split, pattern in recipe.parquet.files.items()]
        lines += _wrapped("  seen in", recipe.parquet.verified)
    return "\n".join([*lines, "", f"  python -m data prepare {recipe.name} FOLDER -o OUTPUT"])


def _splits(recipe: Recipe) -> list[str]:
    """Lay out the splits: what each is for, how many sources it must have and where that was read."""
    name, role, count = (max(len(cell) for cell in column) for column in zip(*map(_split_cells, recipe.splits), strict=True))
    left = 4 + name + 2 + role + 2 + count + 2
    lines = ["  splits, what each is for, its clips or utterances and where they were counted:"]
    before = ""
    for split in recipe.splits:
        cells = _split_cells(split)
        read_in = "" if split.count is None else split.verified
        witness = textwrap.wrap("″" if read_in and read_in == before else read_in, max(30, WIDTH - left)) or [""]
        lines.append(f"    {cells[0]:<{name}}  {cells[1]:<{role}}  {cells[2]:>{count}}  {witness[0]}".rstrip())
        lines += [" " * left + line for line in witness[1:]]
        before = read_in
    return lines


def _split_cells(split: Split) -> tuple[str, str, str]:
    return split.name, split.role, "?" if split.count is None else f"{split.count:,}"


def _hours(recipe: Recipe) -> str:
    return "not known" if recipe.hours is None else f"{recipe.hours:,g}"


def _wrapped(label: str, text: str) -> list[str]:
    """Write a label and a text beside it in as many lines as it needs."""
    first, *rest = textwrap.wrap(text, WIDTH - LABEL - 2, break_on_hyphens=False, break_long_words=False) or [""]
    return [f"  {label:<{LABEL}}{first}", *(" " * (LABEL + 2) + line for line in rest)]
