"""What a user does, by the commands themselves: teach the bundled model a task of one's own, through a kill, merge, chat."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from finetune.checkpoint import latest, read_state
from finetune.watch.journal import read_journal

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "finetune/configs/mini_new_tag.yaml"
SENTENCE = "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|contour|>"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contour")
    command("examples/make_new_task.py", str(folder))
    return folder


def train_flags(rows: Path, name: str, *more: str) -> list[str]:
    files = ["--train-file", str(rows / "train.jsonl"), "--validation-file", str(rows / "dev.jsonl")]
    return ["finetune", "train", "--config", CONFIG, *files, "--output-dir", str(rows / name), *more]


def command(*arguments: str) -> str:
    """Run a command of the project and return what it printed."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def whole(rows: Path) -> Path:
    """Train without a stop."""
    said = command("-m", *train_flags(rows, "whole"))
    assert "the best by score" in said
    return rows / "whole"


@pytest.fixture(scope="module")
def killed(rows: Path) -> Path:
    """Train with a kill in the middle, and resume."""
    folder = rows / "killed"
    process = subprocess.Popen([sys.executable, "-m", *train_flags(rows, "killed", "-q")], cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None and latest(folder) is None:
        time.sleep(0.02)
    time.sleep(2.0)
    process.kill()
    process.wait()
    stopped = latest(folder)
    assert stopped is not None and stopped.name < "step-0000100"
    command("-m", "finetune", "resume", "--output-dir", str(folder))
    return folder


def test_a_run_that_was_killed_and_resumed_is_the_run_that_was_not(whole: Path, killed: Path) -> None:
    one, two = (load_file(folder / "last" / "adapter_model.safetensors") for folder in (whole, killed))
    assert one.keys() == two.keys() and all((one[name] == two[name]).all() for name in one)
    figures = [[line for line in read_journal(folder) if "eval/score" in line] for folder in (whole, killed)]
    assert [line["eval/score"] for line in figures[0]] == [line["eval/score"] for line in figures[1]]
    assert figures[0][0]["step"] == 0 and figures[0][0]["eval/score"] < 0.1 and max(line["eval/score"] for line in figures[0]) > 0.85


def test_the_adapter_and_the_merged_model_answer_alike_and_chat(killed: Path) -> None:
    command("-m", "finetune", "merge", str(killed / "best"), "-o", str(killed / "merged"))
    clips = [clip for number in range(6) for clip in ("-a", str(killed.parent / "dev" / f"{number:03d}.wav"))]
    answers = [command("chat_cli.py", "-q", "-m", str(killed / name), *clips, "--task", SENTENCE) for name in ("best", "merged")]
    assert answers[0] == answers[1]
    assert sum(one == wanted for one, wanted in zip(answers[0].split(), ["rising", "falling", "level"] * 2, strict=True)) >= 5
    assert command("chat_cli.py", "-q", "-m", str(killed / "merged"), "-a", "examples/seven.wav", "-p", "What digit is said?").strip()


@pytest.mark.parametrize("kind", ["zero2", "zero3"])
def test_the_same_goes_through_two_ranks_under_deepspeed(rows: Path, kind: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port, "-m"]
    often = ["--max-steps", "60", "--eval-steps", "30", "--save-steps", "30", "--no-eval-on-start"]
    flags = train_flags(rows, kind, "--deepspeed", kind, *often)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    started = [sys.executable, *launcher, *flags]
    done = subprocess.run(started, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, done.stderr[-4000:]
    state = read_state(rows / kind / "last")
    assert (state["ranks"], state["optimiser"], state["step"]) == (2, kind, 60)
    assert max(line.get("eval/score", 0.0) for line in read_journal(rows / kind)) > 0.6
    command("-m", "finetune", "merge", str(rows / kind / "best"), "-o", str(rows / kind / "merged"))
    clip = str(rows / "dev" / "000.wav")
    said = command("chat_cli.py", "-q", "-m", str(rows / kind / "merged"), "-a", clip, "--task", SENTENCE, "--json")
    assert json.loads(said)["text"] in ("rising", "falling", "level")
