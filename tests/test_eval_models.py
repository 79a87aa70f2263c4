"""The kinds of models that can be measured: what each is told, what it answers, how each failure is told of."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from data.manifest import AudioRef, Record, Turn
from eval.benchmarks.benchmark import TOLD
from eval.models.asking import asked, in_words, told, with_choices
from eval.models.base import Asked, ModelGone, failed, reason
from eval.models.endpoint import EndpointModel, EndpointOptions
from eval.models.identity import file_digest, shown_name, weights_digest
from eval.models.opening import open_model
from eval.models.predictions import PredictionsModel
from eval.options import ModelOptions, RunOptions
from eval.runner import Run, run
from qwen_audio.audio import AudioClip, read_audio
from qwen_audio.errors import CheckpointError, ConfigError, DataError
from tag_schema.tasks import prefix_for

if TYPE_CHECKING:
    from qwen_audio.engine import Engine

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
REF = AudioRef("seven.wav")


def tagged(family: str = "asr", name: str = "t", language: str | None = None, question: str | None = None, **more) -> Record:
    return Record(name, (REF,), "seven", family, prefix_for(family, language=language, question=question), **more)


def chat(question: str = "What is it?", name: str = "c", **more) -> Record:
    return Record(name, (REF,), "seven", messages=(Turn("user", (REF, question)),), **more)


def row(record: Record, *clips: AudioClip, max_new_tokens: int = 8) -> Asked:
    heard = clips or (read_audio(EXAMPLES / "seven.wav"),)
    return Asked(record, tuple((one,) for one in heard), max_new_tokens)


# What is asked -----------------------------------------------------------------------------------------------------------


def test_choices_are_printed_a_letter_and_a_line_each() -> None:
    wanted = "Which?\nA. rain\nB. wind\nAnswer with the letter of one option."
    assert with_choices("Which?", ("rain", "wind")) == wanted
    assert with_choices("Which?", [str(number) for number in range(27)]).splitlines()[27] == "27. 26"
    spoken = Record("s", (REF,), "A", messages=(Turn("user", (REF,)),), choices=("rain", "wind"))
    assert asked(chat("Which?", choices=("rain", "wind"))).messages[-1].parts == (REF, wanted)
    assert asked(spoken).messages[-1].parts == (REF, "A. rain\nB. wind\nAnswer with the letter of one option.")
    question = asked(tagged("audio_qa", question="Which?", choices=("rain", "wind"))).prefix
    assert question is not None and question.question == wanted
    scene = tagged("scene", choices=("park", "tram"))
    assert asked(scene) == scene  # its tags name the labels
    assert told(in_words(scene)).endswith("Answer with its name alone.\nA. park\nB. tram\nAnswer with the letter of one option.")
    assert asked(chat()) == chat()
    spoken_choices = chat("Which?", choices=("rain", "wind"), meta={TOLD: "in the audio"})
    assert asked(spoken_choices) == spoken_choices


def test_a_tagged_task_is_put_in_words() -> None:
    assert told(in_words(tagged())) == "user: [audio]Transcribe the speech in English. Answer with the transcript alone."
    several = (Turn("system", ("Be brief.",)), Turn("user", ("One: ", REF, " two: ", REF)))
    assert told(several) == "system: Be brief.\nuser: One: [audio] two: [audio]"


def test_a_reason_is_one_line_and_names_what_is_no_users_mistake() -> None:
    assert reason(ConfigError("a\nb")) == "a b"
    assert reason(MemoryError()) == "MemoryError" and reason(OSError("full")) == "OSError: full"
    assert failed(OSError("full")).status == "infer_fail"


# Our checkpoints -----------------------------------------------------------------------------------------------------------


def test_the_engine_answers_tagged_tasks_by_tags_and_conversations_as_chat(tiny_engine: Engine) -> None:
    from eval.models.engine import EngineModel
    from qwen_audio.config import GenerationOptions

    model = EngineModel(tiny_engine)
    assert model.prompt(tagged()) == "<|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|wo_itn|>"
    assert model.prompt(chat()) == "user: [audio]What is it?"
    answers = model.answer([row(tagged()), row(chat()), row(tagged("srwt_en"), max_new_tokens=12)])
    greedy = GenerationOptions(greedy=True, max_new_tokens=8)
    alone = tiny_engine.task(EXAMPLES / "seven.wav", "asr", greedy)
    assert (answers[0].text, answers[0].token_ids, answers[0].n_tokens) == (alone.text, tuple(alone.token_ids), len(alone.token_ids))
    assert [answer.status for answer in answers] == ["ok", "ok", "ok"]
    assert model.about.settings["dtype"] == "float32" and model.about.together
    words = EngineModel(tiny_engine, words=True)
    assert words.prompt(tagged()).startswith("user: [audio]Transcribe") and words.answer([row(tagged())])[0].text != answers[0].text


def test_a_row_that_the_engine_cannot_take_does_not_harm_its_neighbours(tiny_engine: Engine, clip: Callable[..., AudioClip]) -> None:
    from eval.models.engine import EngineModel

    model = EngineModel(tiny_engine)
    sound = clip(29.9, seed=1)
    long = Record("l", (REF, REF), "x", messages=(Turn("user", (REF, REF, "?")),))
    short = chat("x" * 20)
    empty = row(chat(name="e"), AudioClip(np.zeros(100, np.float32)))
    answers = model.answer([row(long, sound, sound), row(short), empty])
    assert [answer.status for answer in answers] == ["too_long", "ok", "infer_fail"]
    assert "window has 1024" in answers[0].error and "at least 480" in answers[2].error
    assert model.answer([row(short)])[0].text == answers[1].text


def test_an_engines_identity_is_its_weights(tiny_engine: Engine) -> None:
    import torch

    from eval.models.engine import EngineModel

    before = EngineModel(tiny_engine).about.identity
    assert before == EngineModel(tiny_engine).about.identity and len(before) == 64
    with torch.no_grad():
        tiny_engine.model.decoder.embedding.weight[3, 3] += 1.0
    assert EngineModel(tiny_engine).about.identity != before


def test_the_windows_of_a_long_clip_are_heard_as_one_recording(tiny_engine: Engine, clip: Callable[..., AudioClip]) -> None:
    from eval.models.engine import EngineModel
    from qwen_audio.audio import fit_window

    windows = fit_window(clip(31.0, seed=1), "split")
    prompt = EngineModel(tiny_engine).render(Asked(chat(), (windows,), 8))
    assert len(prompt.clips) == 2 and tiny_engine.tokenizer.decode(prompt.token_ids).count("Audio 1") == 1


def test_mini_hears_a_digit_and_a_note(tmp_path: Path) -> None:
    rows = [tagged(name="digit"), chat("What digit is said?", name="asked")]
    note = AudioRef("guitar_a4.wav")
    rows.append(Record("note", (note,), "<|pitch|><|midi_pitch_69|>", "note_analysis", prefix_for("note_analysis")))
    rows.append(Record("gone", (AudioRef("gone.wav"),), "x", "asr", prefix_for("asr")))
    found = run(lambda: open_model("mini", ModelOptions(device="cpu")), rows, EXAMPLES, tmp_path, RunOptions(quiet=True))
    assert isinstance(found, Run)
    samples = {sample.id: sample for sample in found.samples}
    assert {name: sample.status for name, sample in samples.items()} == {"digit": "ok", "asked": "ok", "note": "ok", "gone": "bad_audio"}
    assert "seven" in samples["digit"].answer.lower() and "<|midi_pitch_69|>" in samples["note"].answer
    assert (samples["digit"].family, samples["digit"].language, samples["asked"].family) == ("asr", "en", "chat")
    assert found.about["model"] == "mini" and found.about["settings"]["tags"] is True
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert cost["tokens"] >= 5 and cost["tokens_per_s"] > 0


# Weights and names ---------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_told_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_AUDIO_HOME", str(tmp_path / "home"))
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(CheckpointError, match="holds no weights"):
        weights_digest(folder)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    first = weights_digest(folder)
    known = json.loads((tmp_path / "home" / "digests.json").read_text())
    assert known[str((folder / "model.safetensors").resolve())][2] == file_digest(folder / "model.safetensors")
    assert weights_digest(folder) == first
    (folder / "config.json").write_text('{"a": 1}')
    assert weights_digest(folder) != first
    blobs = tmp_path / "hub" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / ("a" * 64)).write_bytes(b"not even read")
    (tmp_path / "hub" / "model.safetensors").symlink_to(blobs / ("a" * 64))
    assert len(weights_digest(tmp_path / "hub")) == 64
    assert not [name for name in json.loads((tmp_path / "home" / "digests.json").read_text()) if "blobs" in name]


def test_models_are_called_without_their_place_on_a_disk() -> None:
    names = ["mini", "Qwen/Qwen2-Audio-7B", str(EXAMPLES.parent / "runs" / "a" / "release"), "runs/b/release/"]
    assert [shown_name(name) for name in names] == ["mini", "Qwen/Qwen2-Audio-7B", "a/release", "b/release"]


def test_a_name_says_which_kind_of_model_it_is(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"id": "a", "answer": "b"}\n')
    assert isinstance(open_model(str(tmp_path / "p.jsonl")), PredictionsModel)
    assert isinstance(open_model(f"predictions:{tmp_path / 'p.jsonl'}"), PredictionsModel)
    assert isinstance(open_model("openai:x", ModelOptions(base_url="http://localhost:1/v1")), EndpointModel)
    with pytest.raises(ConfigError, match="--base-url"):
        open_model("openai:x")
    with pytest.raises(ConfigError, match="holds a name or password"):
        open_model("openai:x", ModelOptions(base_url="https://me:secret@host/v1"))
    with pytest.raises(CheckpointError, match="no such directory"):
        open_model("transformers:nowhere")
    with pytest.raises(ConfigError, match="concurrency is 0"):
        ModelOptions(concurrency=0)


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from eval.models.engine import own_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert str(own_device("auto")) == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [str(own_device(name)) for name in ("auto", "cuda", "cuda:0", "cpu")] == ["cuda:1", "cuda:1", "cuda:0", "cpu"]


# Predictions ---------------------------------------------------------------------------------------------------------------


def test_a_file_of_predictions_is_replayed_and_what_it_lacks_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "t", "prediction": "seven"}\n\n{"id": "c", "answer": null}\n{"id": 3, "text": "three"}\n')
    model = PredictionsModel(path)
    answers = model.answer([Asked(tagged(), (), 8), Asked(chat(), (), 8), Asked(chat(name="3"), (), 8), Asked(chat(name="x"), (), 8)])
    assert [answer.text for answer in answers] == ["seven", "", "three", ""]
    assert [answer.status for answer in answers] == ["ok", "ok", "ok", "infer_fail"]
    assert answers[3].error == "p.jsonl has no answer for this id"
    (tmp_path / "p.json").write_text('{"t": "seven", "c": "a digit"}')
    assert PredictionsModel(tmp_path / "p.json").answers == {"t": "seven", "c": "a digit"}
    (tmp_path / "l.json").write_text('[{"id": "t", "output": "seven"}]')
    assert PredictionsModel(tmp_path / "l.json").answers == {"t": "seven"}


def test_predictions_need_no_audio(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "t", "answer": "seven"}\n{"id": "c", "answer": "7"}\n')
    found = run(lambda: PredictionsModel(path), [tagged(), chat()], tmp_path / "nothing", tmp_path / "out", RunOptions(quiet=True))
    assert isinstance(found, Run) and [sample.answer for sample in found.samples] == ["7", "seven"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"id": "a", "answer": "x"}\n{"id": "a", "answer": "y"}', r"p\.jsonl:2: the id 'a' stands at .*p\.jsonl:1 already"),
        ('{"id": "a"}\n', r'expected an object with "id"'),
        ('{"id": "a", "answer": "x"}\n{"id"', r"p\.jsonl:2: not JSON"),
    ],
)
def test_a_line_that_is_no_prediction_is_named(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "p.jsonl").write_text(text)
    with pytest.raises(DataError, match=found):
        PredictionsModel(tmp_path / "p.jsonl")
    with pytest.raises(DataError, match="no such file of predictions"):
        PredictionsModel(tmp_path / "q.jsonl")


# An OpenAI-compatible server -----------------------------------------------------------------------------------------------


class Server:
    """A server that answers as it is told to: by what the question says."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.tries: dict[str, int] = {}
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                code, answer, headers = outer.reply(self.path, body, self.headers.get("Authorization"))
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def reply(self, path: str, body: dict[str, Any], key: str | None) -> tuple[int, Any, dict[str, str]]:
        content = body["messages"][-1]["content"]
        question = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        with self.lock:
            self.requests.append(body)
            self.keys.append(key)
            self.tries[question] = count = self.tries.get(question, 0) + 1
        if path != "/v1/chat/completions":
            return 404, {"error": "no such path"}, {}
        wanted, _, name = question.partition(" ")
        if wanted == "busy" and count <= 2:
            return 429, {"error": {"message": "slow down"}}, {"Retry-After": "7"}
        if wanted == "down":
            return 503, b"<html>no workers</html>", {}
        if wanted == "bad":
            return 400, {"error": {"message": "audio too large"}}, {}
        if wanted == "key":
            return 401, {"error": {"message": "wrong key"}}, {}
        if wanted == "strange":
            return 200, {"choices": []}, {}
        if wanted == "torn":
            return 200, b'{"choices": [', {}
        parts = [{"type": "text", "text": f"heard {name}"}] if wanted == "parts" else f"heard {name}"
        return 200, {"choices": [{"message": {"content": parts}}], "usage": {"completion_tokens": 5}}, {}


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def endpoint(server: Server | str, waits: list[float] | None = None, **options) -> EndpointModel:
    url = server if isinstance(server, str) else server.url
    sleep = (lambda seconds: None) if waits is None else waits.append
    return EndpointModel("big", EndpointOptions(**{"base_url": url, "retries": 3, "timeout_s": 10.0, "sleep": sleep, **options}))


