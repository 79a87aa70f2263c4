"""A run on a tiny tree: what it learns, where it stops, how it goes on."""

import json
import threading
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from prepared_tree import write_tree  # type: ignore[import-not-found]
from safetensors.torch import load_file

from data.augment_config import AugmentConfig
from data.batching import collate, prefetch
from data.examples import build_prompt, clip_reader, remembering
from data.groups import split_rows
from data.manifest import AudioRef, Record
from data.mixture.config import mixture_config
from data.mixture.sources import some_records
from data.recipes.prepared import tagged_records
from finetune.auxiliary import Auxiliary, class_table
from finetune.checkpoint import latest
from finetune.config import TrainConfig, train_config
from finetune.release import release
from finetune.run import loader, prepare
from finetune.steps import TrainingError, learning_rate, take_step
from finetune.train import train
from finetune.watch.journal import read_journal
from qwen_audio.config import DecoderConfig, EncoderConfig
from qwen_audio.engine import load
from qwen_audio.errors import CheckpointError, ConfigError, DataError
from qwen_audio.tokenizer import Tokenizer
from tag_schema.tasks import prefix_for
from tag_schema.vocabulary import TagError


@pytest.fixture
def tree(tmp_path: Path, tiny_tokenizer: Tokenizer) -> Path:
    write_tree(tmp_path)
    tiny_tokenizer.write_tiktoken(tmp_path / "ranks.tiktoken")
    return tmp_path


def config(tree: Path, **changes: Any) -> TrainConfig:
    section: dict[str, Any] = {"data_root": str(tree), "sources": [{"prepared": True, "splits": str(tree / "splits"), "pairs": 10}]}
    settings: dict[str, Any] = {
        "ranks": str(tree / "ranks.tiktoken"), "output_dir": str(tree / "run"),
        "encoder": EncoderConfig(width=32, heads=2, layers=1, mlp_width=64),
        "decoder": DecoderConfig(width=32, layers=1, heads=2, kv_heads=2, head_size=16, mlp_width=64, seq_length=512, tied_embeddings=True),
        "custom_tags": {"languages": ["ar"]}, "max_steps": 6, "warmup_steps": 2, "save_steps": 3, "logging_steps": 2, "batch_tokens": 300,
        "mixture": mixture_config(section | {"temperature": float("inf")} | changes.pop("mixture", {})), "optim": "muon", "bf16": False,
        "learning_rate": 1e-3, "ctc_weight": 0.3, "class_weight": 0.3, "packing": False, "augment": AugmentConfig(),
    }  # fmt: skip
    return TrainConfig(**(settings | changes))


def weights(folder: Path | None) -> dict[str, torch.Tensor]:
    assert folder is not None
    return load_file(folder / "model.safetensors") | {f"o.{k}": v for k, v in load_file(folder / "optimiser.safetensors").items()}


