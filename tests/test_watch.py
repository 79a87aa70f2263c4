"""How a run is watched: figures of its steps, dev rows measured as it learns, the best kept, curves."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from prepared_tree import write_tree  # type: ignore[import-not-found]
from training_tree import run_config  # type: ignore[import-not-found]

from data.groups import task_of
from data.mixture.config import Source
from eval.metrics.registry import metrics_for
from eval.metrics.sample import Sample
from finetune.backend import open_backend
from finetune.checkpoint import latest, read_state, set_aside
from finetune.devices import Single
from finetune.run import Run, loader, prepare
from finetune.steps import StepTaken, take_step
from finetune.train import train, train_on
from finetune.watch import curves
from finetune.watch.best import Best
from finetune.watch.curves import draw, smooth
from finetune.watch.dev import DevPack, goodness, scored
from finetune.watch.journal import BOARD, Journal, read_journal
from finetune.watch.meter import Meter, console_line, duration
from qwen_audio.engine import Engine
from qwen_audio.errors import ConfigError, DataError
from qwen_audio.tokenizer import Tokenizer

SENTENCE = "<|startofanalysis|><|unknown|><|keyword|><|en|><|notimestamps|><|colour|>"


@pytest.fixture
def tree(tmp_path: Path, tiny_tokenizer: Tokenizer) -> Path:
    write_tree(tmp_path)
    tiny_tokenizer.write_tiktoken(tmp_path / "ranks.tiktoken")
    return tmp_path


def rows(tree: Path, name: str, answers: list[str], **changes: Any) -> str:
    """Write rows of a user's own task over the tree's clips."""
    clips = ["digits/audio/7.wav", "notes/audio/c4.wav", "sounds/audio/dog.wav"]
    lines = [
        {"id": f"{name}{number}", "audio": clips[number % 3], "prompt": SENTENCE, "text": answer, **changes}
        for number, answer in enumerate(answers)
    ]
    path = tree / f"{name}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def watched(tree: Path, **changes: Any) -> Any:
    """Describe a run on rows of a user's own task, measured on dev rows of two tasks."""
    dev = [rows(tree, "dev", ["red", "blue", "red"]), rows(tree, "more", ["seven"] * 2, prompt=None, task="asr", language="en")]
    settings = {
        "mixture": {"sources": [rows(tree, "train", ["red", "blue"] * 6)], "temperature": 1.0},
        "validation_file": tuple(dev), "custom_tags": {"instructions": ["colour"]}, "eval_steps": 2, "max_steps": 6, "save_steps": 100,
    }  # fmt: skip
    return run_config(tree, **(settings | changes))


# Figures of steps -----------------------------------------------------------------------------------------------------------


def test_losses_are_told_apart_by_task_and_add_up(tree: Path) -> None:
    run = prepare(run_config(tree, batch_tokens=1000))
    share = next(share for share in loader(run).shares(run.data_state) if len({*map(task_of, share.made[0].records)}) > 2)  # type: ignore[union-attr]
    taken = take_step(run.backend, run.config, share, 0, tasks=run.tasks)
    made = share.made[0]
    assert made is not None
    present = {task_of(record) for record in made.records}
    assert {task for task, (_, n) in taken.tasks.items() if n} == present
    total, counted = (sum(values[i] for values in taken.tasks.values()) for i in (0, 1))
    assert counted == taken.amounts["learned"] and total / counted == pytest.approx(taken.losses["loss"], rel=1e-5)


