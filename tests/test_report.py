"""Reports: tables, and the page: whole, closed to the network, closed to what a model says, with sound that decodes."""

import base64
import dataclasses
import hashlib
import html
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
from sklearn.metrics import confusion_matrix

from data.manifest import AudioRef, Record, Turn, write_manifest
from eval.benchmarks.measures import metrics_of
from eval.benchmarks.open_file import benchmark_of
from eval.finish import finish
from eval.metrics.choice import Mcq
from eval.metrics.edits import wer_for
from eval.metrics.labels import LABEL, Accuracy
from eval.metrics.sample import Sample
from eval.report.alignment import aligned
from eval.report.command import ReportOptions, write_report
from eval.report.confusion import NO_ANSWER, OTHER, confusion
from eval.report.forest import panels, tick_places
from eval.report.page import visible
from eval.report.stored import read_runs
from eval.report.tables import Column, Table, scores_table, subgroups_table
from eval.report.values import between, cluster_words, p_value, written
from eval.score import Score, measure, score, subgroups
from eval.score_command import compare_command, run_names, score_run
from qwen_audio.errors import ConfigError, DataError
from tag_schema.tasks import prefix_for

RATE = 16_000
HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style></dd></section>", "{{ 7 * 7 }}{% raw %}", "a\x00b\x1b[31mc",
    "\u202egnikcart\u202c", "<!-- ", "http://example.com/x.js", "javascript:alert(1)", "]]> & &lt;b&gt; '",
)  # fmt: skip
WORDS = ["rain", "falls", "over", "green", "hills", "and", "rivers", "run", "to", "the", "sea"]
ANGER = "<b>anger</b>"
VOID = {"meta", "link", "br", "img", "input", "hr", "circle", "line"}
LEAVES = ("src", "href", "action", "poster", "formaction", "data", "srcset", "background", "cite", "xlink:href")


def tone(path: Path, pitch: float, seconds: float = 0.5) -> None:
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE), RATE)


def transcripts(wrong: int) -> list[Sample]:
    """Make forty transcripts of ten speakers; in the first ones a word is heard wrongly, two are lost, one too many is heard."""
    samples = []
    for number in range(40):
        words = ["HEARD", *WORDS[1:-2], "more"] if number < wrong else list(WORDS)
        meta = {"speaker": f"p{number % 10}", "gender": "female" if number % 4 else "male", "age": f"{20 + number}"}
        samples.append(Sample(f"clip-{number:02d}", "ok", " ".join(words), (" ".join(WORDS),), "asr", "en", (), meta, 0.5 + number / 4))
    samples[0] = dataclasses.replace(samples[0], answer=" ".join(HOSTILE))
    samples[38] = dataclasses.replace(samples[38], status="too_long", answer="", error="41.3 s, this model hears 30 s")
    return samples


