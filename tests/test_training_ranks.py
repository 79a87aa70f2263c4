"""Two ranks on the CPU learn what one learns, to rounding; runs end alike whether they were interrupted or not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from prepared_tree import write_tree  # type: ignore[import-not-found]
from safetensors.torch import load_file

from finetune.checkpoint import latest, read_state
from finetune.config import TrainConfig
from finetune.train import train
from finetune.watch.journal import read_journal
from qwen_audio.config import from_mapping
from qwen_audio.tokenizer import Tokenizer

DRIVER = Path(__file__).with_name("rank_driver.py")
SIZES = {"width": 32, "heads": 2, "layers": 1, "mlp_width": 64}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> Path:
    root = tmp_path_factory.mktemp("tree")
    write_tree(root)
    tiny_tokenizer.write_tiktoken(root / "ranks.tiktoken")
    return root


def settings(tree: Path, name: str, **changes: Any) -> dict[str, Any]:
    """Describe a run in which a rank computes one row at a time: some of text alone, some with sound, more on one rank than the other."""
    source = {"prepared": True, "splits": str(tree / "splits"), "pairs": 10}
    mixture = {"data_root": str(tree), "sources": [source], "temperature": float("inf"), "weights": {"text/*": 3, "*": 1}}
    return {
        "mixture": mixture, "output_dir": str(tree / name), "ranks": str(tree / "ranks.tiktoken"), "encoder": SIZES,
        "decoder": SIZES | {"kv_heads": 2, "head_size": 16, "seq_length": 512}, "max_steps": 4, "warmup_steps": 1, "save_steps": 2,
        "logging_steps": 1, "learning_rate": 1e-3, "batch_tokens": 300, "batch_rows": 5, "per_device_train_batch_size": 1, "bf16": False,
        "adam_epsilon": 1e-3,  # a step of Adam magnifies the rounding of gradients that are almost zero
        "save_total_limit": 9, "use_cpu": True, "augment": {},
    } | changes  # fmt: skip


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def on_two_ranks(tree: Path, runs: list[dict[str, Any]]) -> None:
    """Train on lists of settings in turn, in two processes started as a launcher starts them."""
    on_ranks(2, tree, runs)


def on_ranks(ranks: int, tree: Path, runs: list[dict[str, Any]], timeout: float = 280.0) -> None:
    """Train on lists of settings in turn among so many processes."""
    path = tree / "runs.json"
    path.write_text(json.dumps(runs), encoding="utf-8")
    port = free_port()
    place = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    place["TORCH_EXTENSIONS_DIR"] = str(tree / "compiled")
    path_of = {"PYTHONPATH": str(DRIVER.parent.parent)}
    started = [
        subprocess.Popen(
            [sys.executable, str(DRIVER), str(path)], env=os.environ | place | path_of | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in map(str, range(ranks))
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=timeout)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert not list((tree / "compiled").rglob("*.so")), "DeepSpeed compiled something: minutes, and a compiler that a user may not have"
    assert [process.returncode for process in started] == [0] * ranks, "\n".join(said)[-6000:]


def weights(folder: Path | None) -> dict[str, torch.Tensor]:
    assert folder is not None
    return load_file(folder / "model.safetensors")


def apart(one: Path | None, other: Path | None) -> float:
    """Return the largest difference of two checkpoints' weights."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.fixture(scope="module")
def alone(tree: Path) -> Path:
    """Train in one process that computes a global batch at once."""
    train(from_mapping(TrainConfig, settings(tree, "alone", per_device_train_batch_size=0)))
    return tree / "alone"


def whole_and_cut(tree: Path, name: str, **changes: Any) -> list[dict[str, Any]]:
    """Describe a run, and one that goes on from its second step as a kill would have left it."""
    cut = settings(tree, f"{name}-cut", **changes)
    return [{"settings": settings(tree, name, **changes)}, {"settings": cut, "after": str(tree / name)}]