def test_a_tasks_loss_is_that_of_its_rows_alone(tree: Path) -> None:
    run = prepare(run_config(tree, batch_tokens=1000, batch_rows=9))
    share = next(share for share in loader(run).shares(run.data_state) if len({*map(task_of, share.made[0].records)}) > 2)  # type: ignore[union-attr]
    (made,) = share.made
    assert made is not None
    batch, model = made.batch, run.learner.model
    wanted = dict.fromkeys(map(task_of, made.records), 0.0)
    for row, record in enumerate(made.records):
        clips = [number for number, place in enumerate(batch.places.tolist()) if place[0] == row]
        audio = [batch.mels.split(batch.frames.tolist())[number] for number in clips]
        places = batch.places[clips] * torch.tensor([0, 1, 1])
        output = model(
            batch.token_ids[[row]], mels=torch.cat([torch.zeros(0, 80), *audio]), frames=batch.frames[clips], places=places,
            segment=batch.segment[[row]], positions=batch.positions[[row]], labels=batch.labels[[row]],
        )  # fmt: skip
        wanted[task_of(record)] += output.loss.item() * output.n_learned
    taken = take_step(run.backend, run.config, share, 0, tasks=run.tasks)
    assert {task: total for task, (total, n) in taken.tasks.items() if n} == pytest.approx(wanted, rel=1e-4)


def taken(**changes: float) -> StepTaken:
    amounts = {"audio_s": 10.0, "positions": 400.0, "rows": 4.0, "real": 600.0, "computed": 800.0, "flops": 1e12, "stop": 0.0}
    return StepTaken({"loss": 2.0, "grad_norm": 1.0}, amounts | changes, {"asr": (30.0, 10.0), "chat": (10.0, 10.0)})


def test_figures_are_means_rates_and_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("finetune.watch.meter.time.monotonic", lambda: clock[0])
    meter = Meter(max_steps=10, peak=4e12)
    meter.add(taken())
    meter.add(StepTaken({"loss": 4.0, "grad_norm": math.inf}, taken().amounts, {"asr": (10.0, 10.0), "chat": (0.0, 0.0)}))
    with meter.paused():
        clock[0] += 50.0
    clock[0] += 2.0
    figures = meter.take(2, 1e-3)
    assert (figures["loss"], figures["grad_norm"]) == (3.0, 1.0)
    assert (figures["loss/asr"], figures["loss/chat"]) == (2.0, 1.0)
    assert (figures["audio_s_per_s"], figures["tokens_per_s"], figures["rows_per_s"]) == (10.0, 400.0, 4.0)
    assert (figures["padding"], figures["tflops_per_s"], figures["mfu"], figures["left_s"]) == (0.25, 1.0, 0.25, 8)
    json.loads(json.dumps(figures, allow_nan=False))
    said = console_line(figures, 10)
    assert "step 2/10 (20 %)" in said and "(asr 2, chat 1)" in said and "padding 25 %" in said and "mfu 25 %" in said and "left 8 s" in said
    meter.add(taken())
    assert "mfu" not in Meter(10).take(1, 1e-3) and meter.take(3, 1e-3)["loss"] == 2.0


@pytest.mark.parametrize(("seconds", "said"), [(8, "8 s"), (89, "89 s"), (600, "10 min"), (11_100, "3 h 05 min")])
def test_durations_are_written_for_people(seconds: float, said: str) -> None:
    assert duration(seconds) == said


# The journal ----------------------------------------------------------------------------------------------------------------


def test_a_disk_that_takes_no_figures_costs_the_figures_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "log.jsonl").mkdir()
    Journal(tmp_path).write({"step": 1})
    assert "figures cannot be written" in caplog.text