def labels() -> list[Sample]:
    """Make emotions, some of them taken for others or for nothing known."""
    said = [ANGER] * 12 + ["joy"] * 6 + ["happy"] + ["joy"] * 12 + [ANGER] * 4 + [""] * 5
    right = [ANGER] * 19 + ["joy"] * 21
    pairs = zip(said, right, strict=True)
    return [
        Sample(
            f"e{n:02d}", "ok" if a else "infer_fail", a, (t,), "emotion", "en", (), {"source": f"f{n}"}, 1.0, "" if a else "out of memory"
        )
        for n, (a, t) in enumerate(pairs)
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store a run of two sets, as `python -m eval run` does, and the rows that it was made of."""
    root = tmp_path_factory.mktemp("stored")
    (root / "rows").mkdir()
    for name, samples in (("speech", transcripts(6)), ("feelings", labels())):
        about = {"model": "mini<i>", "identity": "6991", "settings": {"dtype": "float32", "tags": True}, "recipe": f"{name} rows"}
        account = {"rows": 40, "warnings": ["a row & its <twin>"], "subset": ""} if name == "speech" else {"subset": "40 of 90 rows"}
        finish(root / "run" / name, name, samples, {**about, "account": account}, metrics_of(benchmark_of(Path(f"{name}.jsonl"))))
        cost = {
            "samples": 40,
            "audio_s": 214.5,
            "rtfx": 12.724,
            "tokens_per_s": 80.0,
            "latency_p50_s": 0.25,
            "host_mib": 600.5,
            "device_mib": 0.0,
        }
        (root / "run" / name / "cost.json").write_text(json.dumps(cost))
    (root / "rows" / "clips").mkdir()
    for number in range(3):
        tone(root / "rows" / "clips" / f"{number}.wav", 440 * (number + 1))
    refs = [AudioRef(f"clips/{number % 3}.wav") for number in range(40)]
    speech = [Record(one.id, (ref,), one.target, "asr", prefix_for("asr")) for one, ref in zip(transcripts(6), refs, strict=True)]
    asked = [Turn("user", (refs[0], AudioRef("clips/gone.wav"), "Which <feeling>?"))]
    feelings = [Record(one.id, asked[0].refs, one.target, "emotion", messages=tuple(asked)) for one in labels()]
    write_manifest(speech, root / "rows" / "speech.jsonl")
    write_manifest(feelings, root / "rows" / "feelings.jsonl")
    return root


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    tasks = [str(run / "rows" / "speech.jsonl"), str(run / "rows" / "feelings.jsonl")]
    said = write_report(run / "run", run / "report.html", tasks=tasks, data_root=run / "rows", options=ReportOptions(worst=4))
    assert "2 sets, 80 samples" in said
    return (run / "report.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Reads a page and complains of tags that do not close in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]} at {self.getpos()}"
        self.open.pop()

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.found if name == tag]


def text_of(page: str) -> str:
    """Return what a reader sees."""
    return html.unescape(re.sub(r"<(script|style)>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL))


def rows(page: str, section: str) -> Iterator[list[str]]:
    """Yield the cells of the first table of a section."""
    table = page.split(f'id="{section}"')[1].split("<tbody>")[1].split("</tbody>")[0]
    for row in table.split("<tr>")[1:]:
        yield [" ".join(text_of(cell).split()) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]


def test_the_page_is_whole_and_every_tag_closes(page: str) -> None:
    found = Reader(page)
    assert page.startswith("<!DOCTYPE html>") and len(found.all("h1")) == 1 and found.all("html") == [{"lang": "en"}]
    ids = [attrs["id"] for _, attrs in found.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"] for attrs in found.all("a")} <= {f"#{name}" for name in ids}


def test_nothing_in_the_page_points_outside(page: str) -> None:
    found = Reader(page)
    leads = [value for _, attrs in found.found for name, value in attrs.items() if name in LEAVES]
    assert leads and all(value.startswith(("#", "data:audio/mpeg;base64,")) for value in leads)
    assert not [tag for tag, _ in found.found if tag in ("link", "img", "iframe", "object", "embed", "base", "form", "use", "image")]
    style = page.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style and "//" not in style.replace("/*", "").replace("*/", "")


def test_its_policy_lets_no_network_in_and_one_script_run(page: str) -> None:
    found = Reader(page)
    policy = next(attrs["content"] for attrs in found.all("meta") if attrs.get("http-equiv") == "Content-Security-Policy")
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy and "media-src data:" in policy


def test_what_a_model_says_is_text_and_nothing_else(page: str) -> None:
    found = Reader(page)
    assert len(found.all("script")) == len(found.all("style")) == 1
    assert not [name for _, attrs in found.found for name in attrs if name.startswith("on")]
    seen = text_of(page)
    for text in ("<script>alert(1)</script>", "{{ 7 * 7 }}{% raw %}", ANGER, "mini<i>", "a row & its <twin>", "Which <feeling>?"):
        assert text in seen, text
    assert "\x00" not in page and "\x1b" not in page and "\u202e" not in page and "a␀b␛[31mc" in seen and "[U+202E]gnikcart" in seen


def test_lone_surrogates_can_be_written() -> None:
    assert visible("a\ud800b\x7f\u2066\n").encode("utf-8") == b"a[U+D800]b[U+007F][U+2066]\n"


def test_scores_of_the_page_are_those_of_results_json(run: Path, page: str) -> None:
    stored = [row for name in ("feelings", "speech") for row in json.loads((run / "run" / name / "results.json").read_text())["scores"]]
    whole = [row for row in stored if not row["subgroup"]]
    shown = [row[:4] for row in rows(page, "scores")]
    assert len(whole) == len(shown) == 4
    for row, cells in zip(whole, shown, strict=True):
        mark = "*" if row["n_clusters"] < 20 else ""
        arrow = "↓" if row["better"] == "lower" else "↑"
        bounds = f"{100 * row['low']:.2f} to {100 * row['high']:.2f}%{mark}"
        assert cells == [row["benchmark"], f"{row['metric']}\u00a0{arrow}".replace("\u00a0", " "), f"{100 * row['value']:.2f}%", bounds]
    rate = next(row for row in whole if row["metric"] == "wer")
    samples = transcripts(6)
    plain = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemoveMultipleSpaces()])
    clean = [one for one in samples if one.id != "clip-00"]
    assert rate["value"] > jiwer.wer([plain(one.target) for one in clean], [plain(one.answer) for one in clean]) > 0.03


def test_sound_decodes_to_the_clip_of_its_sample(page: str) -> None:
    players = Reader(page).all("audio")
    assert len(players) == 8  # four samples of each set; of two clips of a feeling one is gone
    for attrs in players[4:]:
        pitch = 440 * (int(attrs["aria-label"].removeprefix("Audio 1 of clip-")) % 3 + 1)
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(attrs["src"].split(",")[1])))
        assert rate == RATE and samples.ndim == 1 and len(samples) == pytest.approx(RATE / 2, abs=3000)
        spectrum = np.abs(np.fft.rfft(samples))
        assert np.fft.rfftfreq(len(samples), 1 / RATE)[spectrum.argmax()] == pytest.approx(pitch, abs=5)


def test_a_clip_that_cannot_be_read_is_said_without_its_place_on_the_disk(run: Path, page: str) -> None:
    assert "Audio 2: cannot be read: clips/gone.wav" in text_of(page)
    assert str(run) not in page


def test_the_same_run_gives_the_same_page(run: Path, page: str) -> None:
    tasks = [str(run / "rows" / name) for name in ("feelings.jsonl", "speech.jsonl")]
    write_report(run / "run", run / "again.html", tasks=tasks, data_root=run / "rows", options=ReportOptions(worst=4))
    assert (run / "again.html").read_text(encoding="utf-8") == page


def test_sound_beyond_the_room_for_it_is_left_out_and_said(run: Path) -> None:
    options, tasks = ReportOptions(worst=4, audio_mb=0.006), [str(run / "rows" / "speech.jsonl")]
    said = write_report(run / "run", run / "small.html", tasks=tasks, only=["speech"], options=options)
    small = (run / "small.html").read_text(encoding="utf-8")
    kept = Reader(small).all("audio")
    assert 0 < len(kept) < 4 and sum(len(attrs["src"]) for attrs in kept) <= 6000
    assert f"{4 - len(kept)} clips found no room in it" in said and "no room for it in the page (--audio-mb)" in text_of(small)


def test_a_page_without_rows_says_why_it_holds_no_sound(run: Path) -> None:
    said = write_report(run / "run" / "speech", run / "mute.html")
    assert "holds no sound: the rows of the sets were not given (-t, --data-root)" in said
    assert not Reader((run / "mute.html").read_text(encoding="utf-8")).all("audio")


def test_failures_subgroups_warnings_and_cost_stand_in_the_page(page: str) -> None:
    seen = " ".join(text_of(page).split())
    assert "1 sample has no answer that can be read" in seen and "too long 41.3 s, this model hears 30 s 1" in seen
    assert "5 samples have no answer that can be read" in seen and "no answer out of memory 5" in seen
    assert "By gender" in seen and "By age" in seen and "20-29" in seen and "By duration" in seen and "too small" in seen
    assert "Only a draw of the rows was run (--limit): feelings." in seen and "not the whole set: 40 of 90 rows" in seen
    (cost, _) = rows(page, "cost")
    assert cost[:5] == ["feelings", "40", "214.5", "12.72", "80"] and "peak GPU memory" not in seen
    assert "wer|norm:whisper-en" in seen and "dtype float32" in seen and "tags yes" in seen


def test_the_worst_answers_come_first_and_perfect_ones_never(page: str) -> None:
    seen = text_of(page.split('id="set-2"')[1].split("<h3>Subgroups")[0])
    order = re.findall(r"clip-\d\d", seen)
    assert order[0] == "clip-00" and len(set(order)) == 4 and set(order) < {f"clip-{number:02d}" for number in range(6)}
    assert "6 of 39 answers are not perfect; shown: 4" in " ".join(seen.split())


def test_an_alignment_shows_what_jiwer_counts() -> None:
    one = transcripts(6)[1]
    found = aligned(one, (wer_for("en"),))
    assert found is not None and not found.characters
    oracle = jiwer.process_words(one.target, one.answer.lower())
    counted = {kind: found.count(kind) for kind in ("sub", "del", "ins")}
    assert counted == {"sub": oracle.substitutions, "del": oracle.deletions, "ins": oracle.insertions} != {"sub": 0, "del": 0, "ins": 0}
    assert [piece.said for piece in found.pieces if piece.said] == WORDS
    assert [piece.heard for piece in found.pieces if piece.heard] == one.answer.lower().split()


def test_chinese_is_aligned_by_characters_and_long_texts_are_cut() -> None:
    one = Sample("x", "ok", "雨" * 200, ("雨" * 150 + "雪" * 50,), "asr", "zh")
    found = aligned(one, (wer_for("zh"),))
    assert found is not None and found.characters and len(found.pieces) + found.left_out == 200 and found.left_out > 0
    assert aligned(one, (Accuracy(),)) is None


def test_a_confusion_matrix_agrees_with_scikit_learn() -> None:
    samples = labels()
    found = confusion(measure("set", samples, [Accuracy(LABEL)]))
    assert found is not None and found.rows == ("joy", ANGER) and found.columns == ("joy", ANGER, OTHER, NO_ANSWER)
    heard = [one.answer if one.answer in ("joy", ANGER) else OTHER if one.answer else NO_ANSWER for one in samples]
    oracle = confusion_matrix([one.target for one in samples], heard, labels=list(found.columns))
    assert np.array(found.counts).tolist() == oracle[:2].tolist()


def test_letters_of_multiple_choice_are_counted_where_choices_differ_from_row_to_row() -> None:
    choices = [("cat", "dog"), ("owl", "hen"), ("cow", "cat"), ("hen", "owl")]
    samples = [Sample(f"q{n}", "ok", "B", (two[n % 2],), "audio_qa", "en", two) for n, two in enumerate(choices)]
    found = confusion(measure("set", samples, [Mcq()]))
    assert found is not None and found.letters and found.rows == ("A", "B") and found.counts == ((0, 2), (0, 2))


def test_open_answers_have_no_confusion_matrix_and_many_labels_have_a_list() -> None:
    open_ones = [Sample(f"s{n}", "ok", f"answer {n}", (f"answer {n}",)) for n in range(30)]
    assert confusion(measure("set", open_ones, [Accuracy()])) is None
    many = [Sample(f"s{n}", "ok", f"w{(n + (n < 3)) % 50}", (f"w{n % 50}",)) for n in range(100)]
    found = confusion(measure("set", many, [Accuracy()]))
    assert found is not None and not found.rows and sorted(found.pairs) == [("w0", "w1", 1), ("w1", "w2", 1), ("w2", "w3", 1)]


def made(value: float, low: float, high: float, **fields) -> Score:
    given = {"benchmark": "s", "metric": "wer", "unit": "%", "better": "lower", "n": 50, "signature": "wer|v1", "statuses": {"ok": 50}}
    return Score(value=value, lenient=value, low=low, high=high, n_clusters=50, clusters="speaker", **(given | fields))  # type: ignore[arg-type]


def test_a_forest_plot_puts_marks_where_their_values_are() -> None:
    (panel,) = panels([made(0.25, 0.2, 0.4, chance=0.9), made(1.5, 1.0, 3.0, benchmark="t")])
    assert [words for _, words in panel.ticks] == ["0%", "50%", "100%", "150%", "200%"] and panel.title == "Error rates: lower is better"
    one, two = (row.marks[0] for row in panel.rows)
    assert (one.at, one.low, one.high) == pytest.approx((12.5, 10.0, 20.0)) and panel.rows[0].chance == pytest.approx(45.0)
    assert two.high == 100.0 and not two.beyond and two.label.startswith("t, wer: 150.00%, 95 % interval 100.00 to 300.00%")


def test_every_scale_has_its_own_panel_and_the_run_beside_its_second_mark() -> None:
    scores = [
        made(0.1, 0.0, 0.2),
        made(30.0, 20, 40, unit="", metric="bleu", better="higher", signature="bleu|v1"),
        made(0.4, 0.3, 0.5, unit="", metric="cider", better="higher"),
    ]
    found = panels(scores, [made(0.3, 0.2, 0.4)])
    assert [panel.title for panel in found] == ["Error rates: lower is better", "bleu: higher is better", "cider: higher is better"]
    assert [mark.series for mark in found[0].rows[0].marks] == [0, 1] and len(found[1].rows[0].marks) == 1
    assert tick_places(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_scores_without_a_value_are_in_no_plot() -> None:
    assert panels([made(float("nan"), float("nan"), float("nan"), not_computed="no Java")]) == []


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.312, "%", "31.20%"),
        (45.26, "ms", "45.3 ms"),
        (0.4412, "", "0.4412"),
        (25.1, "", "25.10"),
        (float("nan"), "%", "–"),
        (None, "", "–"),
    ],
)
def test_values_read_as_their_metric_does(value: float, unit: str, words: str) -> None:
    assert written(value, unit) == words


def test_intervals_p_values_and_clusters_are_put_in_words() -> None:
    assert between(0.292, 0.334, "%") == "29.20 to 33.40%" and between(-0.01, 0.02, "%", signed=True) == "-1.00 to +2.00%"
    assert between(20.0, 40.0, "ms") == "20.0 to 40.0 ms" and between(float("nan"), 1.0, "") == "–"
    assert (p_value(0.0001), p_value(0.0456), written(None, "")) == ("< 0.001", "0.046", "–")
    assert cluster_words(10, "speaker") == "10* speakers" and cluster_words(40, "speaker or sample") == "40 speakers or samples"
    assert cluster_words(1, "source") == "1* source"


def test_a_terminal_table_lines_up_whatever_script_its_names_are_in() -> None:
    table = Table((Column("set"), Column("n", right=True)), (("汉语", "7"), ("deutsch", "1,200")), ("a note",))
    assert table.text().splitlines() == ["set          n", "───────  ─────", "汉语         7", "deutsch  1,200", "", "a note"]
    assert table.markdown().splitlines()[:3] == ["| set | n |", "|---|---:|", "| 汉语 | 7 |"]


def test_the_table_of_scores_says_what_failed_what_is_missing_and_how_it_was_counted() -> None:
    samples = transcripts(6)
    table = scores_table(score("speech", samples, [wer_for("en"), wer_for("en", "qwen-audio")]))
    assert [column.name for column in table.columns] == ["set", "metric", "value", "95 % interval", "lenient", "n", "failed", "clusters"]
    assert [row[1] for row in table.rows] == ["wer (norm:whisper-en:0.1.15) ↓", "wer (norm:qwen-audio:1) ↓"]
    assert table.rows[0][-3:] == ("40", "1", "10* speakers")
    notes = "\n".join(table.notes)
    assert "failed: 1 too long" in notes and "wer: wer|norm:qwen-audio:1|tok:word|v1" in notes and "fewer than 20 clusters" in notes
    assert "not computed: no Java" in "\n".join(scores_table([made(float("nan"), 0, 0, not_computed="no Java")]).notes)


def test_small_subgroups_are_marked() -> None:
    table = subgroups_table(subgroups("speech", transcripts(6), [wer_for("en")], ["gender"]))
    assert [(row[1], row[5]) for row in table.rows] == [("gender=female", "30"), ("gender=male", "10†")]


def test_rescoring_stored_samples_gives_the_bytes_that_the_run_wrote(run: Path) -> None:
    paths = [run / "run" / name / "results.json" for name in ("speech", "feelings")]
    before = [path.read_bytes() for path in paths]
    said = score_run(run / "run")
    assert [path.read_bytes() for path in paths] == before
    assert "feelings" in said and "speech" in said and "gender=male" in said
    assert json.loads(score_run(run / "run", only=["speech"], form="json"))[0]["benchmark"] == "speech"
    assert score_run(run / "run" / "speech", form="md").startswith("| set | metric |")


def test_a_file_of_samples_is_scored_where_it_lies_and_leaves_others_results_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    path = tmp_path / "mine.jsonl"
    path.write_bytes((run / "run" / "speech" / "samples.jsonl").read_bytes())
    assert score_run(path).splitlines()[2].startswith("mine")
    assert (tmp_path / "results.json").read_text() == "{}"
    assert json.loads((tmp_path / "mine.results.json").read_text())["benchmark"] == "mine"


def test_all_presets_print_what_each_rule_makes_of_the_same_answers(run: Path) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (run / "run" / "speech").iterdir())
    lines = score_run(run / "run" / "speech", preset="all").splitlines()
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (run / "run" / "speech").iterdir()) == before
    rules = {line.split()[1]: line for line in lines[2:] if line.startswith("speech")}
    assert {"ours", "qwen-audio", "lmms", "none", "spoken", "whisper-basic"} <= rules.keys() and "chinese" not in rules
    samples = transcripts(6)
    kept = [(one.target, re.sub(r"<\|.*?\|>", " ", one.answer)) for one in samples]
    raw = jiwer.wer([left for left, _ in kept], [right for _, right in kept])
    assert f"{100 * raw:.2f}%" in rules["none"]


def test_presets_and_forms_that_do_not_exist_are_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="preset"):
        score_run(run / "run", preset="best")
    with pytest.raises(ConfigError, match="form"):
        score_run(run / "run", form="pdf")  # type: ignore[arg-type]


def test_what_is_not_there_to_be_scored_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no samples\.jsonl here or one folder below"):
        score_run(tmp_path)
    with pytest.raises(DataError, match="no samples of music; there are feelings, speech"):
        read_runs(run / "run", ["music"])
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "samples.jsonl").write_text('{"id": "a", "answer": "x", "references": ["x"]}\n')
    (tmp_path / "set" / "results.json").write_text("{")
    with pytest.raises(DataError, match=r"results\.json: not JSON"):
        read_runs(tmp_path)


def test_two_runs_are_compared_in_text_json_and_on_the_page(run: Path, tmp_path: Path) -> None:
    choose = metrics_of(benchmark_of(Path("speech.jsonl")))
    finish(tmp_path / "other" / "speech", "speech", transcripts(30), {"model": "worse", "recipe": "speech rows"}, choose)
    said = compare_command(run / "run", tmp_path / "other", only=["speech"])
    assert "mini<i> better" in said and "worse" in said.splitlines()[0]
    (row,) = json.loads(compare_command(run / "run", tmp_path / "other", only=["speech"], form="json"))
    assert row["difference"]["p_randomisation"] < 0.01 and row["verdict"] == "first better"
    write_report(run / "run", tmp_path / "two.html", only=["speech"], against=tmp_path / "other")
    two = (tmp_path / "two.html").read_text(encoding="utf-8")
    Reader(two)
    (cells,) = rows(two, "comparison")
    assert cells[0] == "speech" and cells[6] == "mini<i> better" and two.count('class="beside"') >= 1


def test_runs_that_do_not_hold_the_same_sets_are_not_compared(run: Path) -> None:
    with pytest.raises(DataError, match="ids stand in one run alone"):
        compare_command(run / "run" / "speech", run / "run" / "feelings")
    with pytest.raises(DataError, match=r"different benchmarks \(feelings\)"):
        compare_command(run / "run", run / "run" / "speech")


def test_runs_are_called_by_their_models_else_by_their_folders(run: Path) -> None:
    runs = read_runs(run / "run")
    assert run_names(runs, runs, "a/one", "b/two") == ("one", "two")
    assert run_names(runs, runs, "a/run", "b/run") == ("first", "second")
    other = [dataclasses.replace(one, about={"model": "big"}) for one in runs]
    assert run_names(runs, other, "a", "b") == ("mini<i>", "big")


def test_the_papers_figures_stand_beside_a_run_of_its_sets(tmp_path: Path) -> None:
    samples = [dataclasses.replace(one, references=(one.target,)) for one in labels()]
    finish(tmp_path / "meld", "meld", samples, {"model": "m", "recipe": "meld 1"}, metrics_of(benchmark_of(Path("meld.jsonl"))))
    write_report(tmp_path, tmp_path / "paper.html")
    found = {row[0]: row for row in rows((tmp_path / "paper.html").read_text(encoding="utf-8"), "paper")}
    assert found["MELD"][2] == "55.7" and found["MELD"][4] != "not run" and found["VocalSound"][4] == "not run"


def test_a_file_of_rows_called_like_a_benchmark_is_measured_as_a_file(tmp_path: Path) -> None:
    finish(tmp_path / "meld", "meld", labels(), {"recipe": "meld rows"}, metrics_of(benchmark_of(Path("meld.jsonl"))))
    (mine,) = read_runs(tmp_path)
    assert mine.measured_as == "" and dataclasses.replace(mine, about={"recipe": "meld 1"}).measured_as == "meld"


def test_options_out_of_range_are_refused() -> None:
    for wrong in ({"worst": -1}, {"audio_mb": -0.1}, {"audio_mb": float("nan")}):
        with pytest.raises(ConfigError):
            ReportOptions(**wrong)  # type: ignore[arg-type]