def test_two_ranks_in_small_pieces_learn_what_one_process_learns_at_once(tree: Path, alone: Path) -> None:
    on_two_ranks(tree, whole_and_cut(tree, "ddp"))
    assert apart(latest(alone), latest(tree / "ddp")) < 1e-6
    assert apart(latest(tree / "ddp"), latest(tree / "ddp-cut")) == 0.0
    rates = [[line["lr"] for line in read_journal(folder)] for folder in (alone, tree / "ddp")]
    assert rates[0] == rates[1] and len(rates[0]) == 4  # a schedule that goes once per rank would be through in half the steps
    one, two = (read_state(folder / "step-0000004") for folder in (alone, tree / "ddp"))
    assert (one["ranks"], two["ranks"]) == (1, 2)
    assert one["data"] == two["data"]


def test_one_process_goes_on_where_two_ranks_stopped(tree: Path, alone: Path) -> None:
    on_two_ranks(tree, [{"settings": settings(tree, "first", max_steps=2, min_learning_rate=1e-3)}])
    train(from_mapping(TrainConfig, settings(tree, "first", min_learning_rate=1e-3)))
    train(from_mapping(TrainConfig, settings(tree, "steady", min_learning_rate=1e-3)))
    assert apart(latest(tree / "first"), latest(tree / "steady")) < 1e-6


def measured(tree: Path, name: str, **changes: Any) -> dict[str, Any]:
    """Describe a run that is measured by six dev rows, of which ranks share unevenly: the odd one has no second clip."""
    dev = tree / "dev.jsonl"
    clips = ["digits/audio/7.wav", "sounds/audio/dog.wav", "speech/audio/s1.wav"]
    rows: list[dict[str, Any]] = [{"id": f"d{n}", "audio": clip, "task": "sound_event", "text": "dog"} for n, clip in enumerate(clips)]
    rows += [{"id": f"t{n}", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]} for n in range(2)]
    dev.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return settings(tree, name, validation_file=[str(dev)], eval_steps=2, **changes)


def dev_figures(tree: Path, name: str) -> list[dict[str, float]]:
    """Return what dev rows said at each measurement of a run, and its answers."""
    lines = [{key: line[key] for key in line if key.startswith("eval/")} for line in read_journal(tree / name)]
    return [line for line in lines if line]


def test_two_ranks_measure_what_one_process_measures(tree: Path) -> None:
    train(from_mapping(TrainConfig, measured(tree, "one-measures", per_device_train_batch_size=0)))
    on_two_ranks(tree, [{"settings": measured(tree, "two-measure")}])
    one, two = (dev_figures(tree, name) for name in ("one-measures", "two-measure"))
    assert len(one) == len(two) == 2
    assert all(theirs == pytest.approx(mine, abs=1e-4) for mine, theirs in zip(one, two, strict=True))
    files = [tree / name / "answers" / "step-0000004.jsonl" for name in ("one-measures", "two-measure")]
    assert files[0].read_text(encoding="utf-8") == files[1].read_text(encoding="utf-8")
    assert (tree / "two-measure" / "best").is_symlink()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero2", "zero3"])
