"""One step among ranks and micro-batches; runs that are stopped, killed or out of room."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from prepared_tree import write_tree  # type: ignore[import-not-found]
from safetensors.torch import load_file
from torch import Tensor
from training_tree import run_config  # type: ignore[import-not-found]

import finetune.checkpoint
import finetune.steps
import finetune.train
from data.mixture.batches import global_batches
from finetune.backend import check_place, device_of, open_backend
from finetune.checkpoint import latest, random_state, read_state, restore_random
from finetune.config import resumed_config
from finetune.devices import Single
from finetune.learner import idle_row, micro_of
from finetune.loading import Loader, Share, cut, plan_of
from finetune.run import Run, loader, prepare
from finetune.steps import AMOUNTS, TrainingError, count_steps, take_step
from finetune.train import train
from finetune.zero import Zero
from qwen_audio.errors import CheckpointError, ConfigError, DataError
from qwen_audio.tokenizer import Tokenizer

AUXILIARY = {"ctc_weight": 0.3, "class_weight": 0.3}


@pytest.fixture
def tree(tmp_path: Path, tiny_tokenizer: Tokenizer) -> Path:
    write_tree(tmp_path)
    tiny_tokenizer.write_tiktoken(tmp_path / "ranks.tiktoken")
    return tmp_path


def gradients(run: Run, share: Share) -> tuple[dict[str, Tensor], dict[str, float], dict[str, float]]:
    """Take a step of rate 0 and return the gradients that it had, the losses and the amounts."""
    found: dict[str, Tensor] = {}

    def update(rate: float) -> float:
        found.update({name: p.grad.clone() for name, p in run.learner.named_parameters() if p.grad is not None})
        run.backend.forget()
        return 0.0

    run.backend.update = update  # type: ignore[method-assign]
    losses, amounts, _ = take_step(run.backend, run.config, share, 0)
    return found, losses, amounts


def test_a_step_in_micro_batches_is_the_step_at_once(tree: Path) -> None:
    text = {"weights": {"text/*": 3, "*": 1}}
    at_once = prepare(run_config(tree, mixture=text, batch_tokens=2000, **AUXILIARY))
    pieces = prepare(
        run_config(tree, mixture=text, batch_tokens=2000, gradient_accumulation_steps=4, per_device_train_batch_size=2, **AUXILIARY)
    )
    pieces.learner.load_state_dict(at_once.learner.state_dict())
    whole, parts = (next(loader(run).shares(run.data_state)) for run in (at_once, pieces))
    assert len(whole.made) == 1 and len(parts.made) > 3
    learned = {made.batch.learned for made in parts.made if made is not None}
    assert len(learned) > 1  # unequal pieces: a mean of means would be wrong
    wanted, losses, amounts = gradients(at_once, whole)
    found, again, also = gradients(pieces, parts)
    kept = [name for name in AMOUNTS if name != "computed"]
    assert [also[name] for name in kept] == pytest.approx([amounts[name] for name in kept])
    for name in ("loss", "ctc", "class"):
        assert again[name] == pytest.approx(losses[name], abs=1e-6)
    assert wanted.keys() == found.keys()
    assert max(float((wanted[name] - found[name]).abs().max()) for name in wanted) < 1e-6


def test_a_turn_without_rows_touches_every_weight_and_changes_none(tree: Path) -> None:
    run = prepare(run_config(tree, **AUXILIARY))
    share = next(loader(run).shares(run.data_state))
    wanted, losses, _ = gradients(run, share)
    found, again, _ = gradients(run, Share([*share.made, None], share.state))
    assert again["loss"] == losses["loss"] and found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    run.backend.backward(micro_of(None, run.learner.model.config), (1.0, 1.0, 1.0), last=True)
    assert all(p.grad is not None and not p.grad.any() for p in run.learner.parameters())


@pytest.mark.parametrize("packing", [False, True])
def test_a_batch_of_text_alone_runs_the_encoder_too_and_has_the_same_loss(tree: Path, packing: bool) -> None:
    run = prepare(run_config(tree, mixture={"weights": {"text/*": 1, "*": 0}}, packing=packing))
    made = next(loader(run).shares(run.data_state)).made[0]
    assert made is not None and not len(made.batch.frames)
    micro = micro_of(made, run.learner.model.config)
    sums, _ = run.backend.backward(micro, (1.0, 0.0, 0.0), last=True)
    grads = {name: p.grad for name, p in run.learner.named_parameters()}
    assert all(grad is not None for grad in grads.values())
    assert not any(grad is not None and grad.any() for name, grad in grads.items() if name.startswith("model.encoder"))
    batch = made.batch
    alone = run.learner.model(batch.token_ids, segment=batch.segment, positions=batch.positions, labels=batch.labels)
    assert alone.loss is not None
    assert sums[0].item() == pytest.approx(alone.loss.item() * alone.n_learned, rel=1e-6)


def test_a_row_for_nothing_is_no_longer_than_it_must_be(tree: Path) -> None:
    run = prepare(run_config(tree))
    row = idle_row(run.learner.model.config, learned=True)
    output = run.learner.model(row.token_ids, mels=row.mels, frames=row.frames, places=row.places, labels=row.labels)
    assert output.n_learned == 1 and row.token_ids.shape == (1, 5)


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_every_row_of_a_global_batch_is_some_ranks_and_all_take_as_many_turns(tree: Path, ranks: int) -> None:
    config = run_config(tree, per_device_train_batch_size=2)
    run = prepare(config)
    for _, (_, draws) in zip(range(5), global_batches(run.mixture, plan_of(config)), strict=False):
        cuts = [cut(draws, config, rank, ranks) for rank in range(ranks)]
        given = [draw.position for share in cuts for part in share for draw in part]
        assert sorted(given) == sorted(draw.position for draw in draws)
        assert all(len(part) <= 2 for share in cuts for part in share)


def test_epochs_are_counted_in_draws(tree: Path) -> None:
    run = prepare(run_config(tree))
    rows = sum(unit.rows for unit in run.mixture.units)
    config = run_config(tree, max_steps=0, num_train_epochs=4)
    steps = count_steps(config, run.mixture)
    given = [len(draws) for _, draws in global_batches(run.mixture, plan_of(config), quotas=run.mixture.quotas(4 * rows))]
    assert len(given) == steps and sum(given) == 4 * rows
    assert count_steps(run_config(tree, max_steps=9), run.mixture) == 9


def test_very_many_draws_are_judged_by_the_first(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, config = prepare(run_config(tree)), run_config(tree, max_steps=0, num_train_epochs=40)
    exact = count_steps(config, run.mixture)
    monkeypatch.setattr(finetune.steps, "COUNTED", 200)
    assert count_steps(config, run.mixture) == pytest.approx(exact, rel=0.15)


def test_more_epochs_are_more_rows_of_the_same_run(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    def rows(run: Run) -> float:
        shares = loader(run).shares(run.data_state)
        return sum(len(made.records) for share in shares for made in share.made if made is not None)

    settings = run_config(tree, max_steps=0, num_train_epochs=1.0)
    wanted = rows(prepare(settings))
    train(settings)
    again = resumed_config({"output_dir": str(tree / "run"), "num_train_epochs": 2.0})
    assert rows(prepare(again)) == wanted  # those of the second epoch
    assert rows(prepare(replace(again, resume_from_checkpoint="none"))) == 2 * wanted
    first = latest(tree / "run")
    train(again)
    second = latest(tree / "run")
    assert first is not None and second is not None and "the rows end" not in caplog.text
    assert read_state(second)["length"][0] == int(second.name[5:]) > int(first.name[5:])
    train(again)
    assert latest(tree / "run") == second


def test_one_run_at_a_time_writes_into_a_folder(tree: Path) -> None:
    train(run_config(tree, max_steps=3))
    handle = os.open(tree / "run", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(ConfigError, match="another run is writing there; name another folder"):
        train(run_config(tree))
    os.close(handle)
    train(run_config(tree))


def test_a_stage_that_finds_nothing_to_learn_says_so(tree: Path) -> None:
    only = {"weights": {"sounds/sound_event": 1.0, "*": 0.0}}
    with pytest.raises(TrainingError, match="100 batches in a row hold nothing that stage encoder learns"):
        train(run_config(tree, stage="encoder", ctc_weight=1.0, mixture=only))


def test_a_loader_that_fails_ends_a_run_that_is_saved(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Loader.shares

    def broken(self: Loader, state: Any) -> Iterator[Share]:
        yield from islice(shares(self, state), 2)
        raise DataError("m.jsonl:3: broken")

    with monkeypatch.context() as patch:
        patch.setattr(Loader, "shares", broken)
        with pytest.raises(DataError, match="broken"):
            train(run_config(tree, save_steps=100))
    found = latest(tree / "run")
    assert found is not None and found.name == "step-0000002"
    train(run_config(tree, save_steps=100))
    train(run_config(tree, save_steps=100, output_dir=str(tree / "whole")))
    assert same(latest(tree / "whole"), latest(tree / "run"))


def test_rows_that_end_before_their_step_end_the_run(tree: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    shares = Loader.shares
    monkeypatch.setattr(Loader, "shares", lambda self, state: islice(shares(self, state), 4))
    train(run_config(tree, save_steps=100))
    found = latest(tree / "run")
    assert found is not None and found.name == "step-0000004" and "the rows end at step 4 of 6" in caplog.text


def adapted(tree: Path, **changes: Any) -> Any:
    """Describe a run of adapters beside what the run "base" has learned."""
    beside = {"model": str(tree / "base/last"), "encoder": None, "decoder": None, "ranks": "", "lora_r": 2}
    return run_config(tree, **({"output_dir": str(tree / "lora")} | beside | changes))


def test_adapters_go_on_beside_the_weights_and_with_the_scale_they_began_with(tree: Path) -> None:
    train(run_config(tree, output_dir=str(tree / "base"), max_steps=3))
    train(adapted(tree, max_steps=3))
    with pytest.raises(CheckpointError, match=r"lora_alpha is 16\.0 there and 64\.0 here; take --lora-alpha 16\.0"):
        train(adapted(tree, lora_alpha=64.0))
    train(run_config(tree, output_dir=str(tree / "base")))
    with pytest.raises(CheckpointError, match=r"learned beside other weights than .*last holds; name the model that"):
        train(adapted(tree))


def test_what_is_dropped_by_chance_is_the_same_after_a_stop(tree: Path) -> None:
    train(run_config(tree, output_dir=str(tree / "base"), max_steps=3))
    train(adapted(tree, lora_dropout=0.5))
    train(adapted(tree, lora_dropout=0.5, output_dir=str(tree / "again"), resume_from_checkpoint=str(tree / "lora/step-0000003")))
    one, other = (load_file(tree / name / "step-0000006/adapter_model.safetensors") for name in ("lora", "again"))
    assert one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_ranks_that_do_not_know_of_each_other_are_refused() -> None:
    class Lost(Single):
        """What accelerate takes each process for without an accelerator: the only one."""

    backend = Lost.__new__(Lost)
    with pytest.raises(ConfigError, match=r"started 2 processes, their group holds \[0\]"):
        check_place(backend, 2)
    check_place(backend, 1)


def test_deepspeed_is_asked_for_no_optimiser_and_no_schedule_of_its_own(tree: Path) -> None:
    backend = Zero.__new__(Zero)
    backend.config, backend.level = run_config(tree, deepspeed="zero3", offload=True, max_grad_norm=0.5), 3
    settings = backend.settings()
    assert not {"optimizer", "scheduler"} & settings.keys()
    assert settings["zero_allow_untested_optimizer"] and not settings["zero_force_ds_cpu_optimizer"]
    assert settings["gradient_accumulation_steps"] == 1 and settings["gradient_clipping"] == 0.5
    assert settings["zero_optimization"]["offload_param"] == {"device": "cpu"}


def test_a_process_without_a_launcher_is_alone_on_its_device(tree: Path) -> None:
    with open_backend(run_config(tree)) as backend:
        assert (backend.rank, backend.ranks, backend.gather("x"), backend.sum([1.0])) == (0, 1, ["x"], [1.0])
        assert backend.device == device_of(run_config(tree), 0) == torch.device("cpu")


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int, act: Callable[[], Any]) -> None:
    """Let something happen in the middle of a run's step number `at`."""
    steps = []

    def step(*given: Any, **also: Any) -> Any:
        steps.append(1)
        if len(steps) == at:
            act()
        return take_step(*given, **also)

    monkeypatch.setattr(finetune.train, "take_step", step)


