"""The 31 training tasks: each a tag sentence, a target format, a reader of the answer and a family of metric.

Source of the list: Qwen-Audio (arXiv:2311.07919), table 1: 18 tasks of speech, 5 of sound, 8 of music. The prefixes of asr, s2tt,
srwt_zh, emotion, vocal_sound, audio_caption, scene, audio_qa and note_analysis are those of the released evaluation. The
released model documents none for the others: theirs are built of its tags and are this project's choice, each different
from every other. Where no tag says what is asked (language, dialect, age, same speaker, singer) a fixed question does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tag_schema import answers
from tag_schema.custom import CustomTags
from tag_schema.prefix import TagPrefix, parse_sentence
from tag_schema.timestamps import srwt_to_words
from tag_schema.vocabulary import TagError

Area = Literal["speech", "sound", "music"]
Metric = Literal["wer", "cer", "cpwer", "bleu", "aas", "accuracy", "der", "f1", "cider", "map", "event_f1", "note"]
FREE_QUESTION = "{question}"

LANGUAGE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "en": "English", "zh": "Mandarin Chinese", "de": "German", "es": "Spanish", "ko": "Korean", "fr": "French", "ja": "Japanese",
        "it": "Italian", "zh_tr": "traditional Chinese characters", "ar": "Arabic", "ru": "Russian", "he": "Hebrew", "pt": "Portuguese",
        "nl": "Dutch", "pl": "Polish", "tr": "Turkish", "uk": "Ukrainian", "hi": "Hindi", "yue": "Cantonese", "zh_yue": "Cantonese",
    }
)


@dataclass(frozen=True, slots=True)
class TaskFamily:
    """One of the training tasks.

    Attributes:
        name: as commands and manifests write it.
        short: the abbreviation of the paper's table.
        title: what it is, for people.
        area: speech, sound or music.
        prefix: the tag sentence where nothing else is asked; the question "{question}" stands for one that is given with each row.
        target_format: what an answer looks like.
        parse: answer -> value, TagError where it has not that form.
        metric: the family of metric; wer is counted in characters (cer) for languages written without spaces.
        chat_prompt: the same request in words, for checkpoints without tags; {language}, {text_language}, {question} are filled in.
        instructions: the output instructions under which this is still the same task.
        answers_in_speech: whether the answer is written in the language spoken rather than in that of the labels.
    """

    name: str
    short: str
    title: str
    area: Area
    prefix: TagPrefix
    target_format: str
    parse: Callable[[str], object]
    metric: Metric
    chat_prompt: str
    instructions: tuple[str | None, ...] = ()
    answers_in_speech: bool = False

    def covers(self, prefix: TagPrefix) -> bool:
        """Say whether a tag sentence asks for this task, in whatever language."""
        mine = self.prefix
        if (mine.task, mine.timestamps) != (prefix.task, prefix.timestamps):
            return False
        if mine.question is not None:
            return mine.question in (FREE_QUESTION, prefix.question)
        return prefix.instruction in (self.instructions or (mine.instruction,))


def _keyword(language: str | None, instruction: str | None, timestamps: bool = False) -> TagPrefix:
    """Make the prefix of a task that names something."""
    return TagPrefix("keyword", language, "en", timestamps, instruction)


def _question(language: str | None, question: str = FREE_QUESTION) -> TagPrefix:
    """Make the prefix of a task that is asked in words."""
    return TagPrefix("question", language, "en", question=question)


_TEXT = "the words said, as text"
_TIMED = "<|0.00|>word<|0.23|><|sil|><|0.51|>word<|0.86|>, the first time given by the tag sentence"
_LABEL = "one label"
_LABELS = "labels, a semicolon between"
_TIMED_LABELS = "{}<|start|><|end|> one after another by their starts, they may overlap; <|sil|> where there is none"
_ENTITIES = (
    "<|startofentityvalue|>words<|endofentityvalue|><|startofentitytype|>TYPE<|endofentitytype|> one after another; "
    "empty where there is none"
)
_FORMS = ("wo_itn", "itn", None)
_TIMED_PROMPT = "Transcribe the speech in {language} word by word, with the time in seconds at which each word starts and ends."

_SPEECH = (
    TaskFamily(
        "asr", "ASR", "automatic speech recognition", "speech", TagPrefix("transcribe", "en", "en", instruction="wo_itn"),
        _TEXT, answers.read_text, "wer", "Transcribe the speech in {language}. Answer with the transcript alone.",
        instructions=_FORMS, answers_in_speech=True,
    ),
    TaskFamily(
        "s2tt", "S2TT", "speech-to-text translation", "speech", TagPrefix("translate", "en", "zh", instruction="itn"),
        "the translation, as text", answers.read_text, "bleu",
        "Translate the speech from {language} into {text_language}. Answer with the translation alone.", instructions=_FORMS,
    ),
    TaskFamily(
        "overlapped_asr", "OSR", "recognition of overlapped speech", "speech",
        TagPrefix("transcribe", "en", "en", instruction="speaker_meta"),
        "the words of each speaker, by who begins first, <|delim|> between", answers.read_speakers, "cpwer",
        "Several people speak at once in {language}. Transcribe each of them, one after another.", answers_in_speech=True,
    ),
    TaskFamily(
        "dialect_asr", "DASR", "recognition of dialects", "speech", TagPrefix("transcribe", None, "zh", instruction="wo_itn"),
        "what is said in a dialect that has no tag of its own, written in the standard language", answers.read_text, "cer",
        "The speech is in a dialect. Write it down in {text_language}. Answer with the transcript alone.",
        instructions=_FORMS,
    ),
    TaskFamily(
        "srwt_en", "SRWT", "English recognition with word times", "speech", TagPrefix("transcribe", "en", "en", timestamps=True),
        _TIMED, srwt_to_words, "aas", _TIMED_PROMPT,
        instructions=_FORMS, answers_in_speech=True,
    ),
    TaskFamily(
        "srwt_zh", "SRWT", "Mandarin recognition with word times", "speech", TagPrefix("transcribe", "zh", "zh", timestamps=True),
        _TIMED, srwt_to_words, "aas", _TIMED_PROMPT,
        instructions=_FORMS, answers_in_speech=True,
    ),
    TaskFamily(
        "dialect_id", "DID", "dialect identification", "speech", _question("zh", "Which dialect is spoken?"),
        _LABEL, answers.read_label, "accuracy", "Which dialect is spoken? Answer with its name alone.",
    ),
    TaskFamily(
        "language_id", "LID", "spoken language identification", "speech", _question(None, "Which language is spoken?"),
        "the English name of the language", answers.read_label, "accuracy", "Which language is spoken? Answer with its name alone.",
    ),
    TaskFamily(
        "gender", "SGC", "speaker gender recognition", "speech", _keyword("en", "speaker_meta"),
        _LABEL, answers.read_label, "accuracy", "Is the speaker male or female? Answer with one word.",
    ),
    TaskFamily(
        "emotion", "ER", "emotion recognition", "speech", _keyword("en", "emotion_recognition"),
        _LABEL, answers.read_label, "accuracy", "Which emotion is in the speaker's voice? Answer with one word.",
    ),
    TaskFamily(
        "speaker_verification", "SV", "speaker verification, two clips", "speech",
        _question("en", "Do both recordings have the same speaker?"),
        "yes or no", answers.read_yes_no, "accuracy", "Do both recordings have the same speaker? Answer yes or no.",
    ),
    TaskFamily(
        "diarization", "SD", "speaker diarization", "speech", _keyword("en", "speaker_meta", timestamps=True),
        _TIMED_LABELS.format("speaker 1"), answers.read_timed_labels, "der",
        "Who speaks when? Number the speakers and give the time in seconds at which each turn starts and ends.",
    ),
    TaskFamily(
        "entity", "SER", "speech entity recognition", "speech", _keyword("en", "named_entity_recognition"),
        _ENTITIES, answers.read_entities, "f1", "Name the entities in the speech and the type of each.", answers_in_speech=True,
    ),
    TaskFamily(
        "keyword_spotting", "KS", "keyword spotting", "speech", _keyword("en", None),
        "the word", answers.read_label, "accuracy", "Which word is said? Answer with the word alone.", answers_in_speech=True,
    ),
    TaskFamily(
        "intent", "IC", "intent classification", "speech", _keyword("en", "speech_understanding"),
        "<|scenario|>alarm<|action|>set; the scenario where the corpus has one", answers.read_intent, "accuracy",
        "What does the speaker want done? Answer with the intent alone.",
    ),
    TaskFamily(
        "slot_filling", "SF", "slot filling", "speech", _keyword("en", "entities"),
        _ENTITIES, answers.read_entities, "f1", "Name the slots that the speaker's request fills and the value of each.",
        answers_in_speech=True,
    ),
    TaskFamily(
        "age", "SAP", "speaker age prediction", "speech", _question("en", "How old is the speaker?"),
        "a number of years or one label", answers.read_label, "accuracy", "How old is the speaker? Answer with the age alone.",
    ),
    TaskFamily(
        "vocal_sound", "VSC", "vocal sound classification", "speech", _keyword("en", "vocal_classification"),
        _LABEL, answers.read_label, "accuracy", "Which sound does the person make? Answer with its name alone.",
    ),
)

_SOUND = (
    TaskFamily(
        "audio_caption", "AAC", "audio captioning", "sound", TagPrefix("caption", None, "en", instruction="caption_clotho"),
        "a sentence", answers.read_text, "cider", "Generate the caption in {text_language}:",
        instructions=("caption_clotho", "caption_audiocaps", "caption_plain", "audioset_ontology", None),
    ),
    TaskFamily(
        "sound_event", "SEC", "sound event classification", "sound", _keyword(None, "event"),
        _LABELS, answers.read_labels, "map", "Which sounds are heard? Answer with their names alone.",
        instructions=("event", "audioset_ontology"),
    ),
    TaskFamily(
        "scene", "ASC", "acoustic scene classification", "sound", _keyword(None, "scene"),
        _LABEL, answers.read_label, "accuracy", "In which kind of place was this recorded? Answer with its name alone.",
    ),
    TaskFamily(
        "sound_event_detection", "SED", "sound event detection with times", "sound", _keyword(None, "event", timestamps=True),
        _TIMED_LABELS.format("dog"), answers.read_timed_labels, "event_f1",
        "Which sounds are heard when? Give the time in seconds at which each starts and ends.",
    ),
    TaskFamily(
        "audio_qa", "AQA", "audio question answering", "sound", _question("en"),
        "a word or a sentence", answers.read_text, "accuracy", FREE_QUESTION,
    ),
)

_MUSIC = (
    TaskFamily(
        "singer_id", "SID", "singer identification", "music", _question(None, "Who is singing?"),
        _LABEL, answers.read_label, "accuracy", "Who is singing? Answer with the name alone.",
    ),
    TaskFamily(
        "music_emotion", "SMER", "singer and music emotion recognition", "music", _keyword(None, "emotion_recognition"),
        _LABELS, answers.read_labels, "accuracy", "Which emotion is in the music? Answer with one word.",
    ),
    TaskFamily(
        "music_caption", "MC", "music captioning", "music", TagPrefix("caption", None, "en", instruction="music_description"),
        "a sentence or more", answers.read_text, "cider", "Describe the music in {text_language}.",
    ),
    TaskFamily(
        "instrument", "MIC", "musical instrument classification", "music", _keyword(None, "instrument"),
        _LABELS, answers.read_labels, "accuracy", "Which instrument is played? Answer with its name alone.",
    ),
    TaskFamily(
        "note_analysis", "MNA", "musical note analysis", "music", _keyword(None, "note_analysis"),
        "<|pitch|><|midi_pitch_60|><|velocity|><|midi_velocity_80|><|instrument|>guitar<|sonic|>dark, percussive",
        answers.read_note, "note", "Name the MIDI pitch, the MIDI velocity, the instrument and the qualities of the note.",
    ),
    TaskFamily(
        "genre", "MGR", "music genre recognition", "music", _keyword(None, "music_description"),
        _LABEL, answers.read_label, "accuracy", "Of which genre is the music? Answer with its name alone.",
    ),
    TaskFamily(
        "music_recognition", "MR", "music recognition", "music", _keyword(None, "song_meta"),
        "title<|delim|>artist", answers.read_song, "accuracy", "Which piece of music is this? Answer with its title and its artist.",
    ),
    TaskFamily(
        "music_qa", "MQA", "music question answering", "music", _question(None),
        "a word or a sentence", answers.read_text, "accuracy", FREE_QUESTION,
    ),
)

TASKS: Mapping[str, TaskFamily] = MappingProxyType({task.name: task for task in (*_SPEECH, *_SOUND, *_MUSIC)})


def family(name: str) -> TaskFamily:
    """Find a task by its name.

    Raises:
        TagError: no task has that name; the message lists those that there are.
    """
    if name not in TASKS:
        raise TagError(f"task {name!r} does not exist; expected a tag sentence, or one of {', '.join(TASKS)}")
    return TASKS[name]


def prefix_for(
    name: str,
    *,
    language: str | None = None,
    text_language: str | None = None,
    timestamps: bool = False,
    question: str | None = None,
    instruction: str | None = None,
) -> TagPrefix:
    """Build the tag sentence of a task.

    Args:
        name: one of the 31.
        language: what is spoken, the task's own default (English but for Mandarin tasks) where it is not given. Where a task hears no
            language in particular (scenes, music, dialects) it names the language of the answer.
        text_language: of the answer, where it is not the obvious one; a translation out of English must name it.
        timestamps: ask for times: asr becomes recognition with word times, sound_event detection with times.
        question: for audio_qa and music_qa.
        instruction: output instruction instead of the task's own ("itn", "caption_audiocaps").
    Raises:
        TagError: no such task, or a combination that does not exist.
    """
    task = family(name)
    mine = task.prefix
    audio = None if mine.audio_language is None else language or mine.audio_language
    text = _answer_language(task, language, text_language)
    chosen = instruction or mine.instruction
    if timestamps and instruction is None and mine.task == "transcribe":
        chosen = None  # the released sentence for word times has no output instruction
    return TagPrefix(mine.task, audio, text, timestamps or mine.timestamps, chosen, _asked(task, question))


def is_sentence(text: str) -> bool:
    """Tell whether what names a task is a tag sentence rather than the name of one of the 31."""
    return text.lstrip().startswith("<|")


def read_task(text: str, custom: CustomTags | None = None) -> TagPrefix:
    """Read what a task is asked by: a tag sentence, or the name of one of the 31 with its default languages.

    Args:
        custom: the model's own tags, which a sentence may hold.
    Raises:
        TagError: a malformed sentence, or no such task.
    """
    return parse_sentence(text, custom) if is_sentence(text) else prefix_for(text)


def family_of(prefix: TagPrefix) -> TaskFamily | None:
    """Find the task that a tag sentence asks for; None where it is none of the 31."""
    covering = [task for task in TASKS.values() if task.covers(prefix)]

    def closeness(task: TaskFamily) -> tuple[bool, bool, bool]:
        mine = task.prefix
        fixed = mine.question is not None and mine.question != FREE_QUESTION
        heard = (mine.audio_language is None) == (prefix.audio_language is None)
        return fixed, heard, mine.audio_language == prefix.audio_language

    return max(covering, key=closeness, default=None)


def natural_prompt(prefix: TagPrefix) -> str:
    """Say in words what a tag sentence asks for, for checkpoints that have no such tags (Qwen2-Audio).

    Raises:
        TagError: the sentence is none of the 31 tasks, so that nobody has put it into words.
    """
    task = family_of(prefix)
    if task is None:
        what = f"{prefix.task}{' with ' + prefix.instruction if prefix.instruction else ''}"
        raise TagError(f"{what}: is none of the {len(TASKS)} tasks, and this model has no tags; ask in words, as a chat question")
    if prefix.question is not None and task.prefix.question == FREE_QUESTION:
        return prefix.question
    return task.chat_prompt.format(
        language=language_name(prefix.audio_language or prefix.text_language), text_language=language_name(prefix.text_language)
    )


def language_name(code: str) -> str:
    """Name a language in English; one that has no name here is called by its code."""
    return LANGUAGE_NAMES.get(code, f"the language with the code {code}")


def _answer_language(task: TaskFamily, language: str | None, text_language: str | None) -> str:
    """Choose the language of the answer: what was asked for, else what the task usually answers in."""
    mine = task.prefix
    if mine.audio_language is None and language is not None and text_language not in (None, language):
        raise TagError(
            f"{task.name}: hears no language in particular, found {language} and {text_language}; give the language of the answer alone"
        )
    if text_language is not None:
        return text_language
    if mine.audio_language is None or task.answers_in_speech:
        return language or mine.text_language
    if mine.task == "translate" and language is not None:
        if language.split("_")[0] == "en":
            raise TagError(f"{task.name}: out of English, into which language? Give the text language")
        return "en"
    return mine.text_language


def _asked(task: TaskFamily, question: str | None) -> str | None:
    """Choose the question of a task's prefix: the row's, the task's own, or none."""
    mine = task.prefix.question
    if mine == FREE_QUESTION:
        if question is None:
            raise TagError(f"{task.name}: the question is missing")
        return question
    if question is not None:
        raise TagError(f"{task.name}: takes no question of yours; expected the task audio_qa or music_qa, or a chat")
    return mine