def test_what_a_run_took_back_counts_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Journal(tmp_path)
    for step in (1, 2, 3):
        first.write({"step": step, "loss": float(step)})
    again = Journal(tmp_path, 2)
    again.write({"step": 3, "loss": 30.0})
    again.write({"step": 3, "eval/loss": 0.5})
    assert read_journal(tmp_path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": 30.0, "eval/loss": 0.5}]
    Journal(tmp_path).write({"step": 1, "loss": 7.0})
    assert read_journal(tmp_path) == [{"step": 1, "loss": 7.0}]
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as out:
        out.write('{"step": 2, "lo')  # killed while it wrote
    assert len(read_journal(tmp_path)) == 1
    Journal(tmp_path, 1).write({"step": 2, "loss": 8.0})  # behind what was cut off
    assert read_journal(tmp_path) == [{"step": 1, "loss": 7.0}, {"step": 2, "loss": 8.0}]
    assert "log.jsonl:10: not a line of figures" in caplog.text
    (tmp_path / "log.jsonl").write_text('{"st\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"log.jsonl:1: not a line of figures"):
        read_journal(tmp_path)
    with pytest.raises(DataError, match="name the folder of a run"):
        read_journal(tmp_path / "nowhere")


def test_tensorboard_gets_the_same_figures(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    journal = Journal(tmp_path, 0, "tensorboard")
    journal.write({"step": 1, "loss": 2.0, "eval/asr/wer": 0.5})
    journal.close()
    events = reader.EventAccumulator(str(tmp_path / BOARD))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["eval/asr/wer", "run/loss"]
    assert [(event.step, event.value) for event in events.Scalars("eval/asr/wer")] == [(1, 0.5)]


def test_tensorboard_that_is_asked_for_and_missing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    assert Journal(tmp_path, 0, "auto").board is None
    with pytest.raises(ConfigError, match=r"pip install -e '.\[train\]'"):
        Journal(tmp_path, 0, "tensorboard")


# Dev rows -------------------------------------------------------------------------------------------------------------------


def pack(run: Run) -> DevPack:
    assert run.dev is not None
    return run.dev


def test_a_run_is_measured_at_its_steps_and_says_so(tree: Path) -> None:
    said = train(watched(tree, eval_on_start=True))
    lines = [line for line in read_journal(tree / "run") if "eval/score" in line]
    assert [line["step"] for line in lines] == [0, 2, 4, 6]
    assert {"eval/loss", "eval/loss/asr", "eval/loss/colour", "eval/asr/wer", "eval/colour/accuracy", "eval/score"} <= lines[0].keys()
    answers = [json.loads(line) for line in (tree / "run/answers/step-0000006.jsonl").read_text(encoding="utf-8").splitlines()]
    colours = [("colour", text) for text in ("red", "blue", "red")]
    assert [(one["task"], one["target"]) for one in answers] == [("asr", "seven")] * 2 + colours
    assert (tree / "run" / "curves.png").read_bytes()[:4] == b"\x89PNG" and "curves.png" in said


def test_dev_losses_are_those_of_the_rows_one_by_one(tree: Path) -> None:
    run = prepare(watched(tree, per_device_eval_batch_size=4))
    with run.backend.speaker() as model:
        found = pack(run).measure(model, run.backend, lambda: False)
    assert found is not None
    one_by_one = DevPack(pack(run).rows, prepare(watched(tree, per_device_eval_batch_size=1)).config, run.tokenizer)
    with run.backend.speaker() as model:
        again = one_by_one.measure(model, run.backend, lambda: False)
    assert again is not None and again[0] == pytest.approx(found[0], rel=1e-4)
    assert [one.answer for one in again[1]] == [one.answer for one in found[1]]


def test_answers_are_those_of_the_engine(tree: Path) -> None:
    run = prepare(watched(tree))
    with run.backend.speaker() as model:
        found = pack(run).measure(model, run.backend, lambda: False)
        assert found is not None
        alone = Engine(model=model, tokenizer=run.tokenizer).task(str(tree / "digits/audio/7.wav"), "asr").text
    answer = next(one for one in found[1] if one.id == "more0").answer
    assert answer and alone.startswith(answer)  # of twice as many tokens
    assert run.learner.training and run.learner.model.decoder.training


@pytest.mark.parametrize("stage", ["pretrain", "sft", "joint"])
@pytest.mark.parametrize("rank", [0, 4])
def test_every_stage_is_measured_in_bfloat16_nearly_as_in_float32(tree: Path, stage: str, rank: int) -> None:
    mini = {"model": "mini", "encoder": None, "decoder": None, "ranks": "", "stage": stage, "lora_r": rank}
    found = []
    for bf16 in (True, False):
        run = prepare(watched(tree, bf16=bf16, **mini))
        learned = [parameter.dtype for parameter in run.learner.parameters() if parameter.requires_grad]
        with run.backend.speaker() as model:
            measured = pack(run).measure(model, run.backend, lambda: False)
        assert measured is not None and set(learned) == {torch.float32}
        assert [parameter.dtype for parameter in run.learner.parameters() if parameter.requires_grad] == learned
        found.append(measured[0]["eval/loss"])
    assert found[0] == pytest.approx(found[1], rel=0.02)


def test_measuring_changes_nothing_that_is_learned(tree: Path) -> None:
    train(watched(tree, output_dir=str(tree / "measured"), save_steps=6))
    train(watched(tree, output_dir=str(tree / "plain"), save_steps=6, validation_file=(), eval_steps=0))
    one, two = (tree / name / "last" / "model.safetensors" for name in ("measured", "plain"))
    assert one.read_bytes() == two.read_bytes()


def test_dev_rows_are_shared_out_evenly_and_always_the_same(tree: Path) -> None:
    many = rows(tree, "many", ["red"] * 50)
    few = rows(tree, "few", ["seven"] * 3, prompt=None, task="asr", language="en")
    runs = [prepare(watched(tree, validation_file=(many, few), max_eval_samples=13)) for _ in range(2)]
    names = [[row.record.id for row in pack(run).rows] for run in runs]
    assert names[0] == names[1] and len(names[0]) == 13
    assert sorted(name for name in names[0] if name.startswith("few")) == ["few0", "few1", "few2"]
    assert {int(name[4:]) // 10 for name in names[0] if name.startswith("many")} == {0, 1, 2, 3, 4}  # from all over the file


def test_rows_of_evaluation_splits_measure_and_never_teach(tree: Path) -> None:
    dev = rows(tree, "kept", ["red", "blue"], meta={"split": "dev"})
    assert len(pack(prepare(watched(tree, validation_file=(dev,)))).rows) == 2
    with pytest.raises(DataError, match="evaluation_split"):
        prepare(watched(tree, mixture={"sources": [dev]}))


def test_prepared_sets_measure_by_their_dev_rows(tree: Path) -> None:
    (tree / "splits" / "dev.tsv").write_text("digits\trec/7_george_0.wav\n", encoding="utf-8")
    run = prepare(run_config(tree, validation=(Source(prepared=True, splits=str(tree / "splits"), pairs=0),)))
    assert {row.record.dataset for row in pack(run).rows} == {"digits"}


def test_what_a_run_is_judged_by_must_be_there(tree: Path) -> None:
    with pytest.raises(ConfigError, match=r"metric_for_best_model is 'asr/bleu': these validation rows have loss, score, asr/wer, colour/"):
        prepare(watched(tree, metric_for_best_model="asr/bleu"))
    twice = rows(tree, "dev", ["red"])
    (tree / "copy.jsonl").write_text(Path(twice).read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(DataError, match=r"1 ids stand more than once, 'dev0' first"):
        prepare(watched(tree, validation_file=(twice, str(tree / "copy.jsonl"))))


def test_a_rank_that_is_asked_to_stop_ends_the_measurement(tree: Path) -> None:
    run = prepare(watched(tree))
    stop = threading.Event()
    stop.set()
    with run.backend.speaker() as model:
        assert pack(run).measure(model, run.backend, stop.is_set) is None


def sample(name: str, answer: str, reference: str, family: str, language: str = "en") -> Sample:
    return Sample(name, "ok", answer, (reference,), family, language)


def test_answers_are_scored_by_the_metrics_of_their_tasks() -> None:
    samples = [
        sample("a", "red dog", "red cat", "asr"), sample("b", "四", "五", "asr", "zh"),
        sample("c", "dog", "dog", "vocal_sound"), sample("d", "cat", "dog", "vocal_sound"),
    ]  # fmt: skip
    samples += [sample("e", "ja", "ja", "chat", "de"), sample("f", "no", "yes", "chat", "en")]
    found = scored(samples)
    assert found["chat/accuracy"] == 0.5  # measured alike in all languages
    assert (found["asr-en/wer"], found["asr-zh/cer"], found["vocal_sound/accuracy"]) == (0.5, 1.0, 0.5)
    assert found["score"] == pytest.approx((1 / 1.5 + 1 / 2 + 0.5 + 0.5) / 4, abs=1e-4)


def test_the_scale_of_goodness_goes_from_0_to_1() -> None:
    wer, accuracy, bleu = (metrics_for(family, "en")[0] for family in ("asr", "scene", "s2tt"))
    assert goodness(0.0, wer, (0.0, math.inf)) == 1.0 and goodness(1.0, wer, (0.0, math.inf)) == 0.5
    assert goodness(0.25, accuracy, (0.0, 1.0)) == 0.25 and goodness(30.0, bleu, (0.0, 100.0)) == 0.3
    aas = metrics_for("srwt_en", "en")[0]
    assert aas.unit == "ms" and goodness(100.0, aas, (0.0, math.inf)) == 0.5


# The best -------------------------------------------------------------------------------------------------------------------


def test_the_best_is_the_first_of_equals_and_misses_are_counted() -> None:
    best = Best().after(10, 0.5, lower=False).after(20, 0.5, lower=False).after(30, None, lower=False)
    assert best == Best(10, 0.5, 2)
    assert best.after(40, 0.6, lower=False) == Best(40, 0.6)
    assert best.after(40, 0.6, lower=True) == Best(10, 0.5, 3)
    assert Best().after(10, math.nan, lower=True).after(20, 0.5, lower=True) == Best(20, 0.5)
    assert Best.from_json(json.loads(json.dumps(best.to_json()))) == best and Best.from_json(None) == Best()


class Scripted:
    """Stands in the place of a measurement: values in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
        left = iter(values)

        def measure(self: DevPack, model: Any, backend: Single, asked: Any) -> Any:
            return {"eval/loss": 1.0, "eval/score": next(left)}, []

        monkeypatch.setattr(DevPack, "measure", measure)


def test_the_best_checkpoint_outlives_later_ones(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted(monkeypatch, 0.3, 0.9, 0.5, 0.4, 0.2)
    said = train(watched(tree, max_steps=10, save_steps=2, save_total_limit=1))
    assert sorted(path.name for path in (tree / "run").glob("step-*")) == ["step-0000004", "step-0000010"]
    assert (tree / "run/best").resolve().name == "step-0000004" and (tree / "run/last").resolve().name == "step-0000010"
    assert "the best by score, 0.9 at step 4" in said


def test_a_run_without_gain_ends_early_and_stays_ended(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted(monkeypatch, 0.3, 0.9, 0.5, 0.9, 1.0)
    settings = watched(tree, max_steps=20, early_stopping_patience=2)
    said = train(settings)
    folder = latest(tree / "run")
    assert folder is not None and folder.name == "step-0000008" and "ended early: 2 measurements" in said
    assert read_state(folder)["best"] == {"step": 4, "value": 0.9, "misses": 2}
    assert "ended early" in train(settings) and latest(tree / "run") == folder


def test_a_run_goes_on_with_its_best(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted(monkeypatch, 0.9, 0.1, 0.2)
    train(watched(tree, max_steps=4, min_learning_rate=1e-3))
    assert "0.9 at step 2" in train(watched(tree, max_steps=6, min_learning_rate=1e-3))
    assert (tree / "run/best").resolve().name == "step-0000002"


@pytest.mark.parametrize("at", [4, 6])
def test_a_measurement_that_a_stop_has_cost_is_made_up_for(tree: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    Scripted(monkeypatch, 0.3, 0.9, 0.5)
    train(watched(tree, output_dir=str(tree / "whole")))
    Scripted(monkeypatch, 0.3, 0.9, 0.5)
    stops = iter([0] * (at - 1) + [15] * 9)
    with open_backend(settings := watched(tree)) as backend, pytest.raises(SystemExit):
        train_on(backend, settings, lambda: next(stops))
    folder = latest(tree / "run")
    assert folder is not None and folder.name == f"step-{at:07d}" and read_state(folder)["measured"] == at - 2
    train(settings)
    figures = [[line for line in read_journal(tree / name) if "eval/score" in line] for name in ("whole", "run")]
    assert [[line["step"] for line in lines] for lines in figures] == [[2, 4, 6]] * 2
    assert [[line["eval/score"] for line in lines] for lines in figures] == [[0.3, 0.9, 0.5]] * 2
    assert (tree / "run/best").resolve().name == "step-0000004"
    ended = latest(tree / "run")
    assert ended is not None and read_state(ended)["measured"] == 6 and read_state(ended)["best"]["step"] == 4


def test_a_best_that_is_elsewhere_is_not_told_of(tree: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    Scripted(monkeypatch, 0.9, 0.1, 0.2)
    train(watched(tree, max_steps=4))
    source = str(tree / "run/step-0000004")
    said = train(watched(tree, output_dir=str(tree / "other"), resume_from_checkpoint=source))
    assert "0.2 at step 6" in said and "is not in" in caplog.text
    assert (tree / "other/best").resolve().name == "step-0000006"


def test_checkpoints_of_another_course_are_set_aside(tree: Path) -> None:
    train(run_config(tree, max_steps=6))
    train(run_config(tree, max_steps=3, resume_from_checkpoint="none"))
    assert sorted(path.name for path in (tree / "run").glob("step-*")) == ["step-0000003"]
    assert sorted(path.name for path in (tree / "run/before-1").iterdir()) == ["step-0000003", "step-0000006"]
    assert (tree / "run/last").resolve().name == "step-0000003"
    assert set_aside(tree / "run", 3) is None
    assert set_aside(tree / "run", 2) == tree / "run/before-2"


# Curves ---------------------------------------------------------------------------------------------------------------------


def test_curves_have_a_panel_for_each_kind_of_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        journal = Journal(tmp_path / name)
        for step in range(1, 90):
            journal.write({"step": step, "loss": 1 / step, "loss/asr": 2 / step, "lr": 0.1, "mfu": 0.4})
        journal.write({"step": 89, "eval/loss": 0.1, "eval/loss/asr": 0.2, "eval/asr/wer": 0.5, "eval/score": 0.6})
    drawn: dict[str, Any] = {}
    whole = curves._draw
    monkeypatch.setattr(curves, "_draw", lambda panels, output: (drawn.update(panels), whole(panels, output)))
    assert "7 panels of one, two" in draw([tmp_path / "one", tmp_path / "two"], tmp_path / "c.png")
    assert drawn["loss"].keys() == {"one train", "one dev", "two train", "two dev"}
    assert drawn["dev rows: wer"]["two asr"] == [(89, 0.5)] and len(drawn["training loss by task"]["one asr"]) == 89
    assert (tmp_path / "c.png").stat().st_size > 10_000
    with pytest.raises(DataError, match="no journal of a run"):
        draw([tmp_path / "three"], tmp_path / "d.png")


def test_a_smoothed_line_is_a_mean_of_its_surroundings() -> None:
    points = [(step, float(step % 2)) for step in range(400)]
    flat = smooth(points)
    assert [step for step, _ in flat] == list(range(400)) and all(abs(value - 0.5) < 0.06 for _, value in flat)
    assert smooth(points[:5]) == points[:5]
