"""Save and resume a run: weights, optimiser, auxiliary heads, random numbers and place in the data; whole or not at all."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from finetune.adapters import Base, save_adapter
from finetune.auxiliary import Auxiliary
from finetune.devices import Single
from finetune.learner import Learner
from qwen_audio.errors import CheckpointError
from qwen_audio.model.checkpoints.load import empty_model
from qwen_audio.model.checkpoints.ours import save
from qwen_audio.model.checkpoints.writing import Staged
from qwen_audio.tokenizer import Tokenizer

log = logging.getLogger(__name__)
STATE_FILE = "run.json"
HEADS_FILE = "auxiliary.safetensors"
RANDOM_FILE = "random.json"
ASIDE = "before"
LAST, BEST = "last", "best"  # links to checkpoints: the newest, and the best measured


def step_folder(output_dir: Path | str, step: int) -> Path:
    """Name the folder of a step's checkpoint."""
    return Path(output_dir) / f"step-{step:07d}"


def latest(output_dir: Path | str) -> Path | None:
    """Return the newest whole checkpoint of a run, None where there is none."""
    found = sorted(path for path in Path(output_dir).glob("step-???????") if (path / STATE_FILE).is_file())
    return found[-1] if found else None


def write(
    output_dir: Path | str,
    backend: Single,
    state: Mapping[str, Any],
    *,
    tokenizer: Tokenizer,
    keep: int,
    best_step: int = -1,
    base: Base | None = None,
) -> Path:
    """Write the checkpoint of one step beside the others and delete the oldest past `keep`, but never the best.

    It is written under another name, to the disk itself, and gets its own at the very end: a checkpoint that can be seen is whole.

    Args:
        state: plain values: "step", "data" (the place in the data) and what else a resume needs.
        best_step: whose checkpoint is the best so far; -1 where none is.
        base: with LoRA, what the adapters stand beside; they are written alone.
    Raises:
        CheckpointError: the disk is full or fails; the checkpoints before it stay.
    """
    folder = step_folder(output_dir, state["step"])
    draft = folder.with_name(folder.name + ".part")
    with _together(backend, draft, state["step"]):
        if backend.rank == 0:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
    weights, kinds = backend.weights(learning=base is not None), backend.gather(random_state())
    with _together(backend, draft, state["step"]):
        backend.write_optimiser(draft)
        if backend.rank == 0:
            _write_model(draft, backend.learner, weights, tokenizer, base)
            (draft / RANDOM_FILE).write_text(json.dumps(kinds), encoding="utf-8")
            whole = {**state, "ranks": backend.ranks, "optimiser": backend.kind}
            (draft / STATE_FILE).write_text(json.dumps(whole, indent=1), encoding="utf-8")
            _to_disk(draft)
    with _together(backend, draft, state["step"]):
        if backend.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(draft, folder)
            _sync(folder.parent)
            best = step_folder(output_dir, best_step)
            link(output_dir, LAST, folder)
            link(output_dir, BEST, best)
            for old in sorted(Path(output_dir).glob("step-???????"))[:-keep]:
                if old != best:
                    shutil.rmtree(old, ignore_errors=True)
    return folder


@contextmanager
def _together(backend: Single, draft: Path, step: int) -> Iterator[None]:
    """Do something at every rank; where one fails, all of them hear of it, and none goes on.

    Raises:
        CheckpointError: one has failed; the draft is taken away.
    """
    failed = ""
    try:
        yield
    except (OSError, SafetensorError, CheckpointError, RuntimeError) as error:
        failed = str(error) or type(error).__name__
    if reasons := [reason for reason in backend.gather(failed) if reason]:
        if backend.rank == 0:
            shutil.rmtree(draft, ignore_errors=True)
        kept = latest(draft.parent)
        stays = f"{kept} stays, go on from it with resume --output-dir {draft.parent}" if kept else "none was there before"
        raise CheckpointError(f"step {step} cannot be saved ({reasons[0]}): make room on the disk; {stays}")