def test_a_run_stopped_and_resumed_ends_bit_for_bit_like_one_that_was_not(tree: Path) -> None:
    train(config(tree, output_dir=str(tree / "whole")))
    train(config(tree, resume_from_checkpoint="none"))
    folder = latest(tree / "run")
    assert folder is not None and folder.name == "step-0000006"
    for path in sorted(folder.glob("*")):
        path.unlink()
    folder.rmdir()  # as if killed after step 3
    train(config(tree))
    whole, resumed = weights(latest(tree / "whole")), weights(latest(tree / "run"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_half_written_checkpoint_is_not_gone_on_from(tree: Path) -> None:
    train(config(tree, max_steps=3))
    (tree / "run" / "step-0000009.part").mkdir()
    (tree / "run" / "step-0000008").mkdir()  # a folder without run.json is no checkpoint
    found = latest(tree / "run")
    assert found is not None and found.name == "step-0000003"


def test_the_loss_falls_and_the_log_says_so(tree: Path) -> None:
    train(config(tree, max_steps=40, learning_rate=5e-3, save_steps=40, logging_steps=10))
    lines = read_journal(tree / "run")
    assert [line["step"] for line in lines] == [10, 20, 30, 40]
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    assert lines[0]["audio_s_per_s"] > 0 and 0 <= lines[0]["padding"] < 1


def test_a_gradient_is_clipped_to_its_norm_and_with_0_not_at_all(tree: Path) -> None:
    moved = {}
    for norm in (0.0, 1e9, 1e-9):
        run = prepare(config(tree, max_grad_norm=norm, optim="adamw", weight_decay=0.0, adam_epsilon=1e-3))
        before = {name: value.clone() for name, value in run.learner.state_dict().items()}
        take_step(run.backend, run.config, next(loader(run).shares(run.data_state)), 0)
        moved[norm] = {name: value - before[name] for name, value in run.learner.state_dict().items()}
    assert all(torch.equal(moved[0.0][name], moved[1e9][name]) for name in moved[0.0])
    largest = {norm: max(float(change.abs().max()) for change in changes.values()) for norm, changes in moved.items()}
    assert largest[1e-9] < 1e-3 * largest[0.0]


def test_the_folder_of_a_run_is_no_checkpoint_and_a_warm_up_past_the_end_is_told(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(config(tree, max_steps=2, warmup_steps=5))
    assert "warmup_steps is 5: in 2 steps the rate never reaches its peak" in caplog.text
    with pytest.raises(CheckpointError, match=r"the folder of a training run, .*; name .*/run/last$"):
        load(str(tree / "run"))


@pytest.mark.parametrize("place", ["a file", "a file/run"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_loaded(tree: Path, place: str) -> None:
    (tree / "a file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"output_dir .*a file.* cannot be written .*; name another folder"):
        train(config(tree, output_dir=str(tree / place), model="/nowhere"))


def test_a_released_run_loads_and_answers_with_its_custom_tags(tree: Path) -> None:
    train(config(tree, max_steps=3))
    assert "bfloat16" in release(tree / "run", tree / "mini")
    engine = load(str(tree / "mini"))
    assert engine.tokenizer.custom.languages == ("ar",)
    assert engine.generation.greedy
    assert engine.task(str(tree / "digits/audio/7.wav"), "asr").heard_s == (0.5,)
    stored = load_file(tree / "mini" / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.bfloat16}


def test_weights_are_refused_with_ranks_that_they_were_not_trained_with(tree: Path) -> None:
    train(config(tree, max_steps=3))
    release(tree / "run", tree / "mini")
    ranks = tree / "mini" / "ranks.tiktoken"
    lines = ranks.read_text(encoding="ascii").splitlines()
    first, second = lines[65].split()[0], lines[66].split()[0]
    lines[65], lines[66] = f"{second} 65", f"{first} 66"  # as many ranks, two letters exchanged
    ranks.write_text("\n".join(lines) + "\n", encoding="ascii")
    with pytest.raises(CheckpointError, match="trained with other ranks"):
        load(str(tree / "mini"))


def test_releasing_or_starting_from_nothing_is_refused(tree: Path) -> None:
    with pytest.raises(ConfigError, match="no checkpoint of a run"):
        release(tree / "nowhere", tree / "out")
    with pytest.raises(ConfigError, match="nothing to train on"):
        train_config(None, {})
    with pytest.raises(ConfigError, match="data_root is not set"):
        train_config("finetune/configs/mini_cpu_1_encoder.yaml", {})
    path = tree / "c.yaml"
    path.write_text("learning_rates: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown setting learning_rates"):
        train_config(path, {"train_file": ["x.jsonl"]})


def test_starting_weights_of_another_shape_are_refused(tree: Path) -> None:
    train(config(tree, max_steps=3))
    folder = latest(tree / "run")
    wider = EncoderConfig(width=48, heads=2, layers=1, mlp_width=64)
    with pytest.raises(ConfigError, match="is not the one that this section describes"):
        prepare(config(tree, model=str(folder), encoder=wider, output_dir=str(tree / "next")))
    assert prepare(config(tree, model=str(folder), encoder=None, decoder=None, ranks="", output_dir=str(tree / "next"))).step == 0


def test_other_ranks_than_the_starting_checkpoints_are_refused(tree: Path) -> None:
    train(config(tree, max_steps=3))
    with pytest.raises(CheckpointError, match=r"were trained with .*; leave `ranks` out"):
        prepare(config(tree, model=str(latest(tree / "run")), ranks="qwen_audio/mini/ranks.tiktoken", output_dir=str(tree / "next")))


def test_new_tags_take_slots_behind_those_of_the_starting_checkpoint(tree: Path) -> None:
    train(config(tree, max_steps=3))
    named = {"languages": ["he", "ar"], "instructions": ["bird_species"]}
    run = prepare(config(tree, model=str(latest(tree / "run")), custom_tags=named, output_dir=str(tree / "next")))
    assert run.tokenizer.custom.to_mapping() == {"<|ar|>": 0, "<|he|>": 1, "<|bird_species|>": 2}
    with pytest.raises(TagError, match="colours"):
        prepare(config(tree, custom_tags={"colours": ["red"]}))


def test_hold_outs_are_not_learned_from(tree: Path) -> None:
    sources = [{"prepared": True, "splits": str(tree / "splits"), "pairs": 100}]
    run = prepare(config(tree, mixture={"sources": sources, "hold_out": ["speaker=george", "dataset=sounds"]}))
    assert {record.dataset for record in some_records(run.mixture)} == {"notes", "speech", "pairs", "text"}
    assert {unit.group.split("/")[0] for unit in run.mixture.units} == {"notes", "speech", "pairs", "text"}


def manifest(tree: Path, copies: int) -> Path:
    """Write rows of the user's own: tones that are files of their own, and their names."""
    rows = []
    for number in range(copies):
        (tree / f"{number}.wav").write_bytes((tree / "digits/audio/7.wav").read_bytes())
        rows.append({"id": f"r{number}", "audio": f"{number}.wav", "task": "sound_event", "text": "tone"})
    path = tree / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


def test_a_users_own_file_is_trained_on_through_its_index(tree: Path) -> None:
    path = manifest(tree, 30)
    train(config(tree, mixture={"sources": [str(path)], "data_root": ""}))
    assert (tree / "own.jsonl.index").is_dir() and not (tree / "run" / "ledger.jsonl").exists()
    state = json.loads((tree / "run" / "step-0000006" / "run.json").read_text(encoding="utf-8"))["data"]
    assert state["position"] - len(state["held"]) == 6 * 12  # 14 of audio, 6 tags, 4 letters, the end: 12 rows in 300


def test_a_clip_that_breaks_after_it_was_admitted_is_left_out_and_accounted_for(tree: Path) -> None:
    path = manifest(tree, 30)
    settings = config(tree, mixture={"sources": [str(path)], "data_root": "", "max_lost": 0.5})
    prepare(settings)
    sound = (tree / "3.wav").read_bytes()
    (tree / "3.wav").write_bytes(sound[:200])
    train(settings)
    entries = [json.loads(line) for line in (tree / "run" / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {(entry["id"], entry["reason"]) for entry in entries} == {("r3", "corrupt")}
    assert {entry["where"] for entry in entries} == {f"{path}:4"}
    with pytest.raises(DataError, match=r"this run: 1 of \d+ rows are lost \(1 corrupt\), more than the 0.0% allowed"):
        train(config(tree, mixture={"sources": [str(path)], "data_root": "", "max_lost": 0.0}, output_dir=str(tree / "strict")))


def test_a_run_refuses_a_file_of_which_too_much_is_lost(tree: Path) -> None:
    path = manifest(tree, 30)
    (tree / "3.wav").unlink()
    with pytest.raises(DataError, match=r"own.jsonl: 1 of 30 rows are lost \(1 no_file\), more than the 1.0% allowed"):
        prepare(config(tree, mixture={"sources": [str(path)], "data_root": ""}))


def test_a_run_goes_on_with_its_own_seed_alone(tree: Path) -> None:
    train(config(tree, max_steps=3))
    with pytest.raises(ConfigError, match="seed is 7, the checkpoint's is 0"):
        train(config(tree, seed=7))


@pytest.mark.parametrize("path", sorted(Path("finetune/configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_configs_are_valid(path: Path) -> None:
    found = train_config(path, {"data_root": "x", "max_steps": 5, "hold_out": ["speaker=a"], "train_file": ["more.jsonl"]})
    assert found.max_steps == 5 and found.mixture.hold_out == ("speaker=a",)
    assert found.blend.sources[-1].name == "more.jsonl"
    if path.stem.startswith("mini_cpu_"):
        assert found.mixture.temperature == float("inf") and found.augment is not None and found.augment.gain_db == 6.0
        assert found.model or (found.decoder is not None and found.decoder.tied_embeddings)


def test_the_rate_warms_up_and_falls_to_its_minimum(tree: Path) -> None:
    settings = config(tree, max_steps=100, warmup_steps=10, learning_rate=1.0, min_learning_rate=0.1)
    rates = [learning_rate(settings, done) for done in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0) and rates[100] == pytest.approx(0.1)
    assert all(one > two for one, two in pairwise(rates[10:]))
    linear, constant = (replace(settings, lr_scheduler_type=name) for name in ("linear", "constant"))  # type: ignore[arg-type]
    assert [learning_rate(linear, done) for done in (9, 10, 55, 100)] == pytest.approx([1.0, 1.0, 0.55, 0.1])
    assert {learning_rate(constant, done) for done in range(9, 101)} == {1.0}


def test_a_batch_holds_what_its_prompts_hold(tree: Path) -> None:
    run = prepare(config(tree))
    rows = split_rows(tree, tree / "splits", "train")
    records = [record for row in rows for record in tagged_records(row)]
    read = remembering(clip_reader(tree))
    prompts = [build_prompt(record, run.tokenizer, read) for record in records]
    batch = collate(prompts, run.learner.model.config, run.tokenizer.end_of_text)
    for row, prompt in enumerate(prompts):
        n = len(prompt.token_ids)
        assert batch.token_ids[row, :n].tolist() == prompt.token_ids
        assert (batch.segment[row] > 0).sum() == n
        assert [int(i) for i in batch.labels[row, :n]] == [t if f else -100 for t, f in zip(prompt.token_ids, prompt.learned, strict=True)]
    assert batch.learned == sum(sum(prompt.learned) for prompt in prompts)
    assert len(batch.mels) == int(batch.frames.sum()) and len(batch.places) == len(batch.frames) == len(records)


def test_padding_and_neighbours_change_no_loss(tree: Path) -> None:
    run = prepare(config(tree))
    model = run.learner.model.double()
    rows = split_rows(tree, tree / "splits", "train")
    prompts = [build_prompt(record, run.tokenizer, clip_reader(tree)) for row in rows for record in tagged_records(row)[:1]]

    def total(chosen: list[Any]) -> float:
        batch = collate(chosen, run.learner.model.config, run.tokenizer.end_of_text)
        output = model(
            batch.token_ids, mels=batch.mels.double(), frames=batch.frames, places=batch.places, segment=batch.segment,
            positions=batch.positions, labels=batch.labels,
        )  # fmt: skip
        assert output.loss is not None
        return output.loss.item() * output.n_learned

    assert total(prompts) == pytest.approx(sum(total([prompt]) for prompt in prompts), rel=1e-6)


def test_ctc_agrees_with_a_sum_over_alignments() -> None:
    # Two frames, one byte: the paths are (b, b), (blank, b), (b, blank).
    heads = Auxiliary(4, class_table([]))
    states = torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(0))
    owner = Record("a", (AudioRef("a"),), "a", "asr", prefix_for("asr"))
    ctc, _ = heads(states, torch.tensor([2]), [owner])
    p = heads.ctc(heads.norm(states))[0].softmax(-1)
    b, blank = ord("a") + 1, 0
    expected = -torch.log(p[0, b] * p[1, b] + p[0, blank] * p[1, b] + p[0, b] * p[1, blank])
    assert ctc.item() == pytest.approx(expected.item(), rel=1e-5)


def test_heads_inherit_the_classes_they_share() -> None:
    first, second = Auxiliary(4, {"a/x": 0, "a/y": 1}), Auxiliary(4, {"a/w": 0, "a/y": 1, "a/x": 2})
    before = second.classify.weight[0].clone()
    second.inherit(first.state_dict(), first.classes)
    assert torch.equal(second.classify.weight[2], first.classify.weight[0]) and torch.equal(second.classify.bias[1], first.classify.bias[1])
    assert torch.equal(second.classify.weight[0], before)
    assert torch.equal(second.ctc.weight, first.ctc.weight)


def test_classes_compete_only_within_their_family(tree: Path) -> None:
    records = [record for row in split_rows(tree, tree / "splits", "train") for record in tagged_records(row)]
    table = class_table(records, fewest=1)
    heads = Auxiliary(4, table)
    states = torch.zeros(1, 3, 4)
    owner = next(record for record in records if record.family == "instrument")
    _, loss = heads(states, torch.tensor([3]), [owner])
    assert len([name for name in table if name.startswith("instrument/")]) == 1
    assert loss.item() == pytest.approx(0.0)  # the only instrument: nothing to be wrong about


def test_an_error_in_the_loader_reaches_the_loop(tree: Path) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield 1
        raise DataError("m.jsonl:3: broken")

    items = prefetch(broken)
    assert next(items) == 1
    with pytest.raises(DataError, match=r"m\.jsonl:3"):
        next(items)
    assert list(prefetch(lambda: iter(range(5)), depth=2)) == list(range(5))


def test_a_loader_that_is_closed_early_leaves_no_thread_behind() -> None:
    items = prefetch(count, depth=2)
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_a_loss_that_is_no_number_ends_the_run_and_names_the_rows(tree: Path) -> None:
    run = prepare(config(tree))
    share = next(loader(run).shares(run.data_state))
    made = share.made[0]
    assert made is not None
    made.batch.mels.fill_(float("nan"))
    before = {name: value.clone() for name, value in run.learner.state_dict().items()}
    with pytest.raises(TrainingError, match=rf"step 1: the loss is not a number \(rows .*{made.records[0].id}.*lower --learning-rate"):
        take_step(run.backend, run.config, share, 0)
    assert all(torch.equal(before[name], value) for name, value in run.learner.state_dict().items())
    assert not any(p.grad is not None for p in run.learner.parameters())
