"""A user's new tags on the 205 reserved <|extra_N|> slots of the vocabulary; they travel with the checkpoint.

The name says the kind, so that a checkpoint needs to keep nothing but name and slot: a language is a code of two or three
letters, with a script or dialect behind it if need be (`ar`, `pt_br`, `zh_yue`), an output instruction begins with a word
of four letters or more (`bird_species`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tag_schema.vocabulary import EXTRA_SLOTS, FAMILIES, MISSPELT, OFFSETS, SPECIAL_TOKENS, TagError

LANGUAGE_NAME = re.compile(r"[a-z]{2,3}(_[a-z0-9]{2,8})*")
INSTRUCTION_NAME = re.compile(r"[a-z]{4,}[a-z0-9]*(_[a-z0-9]+)*")
KINDS = ("languages", "instructions")


@dataclass(frozen=True, slots=True)
class CustomTags:
    """New tags and the slots they hold: "<|ar|>" -> N of <|extra_N|>. A tag keeps its slot for good, for weights are trained behind it.

    Raises:
        TagError: a name is malformed or taken, a slot is taken or does not exist.
    """

    slots: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", dict(self.slots))
        holders: dict[int, str] = {}
        for tag, slot in self.slots.items():
            check_name(tag)
            if isinstance(slot, bool) or not isinstance(slot, int) or not 0 <= slot < EXTRA_SLOTS:
                raise TagError(f"custom tag {tag}: slot {slot!r} does not exist, they go from 0 to {EXTRA_SLOTS - 1}")
            if slot in holders:
                raise TagError(f"custom tags {holders[slot]} and {tag} both claim <|extra_{slot}|>; give each a slot of its own")
            holders[slot] = tag

    def __hash__(self) -> int:
        return hash(frozenset(self.slots.items()))

    def __contains__(self, tag: str) -> bool:
        return tag in self.slots

    def __len__(self) -> int:
        return len(self.slots)

    @classmethod
    def from_names(cls, names: Iterable[str]) -> CustomTags:
        """Give names ("ar" or "<|ar|>") the first slots, in order; a name twice is an error."""
        return cls().extend(names)

    @classmethod
    def from_mapping(cls, slots: Mapping[str, int]) -> CustomTags:
        """Read tag -> slot as a checkpoint stores it."""
        if not isinstance(slots, Mapping):
            raise TagError(f"custom tags: expected tag -> slot, found {type(slots).__name__}")
        return cls(slots)

    @classmethod
    def from_file(cls, values: Mapping[str, object]) -> CustomTags:
        """Build the tags that a user's YAML names under `languages` and `instructions`."""
        return cls.from_names(names_by_kind(values))

    def to_mapping(self) -> dict[str, int]:
        """Give tag -> slot, for a checkpoint to store."""
        return dict(self.slots)

    def extend(self, names: Iterable[str]) -> CustomTags:
        """Add names on the lowest free slots; no tag that is here already moves.

        Raises:
            TagError: a name is malformed or taken, or no slot is left.
        """
        slots = dict(self.slots)
        free = iter(sorted(set(range(EXTRA_SLOTS)) - set(slots.values())))
        for name in names:
            tag = as_tag(name)
            if tag in slots:
                raise TagError(f"custom tag {tag} is named twice")
            slot = next(free, None)
            if slot is None:
                raise TagError(f"custom tag {tag}: all {EXTRA_SLOTS} slots are taken")
            slots[tag] = slot
        return CustomTags(slots)

    def token(self, tag: str) -> str:
        """Give the token of the vocabulary that stands for a tag ("<|ar|>" -> "<|extra_0|>")."""
        if tag not in self.slots:
            known = ", ".join(self.slots) or "none"
            raise TagError(f"{tag} is no custom tag of this model; it has {known}")
        return SPECIAL_TOKENS[FAMILIES["extra"].start + self.slots[tag]]

    def tag(self, token: str) -> str | None:
        """Give the tag that a token of the vocabulary stands for ("<|extra_0|>" -> "<|ar|>"); None where it stands for none."""
        slot = OFFSETS.get(token, -1) - FAMILIES["extra"].start
        return next((tag for tag, held in self.slots.items() if held == slot), None)

    @property
    def languages(self) -> tuple[str, ...]:
        """Name the languages, by slot, without bars."""
        return tuple(name for name in self._names() if LANGUAGE_NAME.fullmatch(name))

    @property
    def instructions(self) -> tuple[str, ...]:
        """Name the output instructions, by slot, without bars."""
        return tuple(name for name in self._names() if INSTRUCTION_NAME.fullmatch(name))

    def _names(self) -> list[str]:
        """Name all tags, by slot, without bars."""
        return [tag[2:-2] for tag in sorted(self.slots, key=lambda tag: self.slots[tag])]


def as_tag(name: object) -> str:
    """Give a name its bars; one that has them keeps them."""
    if not isinstance(name, str):
        raise TagError(f"custom tags: {name!r} is not a name; put words that YAML reads as yes or no in quotes")
    return name if name.startswith("<|") and name.endswith("|>") else f"<|{name}|>"


def check_name(tag: object) -> None:
    """Raise TagError unless a custom tag ("<|ar|>") is well formed and its name is free."""
    if not isinstance(tag, str) or as_tag(tag) != tag:
        raise TagError(f"custom tag {tag!r}: expected the form <|name|>")
    name = tag[2:-2]
    if tag in OFFSETS:
        raise TagError(f"custom tag {tag}: the released vocabulary has it already; use it as it is")
    if tag in MISSPELT:
        raise TagError(f"custom tag {tag}: this is a wrong name of {MISSPELT[tag]}; use that")
    if not (LANGUAGE_NAME.fullmatch(name) or INSTRUCTION_NAME.fullmatch(name)):
        raise TagError(
            f"custom tag {tag}: expected a language of two or three small letters (ar, pt_br, zh_yue) "
            "or an instruction that begins with a word of four letters or more (bird_species)"
        )


def names_by_kind(values: Mapping[str, object]) -> list[str]:
    """Read a user's `{"languages": [...], "instructions": [...]}` into names, languages first.

    Raises:
        TagError: an unknown key, not a list, or a name that its form puts among the other kind.
    """
    if not isinstance(values, Mapping):
        raise TagError(f"custom tags: expected the keys {' and '.join(KINDS)}, found {type(values).__name__}")
    surplus = sorted(str(key) for key in values if key not in KINDS)
    if surplus:
        raise TagError(f"custom tags: unknown key {', '.join(surplus)}; expected {' and '.join(KINDS)}")
    names: list[str] = []
    for kind, pattern in zip(KINDS, (LANGUAGE_NAME, INSTRUCTION_NAME), strict=True):
        listed = values.get(kind) or []
        if not isinstance(listed, (list, tuple)):
            raise TagError(f"custom tags: {kind} is {listed!r}; expected a list of names")
        for name in listed:
            tag = as_tag(name)
            check_name(tag)
            if not pattern.fullmatch(tag[2:-2]):
                raise TagError(f"custom tag {tag}: does not look like one of the {kind} (languages: ar, pt_br; instructions: bird_species)")
            names.append(tag)
    return names