@pytest.mark.parametrize("rank", [0, 4])
def test_weights_that_are_shared_out_answer_as_whole_ones_do(tree: Path, alone: Path, kind: str, rank: int) -> None:
    lora = {"lora_r": rank, "model": str(alone / "step-0000004"), "custom_tags": {"instructions": ["bird_species"]}} if rank else {}
    name = f"shared-measure-{kind}-{rank}"
    if not (tree / f"whole-measure-{rank}").exists():
        train(from_mapping(TrainConfig, measured(tree, f"whole-measure-{rank}", per_device_train_batch_size=0, **lora)))
    on_two_ranks(tree, [{"settings": measured(tree, name, deepspeed=kind, **lora)}])
    mine, theirs = dev_figures(tree, f"whole-measure-{rank}"), dev_figures(tree, name)
    assert len(mine) == 2 and all(two == pytest.approx(one, abs=1e-4) for one, two in zip(mine, theirs, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero1", "zero2", "zero3"])
def test_ranks_under_deepspeed_learn_what_one_process_learns_and_go_on_exactly(tree: Path, alone: Path, kind: str) -> None:
    on_two_ranks(tree, whole_and_cut(tree, kind, deepspeed=kind))
    assert apart(latest(alone), latest(tree / kind)) < 1e-6
    assert apart(latest(tree / kind), latest(tree / f"{kind}-cut")) == 0.0


@pytest.mark.slow
def test_no_stage_waits_for_ever_when_one_rank_has_text_and_the_other_sound(tree: Path) -> None:
    saving = {"gradient_checkpointing": True, "max_steps": 2, "model": str(tree / "alone" / "step-0000002")}
    runs = [
        settings(tree, f"{kind}-{stage}", deepspeed=kind, stage=stage, **saving)
        for kind in ("", "zero2", "zero3")
        for stage in ("pretrain", "sft")
    ]
    train(from_mapping(TrainConfig, settings(tree, "alone", max_steps=2)))
    for kind in ("", "zero2", "zero3"):
        on_two_ranks(tree, [{"settings": run} for run in runs if run["deepspeed"] == kind])
    for stage in ("pretrain", "sft"):
        train(from_mapping(TrainConfig, settings(tree, stage, stage=stage, per_device_train_batch_size=0, packing=False, **saving)))
        for kind in ("", "zero2", "zero3"):
            assert apart(latest(tree / stage), latest(tree / f"{kind}-{stage}")) < 1e-6
        before, after = weights(tree / "alone" / "step-0000002"), weights(latest(tree / stage))
        frozen = {name.split(".")[0] for name in before if torch.equal(before[name], after[name]) and name != "encoder.positions"}
        assert frozen == ({"decoder"} if stage == "pretrain" else {"encoder", "audio_bounds"})


@pytest.mark.slow
def test_a_run_in_bfloat16_with_its_optimiser_in_the_hosts_memory_goes_on_exactly(tree: Path) -> None:
    on_two_ranks(tree, whole_and_cut(tree, "offload", deepspeed="zero3", bf16=True, offload=True))
    assert apart(latest(tree / "offload"), latest(tree / "offload-cut")) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "zero2", "zero3"])
def test_adapters_learn_on_two_ranks_and_go_on_exactly(tree: Path, alone: Path, kind: str) -> None:
    lora = {"lora_r": 4, "model": str(alone / "step-0000004"), "learning_rate": 1e-2}
    one = settings(tree, "lora", per_device_train_batch_size=0, **lora)
    if not (tree / "lora").exists():
        train(from_mapping(TrainConfig, one))
    name = f"lora-{kind}"
    on_two_ranks(tree, whole_and_cut(tree, name, deepspeed=kind, **lora))
    first, *others = (load_file(tree / run / "step-0000004" / "adapter_model.safetensors") for run in ("lora", name, f"{name}-cut"))
    assert all(other.keys() == first.keys() for other in others)
    assert max(float((first[key] - others[0][key]).abs().max()) for key in first) < 1e-6
    assert all(torch.equal(others[0][key], others[1][key]) for key in first)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero2", "zero3"])
