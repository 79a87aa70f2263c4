"""Two rows of every built-in benchmark, in the layout that its folder has: what `load` and a whole run are tested on."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile
from corpus_tree import clip, text

HEARD_S = 0.5


def different(path: Path, number: int, seconds: float = HEARD_S) -> Path:
    """Write a tone whose pitch tells it from the others; an ending that soundfile cannot write gets the bytes of a wav."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(int(seconds * 16_000)) / 16_000
    tone = 0.2 * np.sin(2 * np.pi * (200 + 40 * number) * times)
    known = path.suffix.lower() in (".wav", ".flac", ".mp3", ".ogg")
    soundfile.write(path if known else path.with_suffix(".wav"), tone, 16_000)
    return path if known else path.with_suffix(".wav").rename(path)


def sound_bytes(number: int = 0) -> bytes:
    """Return a short tone as the bytes of a wav file."""
    data = io.BytesIO()
    soundfile.write(data, 0.2 * np.sin(np.arange(8_000) * (1 + number) / 20), 16_000, format="WAV")
    return data.getvalue()


def parquet(path: Path, rows: Sequence[Mapping[str, Any]], column: str = "audio") -> Path:
    """Write rows as the hub does: the audio as {bytes, path}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    heard = [{**row, column: {"bytes": sound_bytes(number), "path": "a.wav"}} for number, row in enumerate(rows)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(heard), path)
    return path


def librispeech(root: Path) -> None:
    text(root / "LibriSpeech" / "SPEAKERS.TXT", ";ID |SEX| SUBSET |MINUTES| NAME\n84 | F | x | 8.0 | A\n85 | M | x | 8.0 | B\n")
    for split in ("dev-clean", "dev-other", "test-clean", "test-other"):
        for speaker in (84, 85):
            chapter = root / "LibriSpeech" / split / str(speaker) / "1"
            different(chapter / f"{speaker}-1-0000.flac", speaker)
            text(chapter / f"{speaker}-1.trans.txt", f"{speaker}-1-0000 HE SAID SO\n")


def aishell1(root: Path) -> None:
    lines = ""
    for split in ("dev", "test"):
        for number in (1, 2):
            name = f"BAC009{split}W012{number}"
            different(root / "aishell1" / "data_aishell" / "wav" / split / f"S070{number}" / f"{name}.wav", number)
            lines += f"{name} 甚至 出现\n"
    text(root / "aishell1" / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt", lines)


def aishell2(root: Path) -> None:
    for channel in ("Mic", "iOS", "Android"):
        folder = root / "aishell2" / "AISHELL-DEV-TEST-SET" / channel / "test"
        for number in (1, 2):
            different(folder / "wav" / "T0011" / f"MT0011W000{number}.wav", number)
        text(folder / "trans.txt", "MT0011W0001\t换一首歌\nMT0011W0002\t听 Beat it\n")


def covost2(root: Path) -> None:
    for code in ("en", "de", "es", "fr", "it", "zh-CN"):
        for number in (1, 2):
            different(root / "covost2" / code / "clips" / f"{code}_{number}.mp3", number)
        rows = "".join(f"s{number}\t{code}_{number}.mp3\tx\n" for number in (1, 2))
        text(root / "covost2" / code / "validated.tsv", f"client_id\tpath\tsentence\n{rows}")
    for spoken, written in (("en", "de"), ("de", "en"), ("en", "zh-CN"), ("zh-CN", "en"), ("es", "en"), ("fr", "en"), ("it", "en")):
        rows = "".join(f"{spoken}_{number}.mp3\tAll of them said number {number}.\ttest\n" for number in (1, 2))
        text(root / "covost2" / spoken / f"covost_v2.{spoken}_{written}.tsv", f"path\ttranslation\tsplit\n{rows}")


def clotho(root: Path) -> None:
    rows = "".join(f'{name}.wav,"A {name}, far off.",Two.,Three.,Four.,Five.\n' for name in ("bell", "rain"))
    text(root / "clotho" / "clotho_captions_evaluation.csv", "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n" + rows)
    for number, name in enumerate(("bell", "rain")):
        different(root / "clotho" / "evaluation" / f"{name}.wav", number)


def audiocaps(root: Path) -> None:
    rows = "".join(f"{10 * clip + n},video{clip},30,Caption {n} of {clip}\n" for clip in (1, 2) for n in range(5))
    text(root / "audiocaps" / "test.csv", "audiocap_id,youtube_id,start_time,caption\n" + rows)
    for number in (1, 2):
        different(root / "audiocaps" / "audio" / "test" / f"video{number}_30.wav", number)


def alignments(root: Path) -> None:
    for split in ("test-clean", "test-other"):
        chapter = root / "librispeech_alignments" / "LibriSpeech" / split / "84" / "1"
        for number in range(2):
            different(chapter / f"84-1-000{number}.flac", number, 2.0)
        text(chapter / "84-1.trans.txt", "84-1-0000 GO ON\n84-1-0001 BUT IN\n")
        text(chapter / "84-1.alignment.txt", '84-1-0000 ",GO,ON," "0.4,0.8,1.2,2.0"\n84-1-0001 ",BUT,IN," "0.4,0.8,1.2,2.0"\n')
        words = [{"word": word, "start": at, "end": at + 0.2} for word, at in (("go", 0.0), ("on", 0.2))]
        rows = [{"id": f"84-1-000{n}", "sex": "F", "subset": split, "transcript": "go on", "words": words} for n in range(2)]
        parquet(root / "librispeech_words" / "data" / f"{split.replace('-', '_')}-0.parquet", rows)


def textgrid(words: Sequence[tuple[float, float, str]], end_s: float) -> str:
    """Write a TextGrid with one tier of words."""
    rows = "".join(f'intervals [{n}]:\nxmin = {start}\nxmax = {end}\ntext = "{word}"\n' for n, (start, end, word) in enumerate(words, 1))
    tier = f'class = "IntervalTier"\nname = "words"\nxmin = 0\nxmax = {end_s}\nintervals: size = {len(words)}\n{rows}'
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {end_s}\ntiers? <exists>\nsize = 1\nitem []:\n'
    return f"{head}item [1]:\n{tier}"


def textgrids(root: Path) -> None:
    for language, words in (("en", ("one", "two")), ("zh", ("面", "条"))):
        grid = textgrid([(0.0, 0.2, words[0]), (0.2, 0.5, words[1])], 0.5)
        for number in range(2):
            folder = root / "mfa_textgrids" / language / "test" / "anna"
            different(folder / f"{number}.wav", number)
            text(folder / f"{number}.lab", " ".join(words))
            text(folder / f"{number}.TextGrid", grid)
    for number in range(2):
        name, top = f"BAC009S0764W012{number}", root / "aishell1_textgrids"
        different(top / "data_aishell" / "wav" / "test" / "S0764" / f"{name}.wav", number)
        text(top / "textgrids" / f"{name}.TextGrid", textgrid([(0.0, 0.2, "面"), (0.2, 0.5, "条")], 0.5))
    lines = "".join(f"BAC009S0764W012{number} 面 条\n" for number in range(2))
    text(root / "aishell1_textgrids" / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt", lines)


def scenes(root: Path) -> None:
    for number, name in enumerate(("CrowdedIndoor/CrowdedIndoor_user0017_1_001", "Bus/Bus_user0138_1_007")):
        different(root / "CochlScene" / "Test" / f"{name}.wav", number)
    top = root / "tut2017" / "TUT-acoustic-scenes-2017-evaluation"
    text(top / "meta.txt", "audio/1245.wav\tgrocery_store\naudio/1246.wav\tbus\n")
    for number in (1245, 1246):
        different(top / "audio" / f"{number}.wav", number - 1245)


def meld(root: Path) -> None:
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    text(root / "meld" / "test_sent_emo.csv", head + "1,Oh.,Rachel,neutral,x,0,0,3,1,a,b\n2,No!,Ross,anger,x,0,1,3,1,a,b\n")
    for number in range(2):
        different(root / "meld" / "output_repeated_splits_test" / f"dia0_utt{number}.mp4", number)


def clotho_aqa(root: Path) -> None:
    rows = [("rain.wav", "Is it raining?", answer) for answer in ("yes", "yes", "yes")]
    rows += [("rain.wav", "What falls?", answer) for answer in ("rain", "rain", "water")]
    rows += [("dog.wav", "Is there a cat?", answer) for answer in ("no", "no", "yes")]
    rows += [("dog.wav", "What barks?", answer) for answer in ("dog", "dog", "dog")]
    lines = "".join(f"{name},{question},{answer},yes\n" for name, question, answer in rows)
    text(root / "clotho_aqa" / "clotho_aqa_test.csv", "file_name,QuestionText,answer,confidence\n" + lines)
    for number, name in enumerate(("rain", "dog")):
        different(root / "clotho_aqa" / "audio_files" / f"{name}.wav", number)


def vocalsound(root: Path) -> None:
    rows = [{"wav": "/x/f0003_0_cough.wav", "labels": "/m/01b_21"}, {"wav": "/x/m0120_0_sniff.wav", "labels": "/m/07ppn3j"}]
    text(root / "vocalsound" / "datafiles" / "te.json", {"data": rows})
    for number, row in enumerate(rows):
        different(root / "vocalsound" / "audio_16k" / Path(row["wav"]).name, number)


def nsynth(root: Path) -> None:
    row = {"pitch": 60, "velocity": 50, "instrument_family_str": "bass", "instrument_str": "bass_001", "instrument_source_str": "synthetic"}
    rows = {f"bass_001-{n}": {**row, "note_str": f"bass_001-{n}", "qualities_str": ["dark"][:n]} for n in range(2)}
    text(root / "nsynth" / "nsynth-test" / "examples.json", rows)
    for number, name in enumerate(rows):
        different(root / "nsynth" / "nsynth-test" / "audio" / f"{name}.wav", number)


FLEURS = ("en_us", "cmn_hans_cn", "yue_hant_hk", "de_de", "es_419", "fr_fr", "it_it", "ja_jp", "ko_kr")
COMMON_VOICE = ("en", "zh-CN", "zh-HK", "de", "es", "fr", "it", "ja", "ko")


def crowds(root: Path) -> None:
    for code in FLEURS:
        rows = "".join(f"150{n}\t{n}.wav\tSo say 5.\tso say five\ts o\t8000\tMALE\n" for n in (1, 2))
        text(root / "fleurs" / code / "test.tsv", rows)
        for number in (1, 2):
            different(root / "fleurs" / code / "audio" / "test" / f"{number}.wav", number)
    for code in COMMON_VOICE:
        rows = "".join(f"c{n}\tcv_{code}_{n}.mp3\tSaid {n}.\t\tmale\t\t{code}\n" for n in (1, 2))
        text(root / "common_voice_15" / code / "test.tsv", f"client_id\tpath\tsentence\tage\tgender\taccents\tlocale\n{rows}")
        for number in (1, 2):
            different(root / "common_voice_15" / code / "clips" / f"cv_{code}_{number}.mp3", number)


def gigaspeech(root: Path) -> None:
    audios = []
    for subset in ("DEV", "TEST"):
        segments = [
            {
                "sid": f"{subset}_S{n}",
                "begin_time": float(n),
                "end_time": n + 0.8,
                "text_tn": "WELL <COMMA> YES <PERIOD>",
                "subsets": [f"{{{subset}}}"],
            }
            for n in range(2)
        ]
        audios.append({"aid": subset, "path": f"audio/{subset}.opus", "subsets": [f"{{{subset}}}"], "segments": segments})
        different(root / "gigaspeech" / "audio" / f"{subset}.ogg", 1, 3.0).rename(root / "gigaspeech" / "audio" / f"{subset}.opus")
    text(root / "gigaspeech" / "GigaSpeech.json", {"audios": audios})


def open_asr(root: Path) -> None:
    sets = [("ami", "test"), ("common_voice", "test"), ("earnings22", "test"), ("gigaspeech", "test"), ("librispeech", "test.clean")]
    sets += [("librispeech", "test.other"), ("spgispeech", "test"), ("tedlium", "test"), ("voxpopuli", "test")]
    cleaned = [("ami_cleaned", "test"), ("gigaspeech_cleaned", "test"), ("voxpopuli_cleaned_aa", "test")]
    for folder, parts in (("open_asr", sets), ("open_asr_cleaned", cleaned)):
        for config, split in parts:
            rows = [{"dataset": config, "text": f"Said {n}.", "id": f"{config}_{n}", "audio_length_s": 0.5} for n in range(2)]
            parquet(root / folder / config / f"{split}-00000-of-00001.parquet", rows)


def mmau(root: Path) -> None:
    for part in ("test-mini", "test"):
        rows = [
            {
                "id": f"{part}{n}", "audio_id": f"./{part}-audios/{n}.wav", "question": "Who speaks?", "choices": ["(A) Man", "(B) Woman"],
                "answer": "(B) Woman" if part == "test-mini" else "", "dataset": "AudioSet", "task": "speech", "split": part,
                "category": ["Reasoning"], "sub-category": "Who", "difficulty": "easy",
            }
            for n in range(2)
        ]  # fmt: skip
        text(root / "mmau_v05.15.25" / f"mmau-{part}.json", rows)
        for number in range(2):
            different(root / "mmau_v05.15.25" / f"{part}-audios" / f"{number}.wav", number)


def mmar(root: Path) -> None:
    rows = [
        {
            "id": f"r{n}", "audio_path": f"./audio/r{n}.wav", "question": "Which accent?", "choices": "['British', 'American']",
            "answer": " american " if n else "British", "modality": "speech", "category": "Layer", "sub-category": "x", "language": "zh",
        }
        for n in range(2)
    ]  # fmt: skip
    text(root / "mmar" / "MMAR-meta.json", rows)
    for number in range(2):
        different(root / "mmar" / "audio" / f"r{number}.wav", number)


def mmsu(root: Path) -> None:
    row = {"question": "Which note?", "choice_a": "C", "choice_b": "D", "choice_c": "E", "choice_d": "F", "answer_gt": "E"}
    about = {"task_name": "pitch", "category": "Perception", "sub-category": "Linguistics"}
    parquet(root / "mmsu" / "data" / "train-00000-of-00001.parquet", [{"id": f"s{n}", **row, **about} for n in range(2)])


def air_bench(root: Path) -> None:
    top = root / "air_bench"
    scene = {"task_name": "Acoustic_Scene", "dataset_name": "Cochl", "path": "a.wav", "question": "Where?", "uniq_id": 1}
    ground = {"task_name": "Audio_Grounding", "dataset_name": "AG", "path": "b.wav", "question": "When?", "uniq_id": 2}
    options = {"choice_a": "street", "choice_b": "park", "answer_gt": "park"}
    text(top / "Foundation" / "Foundation_meta.json", [{**scene, **options}, {**ground, **options, "choice_c": "bus", "choice_d": "car"}])
    different(top / "Foundation" / "Acoustic_Scene_Cochl" / "a.wav", 1)
    different(top / "Foundation" / "Audio_Grounding_AG" / "b.flac", 2)
    chat = {"task_name": "speech_QA", "dataset_name": "w", "question": "Why?", "answer_gt": "So.", "meta_info": "x"}
    rows = [{**chat, "path": f"{n}.wav", "uniq_id": n} for n in range(2)]
    text(top / "Chat" / "Chat_meta.json", rows)
    for number in range(2):
        different(top / "Chat" / "speech_QA_w" / f"{number}.wav", number)


def voicebench(root: Path) -> None:
    top = root / "voicebench"
    parquet(top / "openbookqa" / "test-00000-of-00001.parquet", [{"prompt": "What? A. x", "reference": letter} for letter in "AC"])
    for subject in ("law", "physics"):
        row = {"prompt": "What?", "reference": "D", "question_id": 7, "category": subject, "src": "x"}
        parquet(top / "mmsu" / f"{subject}-00000-of-00001.parquet", [row])
    hard = [{"prompt": "p", "reference": right, "id": name} for right, name in (("Yes", "bbh_navigate_1"), ("(B)", "bbh_hyperbaton_2"))]
    parquet(top / "bbh" / "test-00000-of-00001.parquet", hard)
    for part in ("advbench", "alpacaeval_full", "commoneval", "wildvoice"):
        parquet(top / part / "test-00000-of-00001.parquet", [{"prompt": f"Do {n}."} for n in range(2)])
    rules = [{"prompt": "Do.", "key": n, "instruction_id_list": ["a:b"], "kwargs": "[]"} for n in range(2)]
    parquet(top / "ifeval" / "test-00000-of-00001.parquet", rules)
    for place in ("aus", "gbr", "ind_n", "ind_s", "irl", "kenya", "nga", "nzl", "phl", "usa", "zaf"):
        parquet(top / "sd-qa" / f"{place}-00000-of-00001.parquet", [{"prompt": "Who?", "reference": f"He {n}"} for n in range(2)])


def muchomusic(root: Path) -> None:
    top = root / "muchomusic"
    head = "question,correct_answer,distractor_1_answer,distractor_2_answer,distractor_3_answer,genre,dataset,dataset_identifier\n"
    rows = "Which style?,Reggae,Ska,Pop,Rock,Reggae,musiccaps,-0Gj8-vB1q4_30.json\n"
    rows += "Which tempo?,Slow,Fast,Loud,Green,,musiccaps,-0Gj8-vB1q4_30.json\n"
    text(top / "muchomusic.csv", head + rows)
    text(top / "sdd" / "song_describer.csv", "caption_id,track_id,caption,is_valid_subset,familiarity,artist_id,album_id,path,duration\n")
    caps = "ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,is_balanced_subset,is_audioset_eval\n"
    text(top / "musiccaps" / "musiccaps-public.csv", caps + "-0Gj8-vB1q4,30,40,/m/a,x,A song,4,False,True\n")
    clip(top / "musiccaps" / "audio" / "[-0Gj8-vB1q4]-[30-40].wav")


BUILDERS: tuple[Callable[[Path], None], ...] = (
    librispeech, aishell1, aishell2, covost2, clotho, audiocaps,
    alignments, textgrids, scenes, meld, clotho_aqa, vocalsound, nsynth, crowds,
    gigaspeech, open_asr, mmau, mmar, mmsu, air_bench, voicebench, muchomusic,
)  # fmt: skip


def build(root: Path) -> Path:
    """Build the fixture of every built-in benchmark below a data root, and return it."""
    for builder in BUILDERS:
        builder(root)
    return root


def rows_file(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as JSONL."""
    return text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