def test_a_server_gets_the_clip_as_wav_and_the_question_as_text(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "s3cret")
    model = endpoint(server, api_key_env="SOME_KEY")
    sound = read_audio(EXAMPLES / "seven.wav")
    (answer,) = model.answer([row(tagged(), sound, max_new_tokens=77)])
    assert (answer.status, answer.n_tokens) == ("ok", 5)
    (request,) = server.requests
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("big", 77, 0)
    audio, text = request["messages"][0]["content"]
    assert text == {"type": "text", "text": "Transcribe the speech in English. Answer with the transcript alone."}
    assert audio["type"] == "input_audio" and audio["input_audio"]["format"] == "wav"
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(audio["input_audio"]["data"])), dtype="float32")
    assert rate == 16_000 and np.abs(heard - sound.samples).max() < 1 / 32767
    assert server.keys == ["Bearer s3cret"]
    assert "s3cret" not in repr(model.about)


def test_every_failure_of_a_server_is_told_of_with_its_reason(server: Server) -> None:
    questions = ["ok one", "busy two", "down three", "bad four", "strange five", "torn six", "parts seven"]
    answers = endpoint(server).answer([row(chat(question, name=question)) for question in questions])
    ends = {question.split()[0]: answer for question, answer in zip(questions, answers, strict=True)}
    assert [end.status for end in ends.values()] == ["ok", "ok", "infer_fail", "infer_fail", "infer_fail", "infer_fail", "ok"]
    assert (ends["ok"].text, ends["busy"].text, ends["parts"].text) == ("heard one", "heard two", "heard seven")
    assert ends["down"].error == "the server answers 503: <html>no workers</html>"
    assert ends["bad"].error == "the server answers 400: audio too large"
    assert "expected a chat completion" in ends["strange"].error and ends["torn"].error.startswith("JSONDecodeError")
    assert (server.tries["busy two"], server.tries["down three"], server.tries["bad four"]) == (3, 4, 1)


