"""Show one row as training sees it: its prompt position by position, what is learned of it, and a picture of what is heard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from data.admission import AdmissionOptions, examine
from data.commands.picture import draw
from data.examples import build_prompt, clip_reader
from data.groups import task_of
from data.ledger import Entry
from data.manifest import Record
from data.mixture.config import read_yaml
from data.rows.shapes import read_rows
from qwen_audio.audio import AudioClip
from qwen_audio.config import ModelConfig
from qwen_audio.errors import DataError
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.model.checkpoints.load import read_settings
from qwen_audio.prompt import Prompt
from qwen_audio.tokenizer import Tokenizer

IDS_A_LINE = 8
LINE = 100  # letters of a prompt's text in one line
EVERYTHING = AdmissionOptions(long_audio="windows", evaluation=True)


def words_of(model: str, tags: Path | str | None = None) -> tuple[Tokenizer, ModelConfig]:
    """Read the tokenizer and the settings of a checkpoint, without its weights.

    Args:
        model: "mini", a directory, or a hub id that is in the cache here.
        tags: a YAML file, such as a training configuration, whose custom_tags the tokenizer shall have too.
    """
    folder = find_checkpoint(model)
    tokenizer = Tokenizer.from_directory(folder)
    if tags is not None:
        tokenizer = tokenizer.with_new_tags(read_yaml(tags).get("custom_tags", {}))
    return tokenizer, read_settings(folder)


def show(
    file: Path | str,
    row: int | str,
    *,
    model: str = "mini",
    tags: Path | str | None = None,
    data_root: Path | str | None = None,
    picture: Path | str | None = None,
) -> str:
    """Render one row of a file as training would, and draw what it hears.

    Args:
        file: rows of any shape.
        row: the number of its line (in a JSON array its index), FILE:LINE as `check` prints it, or its id.
        model, tags: the checkpoint whose tokenizer is used, and new tags that it shall have; see words_of.
        data_root: where relative paths begin; the file's folder by default.
        picture: PNG to write the waveform and the log-mel of each clip to.
    Returns:
        the table of positions.
    Raises:
        DataError: there is no such row, or it cannot be trained on.
    """
    tokenizer, config = words_of(model, tags)
    root = Path(file).parent if data_root is None else Path(data_root)
    where, record = find_row(Path(file), row, tokenizer)
    found = examine(record, where, EVERYTHING, root, tokenizer)
    if found.record is None:
        raise DataError("; ".join(map(str, found.entries)))
    prompt = build_prompt(found.record, tokenizer, clip_reader(root))
    lines = [*_heading(where, found.record, prompt), *map(str, found.entries), "", *position_table(prompt, tokenizer)]
    if len(prompt.token_ids) > config.decoder.window:
        lines.append(f"longer than the window of {model}: {config.decoder.window} positions")
    if picture is not None:
        draw(found.record, prompt.clips, config, Path(picture))
        lines.append(f"picture: {picture}")
    return "\n".join(lines)


def find_row(file: Path, row: int | str, tokenizer: Tokenizer) -> tuple[str, Record]:
    """Find a row by its number, its FILE:LINE or its id: (where, record).

    Raises:
        DataError: there is none, or it cannot be read.
    """
    wanted = {f"{file}:{row}", f"{file}:[{row}]", f"{file.absolute()}:{row}", str(row)}
    by_id: tuple[str, Record | Entry] | None = None
    for where, found in read_rows(file, tokenizer.custom):
        if where in wanted:
            by_id = (where, found)
            break
        if by_id is None and found.id == str(row):
            by_id = (where, found)
    if by_id is None:
        raise DataError(f"{file}: no row {row}; expected the number of a line, FILE:LINE or an id")
    where, found = by_id
    if isinstance(found, Entry):
        raise DataError(str(found))
    return where, found


def _heading(where: str, record: Record, prompt: Prompt) -> list[str]:
    """Say which row it is, and how much of it there is."""
    audio, learned = sum(map(len, prompt.spans)), sum(prompt.learned)
    name = "" if record.id == where else f"  {record.id}"
    heard = "".join(f"\n  clip {number}: {clip_name(clip)}" for number, clip in enumerate(prompt.clips, 1))
    total = len(prompt.token_ids)
    counts = f"  {total} positions: {audio} audio, {total - audio} text, {learned} of them learned{heard}"
    return [f"{where}{name}  {task_of(record)}", counts]


def clip_name(clip: AudioClip) -> str:
    """Name a clip by its file, its stretch and its form."""
    form = f"{clip.native_rate / 1000:g} kHz" + ("" if clip.native_channels == 1 else f", {clip.native_channels} channels")
    return f"{clip.source}  {clip.start_s:.2f}–{clip.start_s + clip.duration_s:.2f} s  ({form})"


def position_table(prompt: Prompt, tokenizer: Tokenizer, *, ids: bool = True) -> list[str]:
    """Lay a prompt out in lines: positions, ids, whether they are learned, and their text.

    Args:
        ids: eight tokens a line with their ids, │ between their texts; False puts what is told or learned in one go in one line.
    """
    rows = [("positions", "ids" if ids else "", "", "text")]
    for run, number in _runs(prompt, tokenizer, IDS_A_LINE if ids else len(prompt.token_ids)):
        place = str(run.start) if len(run) == 1 else f"{run.start}–{run.stop - 1}"
        listed = prompt.token_ids[run.start : run.stop]
        mark = "learned" if prompt.learned[run.start] else ""
        if number:
            rows.append(
                (
                    place,
                    f"{listed[0]} .. {listed[-1]}" if ids else "",
                    mark,
                    f"[clip {number}: {len(run)} positions, {prompt.clips[number - 1].duration_s:.2f} s]",
                )
            )
        else:
            text = token_texts(listed, tokenizer, "│" if ids else "")
            lines = [text] if ids else [text[start : start + LINE] for start in range(0, len(text), LINE)]
            rows.append((place, " ".join(map(str, listed)) if ids else "", mark, lines[0]))
            rows += [("", "", mark, line) for line in lines[1:]]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [f"{row[0]:>{widths[0]}}  " + "".join(f"{row[n]:<{widths[n]}}  " for n in (1, 2) if widths[n]) + row[3] for row in rows]


def _runs(prompt: Prompt, tokenizer: Tokenizer, longest: int) -> Iterator[tuple[range, int]]:
    """Cut a prompt into clips (span, number from 1) and runs of text that are learned or not (positions, 0)."""
    spans = {span.start: (span, number) for number, span in enumerate(prompt.spans, 1)}
    position, end = 0, len(prompt.token_ids)
    while position < end:
        run, number = spans.get(position, (range(position, position + 1), 0))
        while not number and run.stop < end and len(run) < longest and run.stop not in spans:
            if prompt.learned[run.stop] != prompt.learned[position] or prompt.token_ids[run.stop] == tokenizer.im_start:
                break
            run = range(position, run.stop + 1)
        yield run, number
        position = run.stop


def token_texts(ids: Sequence[int], tokenizer: Tokenizer, between: str) -> str:
    """Write tokens for people: tags by their names, ⏎ for a newline, bytes that are no whole character in hexadecimal."""
    pieces: list[bytes] = []
    for token_id in ids:
        piece = tokenizer.bytes_of(token_id)
        pieces.append(piece if piece is not None else (tokenizer.token_of(token_id) or f"<{token_id}>").encode())
    if not between:
        pieces = [b"".join(pieces)]
    return between.join(piece.decode("utf-8", "backslashreplace") for piece in pieces).replace("\n", "⏎")