@contextmanager
def stopping() -> Iterator[list[Any]]:
    """Give the codes of the exits that happen inside."""
    codes: list[Any] = []
    try:
        yield codes
    except SystemExit as left:
        codes.append(left.code)


def same(one: Path | None, other: Path | None) -> bool:
    assert one is not None and other is not None
    files = ("model.safetensors", "optimiser.safetensors")
    pairs = [(load_file(one / name), load_file(other / name)) for name in files]
    return all(first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first) for first, second in pairs)


def test_a_run_that_is_terminated_saves_what_it_has_and_goes_on_exactly(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(run_config(tree, output_dir=str(tree / "whole")))
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        interrupted(patch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit) as left:
            train(run_config(tree))
    assert left.value.code == 143 and signal.getsignal(signal.SIGTERM) == before
    found = latest(tree / "run")
    assert found is not None and found.name in ("step-0000002", "step-0000003")  # the signal is seen between two steps
    train(run_config(tree))
    assert same(latest(tree / "whole"), latest(tree / "run"))


@pytest.fixture
def heard() -> Iterator[None]:
    """Let Ctrl-C count: a shell that starts the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_saves_what_there_is_and_a_second_one_leaves_at_once(tree: Path, monkeypatch: pytest.MonkeyPatch, heard: None) -> None:
    with monkeypatch.context() as patch:
        interrupted(patch, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(SystemExit) as left:
            train(run_config(tree))
    found = latest(tree / "run")
    assert left.value.code == 130 and found is not None and found.name in ("step-0000002", "step-0000003")

    def twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        interrupted(patch, 2, twice)
        with pytest.raises(KeyboardInterrupt):
            train(run_config(tree, max_steps=9))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_terminal_that_closes_ends_a_run_saved_unless_it_is_to_be_ignored(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        for handler, steps in ((signal.SIG_IGN, 4), (signal.SIG_DFL, 2)):
            signal.signal(signal.SIGHUP, handler)
            with monkeypatch.context() as patch, stopping() as code:
                interrupted(patch, 2, lambda: os.kill(os.getpid(), signal.SIGHUP))
                train(run_config(tree, max_steps=4, resume_from_checkpoint="none"))
            found = latest(tree / "run")
            assert found is not None and code == ([] if handler == signal.SIG_IGN else [129])
            assert found.name in (f"step-{steps:07d}", f"step-{min(4, steps + 1):07d}")
            assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_that_has_ended_takes_no_further_step(tree: Path) -> None:
    train(run_config(tree, max_steps=3))
    written = (tree / "run" / "log.jsonl").read_text(encoding="utf-8")
    assert f"{tree / 'run' / 'last'}: 3 steps" in train(run_config(tree, max_steps=3))
    assert (tree / "run" / "last").resolve() == latest(tree / "run")
    assert (tree / "run" / "log.jsonl").read_text(encoding="utf-8") == written


def test_a_full_disk_leaves_the_last_checkpoint_and_says_so(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(run_config(tree, max_steps=3))

    def full(*given: Any, **also: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(finetune.checkpoint, "save", full)
        with pytest.raises(
            CheckpointError, match=r"step 6 cannot be saved \(.*No space left.*step-0000003 stays, go on from it with resume"
        ):
            train(run_config(tree))
    assert sorted(path.name for path in (tree / "run").glob("step-*")) == ["step-0000003"]
    train(run_config(tree))
    train(run_config(tree, output_dir=str(tree / "whole")))
    assert same(latest(tree / "whole"), latest(tree / "run"))


def test_a_device_without_room_is_told_of_with_the_mend(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    interrupted(monkeypatch, 4, full)
    with pytest.raises(TrainingError, match=r"step 4: the device has no room for \d+ rows at once; lower --per-device.*2.00 GiB.\)$"):
        train(run_config(tree))
    assert latest(tree / "run") == tree / "run" / "step-0000003"


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(run_config(tree, max_steps=3))
    for name in ("_write_model", "random_state", "_to_disk"):

        def killed(*given: Any, **also: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(finetune.checkpoint, name, killed)
            with pytest.raises(KeyboardInterrupt):
                train(run_config(tree))
        found = latest(tree / "run")
        assert found is not None and found.name == "step-0000003"
    train(run_config(tree))
    found = latest(tree / "run")
    assert found is not None and found.name == "step-0000006"
    assert not list((tree / "run").glob("*.part"))


def test_generators_of_random_numbers_are_put_back() -> None:
    state = json.loads(json.dumps(random_state()))
    first = (torch.rand(3).tolist(), os.urandom(0))
    restore_random(state)
    assert torch.rand(3).tolist() == first[0]


def test_a_state_of_other_ranks_or_another_kind_is_refused(tree: Path) -> None:
    train(run_config(tree, max_steps=3))
    path = tree / "run" / "step-0000003" / "run.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(state | {"optimiser": "zero2"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="saved by 'zero2', this run's is 'whole': take the same --deepspeed"):
        train(run_config(tree))
    with pytest.raises(CheckpointError, match="no checkpoint of a run"):
        train(run_config(tree, resume_from_checkpoint=str(tree)))
    path.write_text(json.dumps(state), encoding="utf-8")
    assert "3 steps" in train(run_config(tree, max_steps=3, resume_from_checkpoint=str(path.parent)))
