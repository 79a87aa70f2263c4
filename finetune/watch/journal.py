"""The journal of a run: a line of JSON for every figure that was taken, TensorBoard beside it, a readable line on the console.

A run that begins says so in a line of its own: what an earlier process wrote of later steps counts no more.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from finetune.config import Report
from qwen_audio.errors import ConfigError, DataError

log = logging.getLogger(__name__)
LOG_FILE: Final = "log.jsonl"
BOARD: Final = "tensorboard"
BEGINS: Final = "begins"
Figures = dict[str, Any]


class Journal:
    """Writes the figures of a run.

    Args:
        folder: the run's; None writes nothing, as on every rank but the first.
        step: where the run begins or goes on.
        report_to: see TrainConfig.
    Raises:
        ConfigError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path | None, step: int = 0, report_to: Report = "none") -> None:
        self.folder, self.step, self.begun = folder, step, False
        self.board = None if folder is None else _board(folder / BOARD, step, report_to)

    def write(self, figures: Mapping[str, Any], text: str = "") -> None:
        """Add a line of figures, among them "step"; text is what the console says."""
        if self.folder is not None:
            lines = [figures] if self.begun else [{"step": self.step, BEGINS: True}, figures]
            self.begun = True
            _append(self.folder / LOG_FILE, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        if self.board is not None:
            for name, value in figures.items():
                if name != "step":
                    self.board.add_scalar(name if "/" in name else f"run/{name}", value, figures["step"])
            self.board.flush()
        if text:
            log.info("%s", text)

    def close(self) -> None:
        """Close what is open."""
        if self.board is not None:
            self.board.close()


def _append(path: Path, text: str) -> None:
    """Add lines to a file, behind what a kill may have cut off; a disk that cannot take them costs the lines, not the run."""
    try:
        with path.open("a+b") as out:
            if out.tell():
                out.seek(-1, os.SEEK_END)
                text = text if out.read(1) == b"\n" else f"\n{text}"
            out.write(text.encode())
    except OSError as error:
        log.warning("%s: figures cannot be written (%s); make room on the disk", path, error.strerror)


def _board(folder: Path, step: int, report_to: Report) -> Any:
    """Open TensorBoard's files; what an earlier process wrote of later steps is hidden."""
    if report_to == "none":
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        if report_to == "auto":
            return None
        raise ConfigError("report_to is tensorboard, which is not installed: pip install -e '.[train]'") from error
    return SummaryWriter(str(folder), purge_step=step + 1)


def read_journal(folder: Path | str) -> list[Figures]:
    """Read a run's figures in the order of their steps, those of one step together.

    Lines that a kill cut off are left out, and that is said.

    Raises:
        DataError: there is no journal, or no line of it is whole.
    """
    path = Path(folder) / LOG_FILE
    steps: dict[int, Figures] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: no journal of a run ({error.strerror}); name the folder of a run") from error
    spoilt: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            figures = json.loads(line)
            step = int(figures["step"])
            if figures.get(BEGINS):
                steps = {kept: of for kept, of in steps.items() if kept <= step and step}
            else:
                steps.setdefault(step, {}).update(figures)
        except (ValueError, KeyError, TypeError) as error:
            spoilt.append(f"{path}:{number}: not a line of figures ({error})")
    if spoilt and len(spoilt) == len(lines):
        raise DataError(spoilt[0])
    for said in spoilt:
        log.warning("%s; it is left out", said)
    return [steps[step] for step in sorted(steps)]
