"""Losses that teach the encoder directly: CTC on the bytes of a transcript, a class for each closed answer.

Small models that start from nothing hear long before they can speak: these heads give the encoder a gradient of its own.
They are part of a run, never of the model that is shipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.manifest import Record

TRANSCRIBED = frozenset({"asr", "keyword_spotting"})
CLASSIFIED = frozenset({"asr", "sound_event", "scene", "vocal_sound", "instrument", "language_id", "gender", "emotion", "note_analysis"})
N_BYTES = 256


def class_name(record: Record) -> str | None:
    """Return which class a record's clip belongs to: family and answer; the pitch where it is a note; None for open answers.

    A transcript is a class too: words that many recordings say are told apart long before their letters are.
    """
    if record.family == "note_analysis":
        return f"pitch/{record.meta['midi']}"
    return f"{record.family}/{record.target}" if record.family in CLASSIFIED else None


def class_table(records: Iterable[Record], fewest: int = 5) -> dict[str, int]:
    """Number the classes that at least `fewest` records have, and every pitch."""
    counts = Counter(name for record in records if (name := class_name(record)))
    names = {name for name, count in counts.items() if count >= fewest and not name.startswith("pitch/")}
    return {name: number for number, name in enumerate(sorted(names) + [f"pitch/{midi}" for midi in range(128)])}


class Auxiliary(nn.Module):
    """Two linear heads on the encoder's states of 20 ms.

    Args:
        width: channels of the states.
        classes: class name -> number.
    """

    def __init__(self, width: int, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.classes = dict(classes)
        self.norm = nn.LayerNorm(width)
        self.ctc = nn.Linear(width, N_BYTES + 1)
        self.classify = nn.Linear(width, max(len(self.classes), 1))
        families = sorted({name.split("/")[0] for name in self.classes})
        self.family_of = torch.tensor([families.index(name.split("/")[0]) for name in self.classes])

    @torch.no_grad()
    def inherit(self, state: Mapping[str, Tensor], classes: Mapping[str, int]) -> None:
        """Take over what the heads of an earlier stage learned: everything but classes that it did not have.

        Args:
            state, classes: the earlier heads' state_dict and classes.
        """
        mine = self.state_dict()
        for name, value in state.items():
            if name.startswith("classify."):
                shared = [label for label in self.classes if label in classes]
                mine[name][[self.classes[label] for label in shared]] = value[[classes[label] for label in shared]]
            else:
                mine[name].copy_(value)

    def counts(self, owners: Sequence[Record | None]) -> tuple[int, int]:
        """Count the clips that have a CTC loss and those that have a classification loss."""
        return len(_spoken(owners)), len(self._named(owners))

    def forward(self, states: Tensor, lengths: Tensor, owners: Sequence[Record | None]) -> tuple[Tensor, Tensor]:
        """Return the CTC loss and the classification loss, each summed over the clips that have it.

        Args:
            states: (A, T, W), lengths: (A,), owners: per clip the tagged record it belongs to, None where there is none.
        """
        states = self.norm(states)
        # A head without a clip takes part too, with nothing: ranks wait for each other's gradients.
        nothing = states.sum() * 0.0 + self.ctc(states[:1, :1]).sum() * 0.0 + self.classify(states[:1, :1]).sum() * 0.0
        spoken, named = _spoken(owners), self._named(owners)
        return (
            nothing + (self._ctc(states, lengths, spoken, owners) if spoken else 0.0),
            nothing + (self._classified(states, lengths, named) if named else 0.0),
        )

    def _named(self, owners: Sequence[Record | None]) -> list[tuple[int, int]]:
        """List the clips that have a class: (number of the clip, number of the class)."""
        return [
            (n, self.classes[name])
            for n, record in enumerate(owners)
            if record is not None and (name := class_name(record)) in self.classes
        ]

    def _ctc(self, states: Tensor, lengths: Tensor, spoken: list[int], owners: Sequence[Record | None]) -> Tensor:
        log_probs = self.ctc(states[spoken]).float().log_softmax(-1).transpose(0, 1)
        texts = [torch.tensor(list(_target(owners[n]))) + 1 for n in spoken]
        target_lengths = torch.tensor([len(text) for text in texts])
        targets = torch.cat(texts).to(states.device)
        ctc = F.ctc_loss(log_probs, targets, lengths[spoken].cpu(), target_lengths, reduction="none", zero_infinity=True)
        return (ctc / target_lengths.clamp(min=1).to(ctc.device)).sum()

    def _classified(self, states: Tensor, lengths: Tensor, named: list[tuple[int, int]]) -> Tensor:
        rows = torch.tensor([n for n, _ in named])
        inside = (torch.arange(states.shape[1])[None] < lengths[rows].cpu()[:, None]).to(states)
        mean = (states[rows.to(states.device)] * inside[..., None]).sum(1) / inside.sum(1, keepdim=True)
        labels = torch.tensor([label for _, label in named])
        rivals = self.family_of[None] == self.family_of[labels][:, None]  # a voice is not either male or English
        logits = self.classify(mean).float().masked_fill(~rivals.to(mean.device), -torch.inf)
        return F.cross_entropy(logits, labels.to(mean.device), reduction="sum")


def _spoken(owners: Sequence[Record | None]) -> list[int]:
    return [n for n, record in enumerate(owners) if record is not None and record.family in TRANSCRIBED]


def _target(record: Record | None) -> bytes:
    assert record is not None
    return record.target.encode()