def rewrite_state(output_dir: Path | str, step: int, changes: Mapping[str, Any], best_step: int) -> None:
    """Change what a step's checkpoint says of its run, at once or not at all, and let the name of the best stand for the best."""
    folder = step_folder(output_dir, step)
    write_json(folder / STATE_FILE, read_state(folder) | dict(changes))
    link(output_dir, BEST, step_folder(output_dir, best_step))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object that is seen whole or not at all.

    Raises:
        CheckpointError: the disk is full or fails; what was there stays.
    """
    try:
        with Staged(path.parent) as staged:
            staged.json(path.name, values)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written ({error.strerror}): make room on the disk") from error


def set_aside(output_dir: Path | str, step: int) -> Path | None:
    """Move the checkpoints past a step, which are another run's or of another course of this one, into a folder of their own.

    A run that begins at that step would else be taken up from them. Returns where they are; None where there were none.
    """
    root = Path(output_dir)
    later = [path for path in sorted(root.glob("step-???????")) if path > step_folder(root, step)]
    if not later:
        return None
    number = next(number for number in count(1) if not (root / f"{ASIDE}-{number}").exists())
    aside = root / f"{ASIDE}-{number}"
    aside.mkdir()
    for path in later:
        path.rename(aside / path.name)
    for name in (LAST, BEST):
        if (root / name).is_symlink() and not (root / name).exists():
            (root / name).unlink()
    return aside


def link(output_dir: Path | str, name: str, folder: Path) -> None:
    """Let a name in output_dir stand for a checkpoint that is there; where a disk has no links the name is missing, and that is said."""
    if not folder.is_dir():
        return
    draft = Path(output_dir) / f"{name}.part"
    try:
        draft.unlink(missing_ok=True)
        draft.symlink_to(folder.name, target_is_directory=True)
        os.replace(draft, Path(output_dir) / name)
    except OSError as error:
        log.warning("%s cannot be made a link to %s (%s)", Path(output_dir) / name, folder.name, error.strerror)


def _write_model(draft: Path, learner: Learner, weights: Mapping[str, Tensor], tokenizer: Tokenizer, base: Base | None) -> None:
    """Write the model or its adapters as any program here reads them, and the heads beside."""
    of_model = {name[6:]: value for name, value in weights.items() if name.startswith("model.")}
    if base is None:
        model = empty_model(learner.model.config)
        model.load_state_dict(of_model, assign=True)
        save(model, draft, custom_tags=tokenizer.custom.to_mapping(), ranks_sha256=tokenizer.ranks_sha256)
        tokenizer.write_tiktoken(draft / "ranks.tiktoken")
    else:
        save_adapter(learner.model, draft, base=base, tokenizer=tokenizer, state=of_model)
    if learner.heads is not None:
        save_file({name[6:]: value.contiguous() for name, value in weights.items() if name.startswith("heads.")}, draft / HEADS_FILE)


def read_state(folder: Path) -> dict[str, Any]:
    """Read what a checkpoint says of its run.

    Raises:
        CheckpointError: it is no checkpoint of a run.
    """
    try:
        state: dict[str, Any] = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        mend = "name a folder step-NNNNNNN, or start from its weights by --model"
        raise CheckpointError(f"{folder}: no checkpoint of a run ({error}); {mend}") from error
    return state


def read(folder: Path, backend: Single) -> dict[str, Any]:
    """Fill heads, optimiser and random numbers from a checkpoint and return its state; the model was made of it.

    Raises:
        CheckpointError: it belongs to other classes, other parameters or another kind of optimiser.
    """
    state, heads = read_state(folder), backend.learner.heads
    if state.get("optimiser", "whole") != backend.kind:
        raise CheckpointError(
            f"{folder}: its optimiser was saved by {state.get('optimiser', 'whole')!r}, this run's is {backend.kind!r}: take the same "
            f"--deepspeed, or begin a new run from its weights (--model {folder})"
        )
    if heads is not None and backend.kind == "whole":  # DeepSpeed keeps them with the rest of what learns
        read_heads(folder, heads)
    backend.read_optimiser(folder, int(state.get("ranks", 1)))
    if (folder / RANDOM_FILE).is_file():
        kinds = json.loads((folder / RANDOM_FILE).read_text(encoding="utf-8"))
        if len(kinds) == backend.ranks:
            restore_random(kinds[backend.rank])
    return state


def read_heads(folder: Path, heads: Auxiliary) -> None:
    """Fill the auxiliary heads from a checkpoint.

    Raises:
        CheckpointError: they have other classes.
    """
    try:
        heads.load_state_dict(load_file(folder / HEADS_FILE))
    except (RuntimeError, OSError) as error:
        raise CheckpointError(f"{folder}: the auxiliary heads do not fit; were the data or the hold-outs changed? ({error})") from error


def inherit(folder: Path, heads: Auxiliary) -> None:
    """Let the auxiliary heads begin where those of another run's checkpoint ended, if that folder has any."""
    if (folder / HEADS_FILE).is_file():
        heads.inherit(load_file(folder / HEADS_FILE), read_state(folder)["classes"])


def random_state() -> dict[str, Any]:
    """Return the state of this process's generators as plain values."""
    kind, keys, *rest = np.random.get_state(legacy=True)  # what adapters and libraries draw from; our own draws have seeds of their own
    version, numbers, gauss = random.getstate()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": bytes(torch.get_rng_state().tolist()).hex(),
        "cuda": bytes(torch.cuda.get_rng_state().tolist()).hex() if torch.cuda.is_available() else "",
    }


def restore_random(state: Mapping[str, Any]) -> None:
    """Set this process's generators to a state that random_state gave."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(torch.tensor(list(bytes.fromhex(state["torch"])), dtype=torch.uint8))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.tensor(list(bytes.fromhex(state["cuda"])), dtype=torch.uint8))


def _to_disk(folder: Path) -> None:
    """Wait until every file below a folder, and the folders' lists of them, are on the disk."""
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
