"""Batches that other processes make are those that this one would make; what they lose is accounted for; they leave with their starter."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from prepared_tree import write_tree  # type: ignore[import-not-found]
from training_tree import run_config  # type: ignore[import-not-found]

from data.batching import TrainingBatch
from finetune.loading import Share
from finetune.run import loader, prepare
from finetune.train import train
from qwen_audio.errors import DataError
from qwen_audio.tokenizer import Tokenizer


@pytest.fixture
def tree(tmp_path: Path, tiny_tokenizer: Tokenizer) -> Path:
    write_tree(tmp_path)
    tiny_tokenizer.write_tiktoken(tmp_path / "ranks.tiktoken")
    return tmp_path


def config(tree: Path, **changes: Any) -> Any:
    return run_config(tree, per_device_train_batch_size=4, **changes)


def same(one: TrainingBatch | None, other: TrainingBatch | None) -> bool:
    if one is None or other is None:
        return one is other
    names = ("token_ids", "segment", "positions", "labels", "mels", "frames", "places")
    tensors = all(torch.equal(getattr(one.batch, name), getattr(other.batch, name)) for name in names)
    return tensors and one.records == other.records and one.state == other.state


def made(run: Any, count: int) -> list[Share]:
    return list(islice(loader(run).shares(run.data_state), count))


def test_processes_change_nothing_but_the_time(tree: Path) -> None:
    here, there = (made(prepare(config(tree, dataloader_num_workers=workers)), 12) for workers in (0, 2))
    for one, other in zip(here, there, strict=True):
        assert one.state == other.state and len(one.made) == len(other.made)
        assert all(map(same, one.made, other.made))


def broken_rows(tree: Path) -> str:
    """Write thirty rows; the clip of one breaks once they are admitted."""
    lines = []
    for number in range(30):
        (tree / f"{number}.wav").write_bytes((tree / "digits/audio/7.wav").read_bytes())
        lines.append({"id": f"r{number}", "audio": f"{number}.wav", "task": "sound_event", "text": "tone"})
    path = tree / "own.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


@pytest.mark.slow
def test_what_processes_lose_is_entered_in_the_order_of_the_draws(tree: Path) -> None:
    sources = {"sources": [broken_rows(tree)], "data_root": "", "max_lost": 0.5}
    prepare(config(tree, mixture=sources))
    (tree / "3.wav").write_bytes((tree / "3.wav").read_bytes()[:200])
    ledgers = []
    for workers in (0, 2):
        run = prepare(config(tree, mixture=sources, dataloader_num_workers=workers, output_dir=str(tree / f"run{workers}")))
        Path(run.config.output_dir).mkdir()
        made(run, 8)
        ledgers.append((Path(run.config.output_dir) / "ledger.jsonl").read_text(encoding="utf-8").splitlines())
        assert run.ledger.account.n_lost == len(ledgers[-1]) > 0
    assert ledgers[0] == ledgers[1] and {json.loads(line)["id"] for line in ledgers[0]} == {"r3"}


@pytest.mark.slow
def test_a_process_that_dies_is_told_of(tree: Path) -> None:
    run = prepare(config(tree, dataloader_num_workers=1))
    shares = loader(run).shares(run.data_state)
    next(shares)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with pytest.raises(DataError, match="a process that makes batches has died"):
        list(islice(shares, 50))


@pytest.mark.slow
def test_a_run_with_processes_ends_in_the_same_weights_and_leaves_none_behind(tree: Path) -> None:
    for workers in (0, 2):
        train(config(tree, dataloader_num_workers=workers, output_dir=str(tree / f"run{workers}")))
    one, two = (tree / f"run{workers}/last/model.safetensors" for workers in (0, 2))
    assert one.read_bytes() == two.read_bytes() and not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are looked up as Linux lists them")
def test_processes_end_when_their_run_is_killed(tree: Path) -> None:
    code = "import sys, time; sys.path.insert(0, 'tests'); from pathlib import Path; from training_tree import run_config\n"
    code += "from finetune.run import loader, prepare\n"
    code += f"if __name__ == '__main__':\n    run = prepare(run_config(Path({str(tree)!r}), dataloader_num_workers=2))\n"
    code += "    shares = loader(run).shares(run.data_state); next(shares); print('ready', flush=True); time.sleep(60)\n"
    path = tree / "hold.py"
    path.write_text(code, encoding="utf-8")
    root = Path(__file__).resolve().parent.parent
    environment = os.environ | {"PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, str(path)], cwd=root, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip() == "ready"
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    assert len(workers) >= 2
    process.kill()
    process.wait()
    for _ in range(50):
        if not any(Path(f"/proc/{worker}/cmdline").exists() and Path(f"/proc/{worker}/cmdline").read_bytes() for worker in workers):
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {workers}")