def test_a_busy_server_is_waited_for_longer_and_longer(server: Server) -> None:
    waits: list[float] = []
    endpoint(server, waits).answer([row(chat("down one"))])
    assert waits == [0.5, 1.0, 2.0]
    waits.clear()
    endpoint(server, waits).answer([row(chat("busy one"))])
    assert waits == [7.0, 14.0]  # as it asked, and twice that


def test_a_refused_key_or_an_absent_server_ends_the_run(server: Server) -> None:
    with pytest.raises(ModelGone, match=r"401: wrong key; put a valid key into \$OPENAI_API_KEY"):
        endpoint(server).answer([row(chat("ok one")), row(chat("key two"))])
    with pytest.raises(ModelGone, match=r"refused.*what is done is kept"):
        endpoint("http://127.0.0.1:9/v1").answer([row(chat("ok one"))])


def test_a_slow_answer_is_a_failure_of_its_row() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        model = endpoint(f"http://127.0.0.1:{silent.getsockname()[1]}/v1", timeout_s=0.1, retries=1)
        (answer,) = model.answer([row(chat("ok one"))])
    assert (answer.status, answer.error) == ("infer_fail", "no answer within 0.1 s")


def test_a_set_is_answered_by_a_server(server: Server, tmp_path: Path) -> None:
    rows = [chat(f"ok {number}", name=f"r{number}", choices=("x", "y")) for number in range(20)]
    found = run(lambda: endpoint(server), rows, EXAMPLES, tmp_path, RunOptions(quiet=True))
    assert isinstance(found, Run) and {sample.status for sample in found.samples} == {"ok"}
    assert found.about["identity"] == f"big at {server.url}"
    assert server.requests[0]["messages"][0]["content"][1]["text"].endswith("\nA. x\nB. y\nAnswer with the letter of one option.")
    run(lambda: endpoint(server), rows, EXAMPLES, tmp_path, RunOptions(quiet=True, batch_size=3))
    assert len(server.requests) == 20  # other batches do not matter to a server