def test_a_run_under_deepspeed_goes_on_with_another_number_of_ranks(tree: Path, alone: Path, kind: str) -> None:
    name = f"{kind}-other_number"
    changes = {"deepspeed": kind, "min_learning_rate": 1e-3}
    on_two_ranks(tree, [{"settings": settings(tree, name, max_steps=2, **changes)}])
    on_ranks(1, tree, [{"settings": settings(tree, name, **changes)}])
    train(from_mapping(TrainConfig, settings(tree, f"{name}-steady", min_learning_rate=1e-3)))
    assert apart(latest(tree / name), latest(tree / f"{name}-steady")) < 1e-6
    assert read_state(tree / name / "step-0000004")["ranks"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_both_launchers_start_ranks_that_know_their_place(tree: Path, alone: Path, launcher: str) -> None:
    kind = "" if launcher == "torchrun" else "zero2"
    run = settings(tree, launcher, deepspeed=kind)
    path = tree / f"{launcher}.yaml"
    path.write_text(json.dumps(run), encoding="utf-8")
    started = {
        "torchrun": ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port(), "-m"],
        "deepspeed": ["-m", "deepspeed.launcher.runner", "--num_accelerators", "2", "--master_port", free_port(), "--module"],
    }[launcher]
    command = [sys.executable, *started, "finetune", "train", "--config", str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(command, cwd=DRIVER.parent.parent, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    assert apart(latest(alone), latest(tree / launcher)) < 1e-6
    assert read_state(tree / launcher / "step-0000004")["ranks"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero1", "zero3"])
def test_a_disk_that_is_full_at_one_rank_is_told_of_by_all(tree: Path, kind: str) -> None:
    runs = [{"settings": settings(tree, f"full-{kind}-{rank}", deepspeed=kind), "full": rank} for rank in (0, 1)]
    on_two_ranks(tree, [*runs, {"settings": settings(tree, f"room-{kind}", deepspeed=kind)}])
    assert latest(tree / f"full-{kind}-0") is None and latest(tree / f"full-{kind}-1") is None
    assert latest(tree / f"room-{kind}") == tree / f"room-{kind}" / "step-0000004"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "zero1", "zero2", "zero3"])
def test_a_gradient_that_is_no_number_costs_its_step_alone(tree: Path, kind: str) -> None:
    changes = {"deepspeed": kind, "learning_rate": 1e-2, "warmup_steps": 0}
    on_two_ranks(tree, [{"settings": settings(tree, f"nan-{kind}", **changes), "nan": 1}])
    found = latest(tree / f"nan-{kind}")
    assert found == tree / f"nan-{kind}" / "step-0000004"
    assert all(bool(torch.isfinite(value).all()) for value in weights(found).values())
    assert [line.get("grad_norm", 0.0) > 0 for line in read_journal(found.parent)] == [False, True, True, True]


@pytest.mark.slow
def test_two_nodes_of_one_rank_each_learn_what_one_process_learns(tree: Path, alone: Path) -> None:
    path, port = tree / "nodes.yaml", free_port()
    path.write_text(json.dumps(settings(tree, "nodes")), encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port]
    train_it = ["-m", "finetune", "train", "--config", str(path)]
    nodes = [
        subprocess.Popen(
            [sys.executable, *command, "--node-rank", rank, *train_it], cwd=DRIVER.parent.parent, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    said = [node.communicate(timeout=280)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(said)[-4000:]
    assert apart(latest(alone), latest(tree / "nodes")) < 1e-6
    assert read_state(tree / "nodes" / "step-0000004")["ranks"] == 2


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_was_not(tree: Path) -> None:
    long = {"max_steps": 30, "save_steps": 2, "deepspeed": "", "save_total_limit": 2}
    path = tree / "killed.yaml"
    path.write_text(json.dumps(settings(tree, "killed", **long)), encoding="utf-8")
    command = [sys.executable, "-m", "finetune", "train", "--config", str(path), "-q"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = -1
    for kills in range(100):
        process = subprocess.Popen(command, cwd=DRIVER.parent.parent, env=environment, stdout=subprocess.DEVNULL)
        begun = latest(tree / "killed")
        while process.poll() is None and (latest(tree / "killed") == begun or kills >= 6):
            time.sleep(0.01)
        time.sleep(0.03 * kills)
        process.kill()
        process.wait()
        done = kills
        if (folder := latest(tree / "killed")) is not None and folder.name == "step-0000030":
            break
    assert done >= 3
    train(from_mapping(TrainConfig, settings(tree, "never-killed", **long)))
    assert apart(latest(tree / "killed"), latest(tree / "never-killed")) == 0.0