# transformers --------------------------------------------------------------------------------------------------------------


def test_an_exported_checkpoint_is_asked_through_its_own_processor(tiny_engine: Engine, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from safetensors.torch import load_file, save_file

    tiny_engine.export(tmp_path)
    model = open_model(f"transformers:{tmp_path}", ModelOptions(device="cpu"))
    assert model.about.settings["kind"] == "transformers" and model.about.window_s == 30.0
    one, two = row(chat("What?")), row(chat("And what is this then, pray?"), read_audio(EXAMPLES / "rain.ogg"))
    text = Record("x", (), "y", messages=(Turn("user", ("Say something.",)),))
    together = model.answer([one, two, Asked(text, (), 5), row(tagged(), max_new_tokens=5)])
    alone = [model.answer([single])[0] for single in (one, two, Asked(text, (), 5), row(tagged(), max_new_tokens=5))]
    assert [answer.status for answer in together] == ["ok"] * 4
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in alone]
    assert all(0 < answer.n_tokens <= 8 for answer in together) and together[2].n_tokens <= 5
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("language_model.lm_head.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"1 weights of a Qwen2Audio are not there, .*lm_head.weight"):
        open_model(f"transformers:{tmp_path}")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DataError, match="transformers cannot load it as Qwen2Audio"):
        open_model(f"transformers:{tmp_path}")


# pocketsphinx --------------------------------------------------------------------------------------------------------------


def test_pocketsphinx_hears_english_and_nothing_else() -> None:
    pytest.importorskip("pocketsphinx")
    model = open_model("pocketsphinx")
    three, question = read_audio(EXAMPLES / "three.flac"), read_audio(EXAMPLES / "question.webm")
    rows = [
        row(tagged(), three),
        row(tagged(), question),
        row(tagged(language="zh"), three),
        row(tagged("scene"), three),
        row(chat(), three),
    ]
    answers = model.answer(rows)
    assert [answer.status for answer in answers] == ["ok", "ok", "infer_fail", "infer_fail", "infer_fail"]
    assert (answers[0].text, answers[1].text) == ("three", "what do you fear")  # "What do you hear?"
    assert answers[2].error == "pocketsphinx transcribes English speech and nothing else, found asr in zh"
    assert model.answer([rows[1], rows[0]]) == [answers[1], answers[0]]  # it does not grow used to a voice
