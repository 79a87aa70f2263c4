"""LoRA on any linear layers of a model, by peft: put in, save, fill again, merge.

A folder of an adapter is read by `qwen_audio.engine.load` as it is, without peft (qwen_audio/model/checkpoints/adapter.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from finetune.config import TrainConfig
from qwen_audio.config import GenerationOptions, check_positive, to_mapping
from qwen_audio.engine import load
from qwen_audio.errors import CheckpointError, ConfigError
from qwen_audio.model.checkpoints.adapter import (
    FORMAT,
    LEARNED_FILE,
    PREFIX,
    ROW_IDS,
    ROWS,
    SETTINGS_FILE,
    VERSION,
    WEIGHTS_FILE,
    check_base,
    lay_over,
    read_note,
    read_tensors,
    weights_sha256,
)
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.model.checkpoints.load import empty_model, load_checkpoint
from qwen_audio.model.checkpoints.ours import save
from qwen_audio.model.checkpoints.reading import read_json
from qwen_audio.model.checkpoints.writing import Staged
from qwen_audio.model.joint import QwenAudio
from qwen_audio.tokenizer import Tokenizer

DECODER_TARGETS = ("decoder.blocks.*.attention.*", "decoder.blocks.*.mlp.*")
ENCODER_TARGETS = ("encoder.blocks.*.attention.*",)
TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "pretrain": ENCODER_TARGETS,
    "sft": DECODER_TARGETS,
    "joint": ENCODER_TARGETS + DECODER_TARGETS,
    "encoder": ENCODER_TARGETS,
}
"""Stage -> which modules get an adapter where the settings name none."""

NAME = "default"  # peft's name of the one adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """What gets adapters.

    Attributes:
        target: patterns of names; of the modules that fit, the linear layers get an adapter.
        token_ids: rows of the embedding that learn: those of new tags, which no adapter of the blocks could teach.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    target: tuple[str, ...] = DECODER_TARGETS
    token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_positive(LoraNumbers(self.rank, self.alpha))
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora_dropout is {self.dropout}: expected a share, 0 or more and below 1")


@dataclass(frozen=True, slots=True)
class LoraNumbers:
    """The settings that must be above 0, by their flags' names."""

    lora_r: int
    lora_alpha: float


@dataclass(frozen=True, slots=True)
class Base:
    """The model that an adapter is trained on: as it is found again, where it is, and its weights' sha256."""

    name: str
    directory: Path
    sha256: str


def find_base(name: str) -> Base:
    """Find the model that adapters are to be trained on; reads all its weights for their sha256.

    Raises:
        CheckpointError: there is none, or it is an adapter.
    """
    directory = find_checkpoint(name)
    if (directory / SETTINGS_FILE).is_file():
        raise CheckpointError(f"{directory}: an adapter; train on a whole model (python -m finetune merge makes one)")
    is_path = Path(name).expanduser().is_dir() and name != "mini"
    return Base(str(directory.resolve()) if is_path else name, directory, weights_sha256(directory))


def lora_settings(config: TrainConfig, token_ids: Sequence[int] = ()) -> LoraSettings:
    """Read the settings of a run; where it names no modules, its stage does."""
    return LoraSettings(
        rank=config.lora_r, alpha=config.lora_alpha, dropout=config.lora_dropout, target=config.lora_target or TARGETS[config.stage],
        token_ids=tuple(token_ids),
    )  # fmt: skip


def new_tag_ids(tokenizer: Tokenizer, base: Base) -> tuple[int, ...]:
    """Return the ids of the tags that the base's tokenizer does not have: their rows of its embedding are not trained yet."""
    known = Tokenizer.from_directory(base.directory).custom
    return tuple(tokenizer.id_of(tag) for tag in tokenizer.custom.slots if tag not in known)


class TagRows(nn.Module):
    """An embedding of which single rows learn and the others stay."""

    row_ids: Tensor

    def __init__(self, base: nn.Embedding, token_ids: Sequence[int], *, tied: bool) -> None:
        super().__init__()
        self.base, self.tied = base, tied
        self.register_buffer("row_ids", torch.tensor(sorted(set(token_ids)), device=base.weight.device), persistent=False)
        self.rows = nn.Parameter(base.weight.detach()[self.row_ids].float())

    def forward(self, token_ids: Tensor) -> Tensor:
        """Embed ids (..) as (.., D)."""
        hidden: Tensor = self.base(token_ids)
        found = token_ids[..., None] == self.row_ids
        # Not by an index: many threads add up its gradient, in another order each time.
        rows = functional.embedding(found.int().argmax(-1), self.rows).to(hidden.dtype)
        return torch.where(found.any(-1)[..., None], rows, hidden)

    @property
    def weight(self) -> Tensor:
        """The table (V, D); the learned rows are in it where the output head reads it too."""
        if not self.tied:
            return self.base.weight
        return self.base.weight.index_copy(0, self.row_ids, self.rows.to(self.base.weight.dtype))


def outside_parameters(model: QwenAudio) -> list[Tensor]:
    """Return what the model reads without calling the module that owns it, for those who hold weights in parts: the output table."""
    table: Any = model.decoder.embedding if model.decoder.head is None else model.decoder.head
    return [table.base.weight, table.rows] if isinstance(table, TagRows) else [table.weight]


def begin(model: QwenAudio, config: TrainConfig, tokenizer: Tokenizer, folder: Path | None = None) -> Base:
    """Put a run's adapters into the model that it starts from, as an earlier checkpoint of the run left them, and return its base.

    Args:
        tokenizer: the run's; rows of its tags that the base does not know learn too.
        folder: the checkpoint to go on from, a folder of save_adapter; None begins anew.
    """
    base = find_base(config.model)
    inject(model, lora_settings(config, new_tag_ids(tokenizer, base)))
    if folder is not None:
        _check_same(folder, base, config)
        load_adapter(model, folder)
    return base


def _check_same(folder: Path, base: Base, config: TrainConfig) -> None:
    """See that a run goes on beside the base, and with the scale, that its adapters have learned with.

    Raises:
        CheckpointError: it would not.
    """
    learned_with = read_note(read_json(folder / "config.json"), str(folder / "config.json")).base_sha256
    if base.sha256 != learned_with:
        mend = "name the model that the run began from with --model, or begin anew with --fresh"
        raise CheckpointError(f"{folder}: its adapters have learned beside other weights than {base.directory} holds; {mend}")
    if (alpha := read_json(folder / SETTINGS_FILE)["lora_alpha"]) != config.lora_alpha:
        raise CheckpointError(f"{folder}: lora_alpha is {alpha} there and {config.lora_alpha} here; take --lora-alpha {alpha}, or --fresh")


def inject(model: QwenAudio, settings: LoraSettings) -> QwenAudio:
    """Put adapters into a model, in place; what it computes stays the same until they have learned.

    Their weights are float32 whatever the model's are. A is drawn from torch's generator, B is zero.

    Raises:
        ConfigError: peft is not installed, or a pattern fits no linear layer.
    """
    lora = _peft()
    config = lora.LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=targets(model, settings.target),
        bias="none",
    )  # fmt: skip
    lora.inject_adapter_in_model(config, model, adapter_name=NAME)
    for parameter in lora_parameters(model).values():
        parameter.data = parameter.data.float()
    if settings.token_ids:
        embedding = model.decoder.embedding
        rows = TagRows(embedding, settings.token_ids, tied=model.config.decoder.tied_embeddings)
        model.decoder.embedding = rows  # type: ignore[assignment]
    return model


def empty_copy(model: QwenAudio, config: TrainConfig) -> QwenAudio:
    """Build a model of the same parts, adapters among them, on the meta device: without weights."""
    copy = empty_model(model.config)
    if config.lora_r:
        embedding = model.decoder.embedding
        inject(copy, lora_settings(config, embedding.row_ids.tolist() if isinstance(embedding, TagRows) else ()))
    return copy.pack(model.packed)


def targets(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Return the names of the linear layers that patterns fit.

    Raises:
        ConfigError: one of them fits none.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name != "decoder.head"]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in linear):
            ends = sorted({name.split(".blocks.")[0] + ".blocks.*." + name.split(".", 3)[-1] for name in linear if ".blocks." in name})
            raise ConfigError(f"lora_target {pattern!r} fits no linear layer of the blocks and projection; there are {', '.join(ends)}")
    return [name for name in linear if any(fnmatchcase(name, pattern) for pattern in patterns)]


def lora_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the adapters' matrices by their names in the file."""
    return {_stored_name(name): parameter for name, parameter in model.named_parameters() if _is_lora(name)}


def has_adapters(model: nn.Module) -> bool:
    """Tell whether adapters were put into a model."""
    return bool(lora_parameters(model)) or isinstance(getattr(getattr(model, "decoder", None), "embedding", None), TagRows)


def save_adapter(
    model: QwenAudio,
    folder: Path | str,
    *,
    base: Base,
    tokenizer: Tokenizer,
    generation: GenerationOptions | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Write what was learned beside a base; the files appear together or not at all.

    Args:
        state: the whole tensors under the names of model.state_dict(), where a rank holds but a part of each.
    """
    values = dict(model.named_parameters()) if state is None else state

    def stored(names: Mapping[str, str]) -> dict[str, Tensor]:
        return {name: values[source].detach().to("cpu", copy=True).contiguous() for name, source in names.items()}

    lora = {
        PREFIX + name.replace(f".{NAME}.", "."): name for name, _ in model.named_parameters() if ".lora_A." in name or ".lora_B." in name
    }
    learned = stored({_plain(name): name for name, p in model.named_parameters() if p.requires_grad and name not in lora.values()})
    if isinstance(model.decoder.embedding, TagRows):
        learned[ROW_IDS] = model.decoder.embedding.row_ids.cpu()
    with Staged(Path(folder)) as staged:
        save_file(stored(lora), staged.path(WEIGHTS_FILE), metadata={"format": "pt"})
        if learned:
            save_file(learned, staged.path(LEARNED_FILE))
        staged.json(SETTINGS_FILE, _peft_values(model, base.name))
        note = {"format": FORMAT, "version": VERSION, "base": base.name, "base_sha256": base.sha256}
        note["generation"] = to_mapping(generation or GenerationOptions())
        staged.json("config.json", note | {"custom_tags": tokenizer.custom.to_mapping(), "ranks_sha256": tokenizer.ranks_sha256})
    _write_tokenizer(tokenizer, Path(folder))


def load_adapter(model: QwenAudio, folder: Path | str) -> QwenAudio:
    """Fill the adapters of a model from a folder, to train on; a model without any gets those that the folder describes.

    Raises:
        CheckpointError: the folder's adapters are not those of the model.
    """
    folder = Path(folder)
    learned = read_tensors(folder / LEARNED_FILE) if (folder / LEARNED_FILE).is_file() else {}
    ids = learned.pop(ROW_IDS, torch.zeros(0, dtype=torch.int64))
    if not has_adapters(model):
        values = read_json(folder / SETTINGS_FILE)
        wanted = LoraSettings(
            rank=values["r"], alpha=values["lora_alpha"], dropout=values["lora_dropout"], target=tuple(values["target_modules"]),
            token_ids=tuple(ids.tolist()),
        )  # fmt: skip
        inject(model, wanted)
    stored = read_tensors(folder / WEIGHTS_FILE) | learned
    ours: dict[str, nn.Parameter] = {_plain(name): p for name, p in model.named_parameters()} | lora_parameters(model)
    needed = lora_parameters(model).keys() | ({ROWS} if len(ids) else set())
    odd = sorted((needed - stored.keys()) | {name for name in stored if name not in ours or ours[name].shape != stored[name].shape})
    if odd:
        raise CheckpointError(f"{folder}: {len(odd)} adapters differ from this run's, {odd[0]} first; were settings changed?")
    with torch.no_grad():
        for name, tensor in stored.items():
            ours[name].copy_(tensor)
    return model


def merge(adapter: Path | str, output: Path | str, *, base: str = "") -> str:
    """Write a whole model: a base with an adapter in it, in the base's numbers; returns a line that says so.

    Args:
        base: where the base is, if not where the adapter says.
    Raises:
        CheckpointError: no adapter, or the base is not the one that it was trained on.
    """
    adapter, output = find_checkpoint(adapter), Path(output)
    where = str(adapter / "config.json")
    values = read_json(adapter / "config.json")
    if values.get("format") != FORMAT:
        raise CheckpointError(f"{where}: format is {values.get('format')!r}, expected {FORMAT!r}; this is no folder of an adapter")
    note = read_note(values, where)
    directory = find_checkpoint(base or note.base)
    check_base(note, directory, where)
    model = load_checkpoint(directory).model
    lay_over(model, adapter)
    tokenizer = Tokenizer.from_directory(adapter)
    tags, digest = tokenizer.custom.to_mapping(), tokenizer.ranks_sha256
    save(model, output, generation=note.generation, custom_tags=tags, ranks_sha256=digest)
    _write_tokenizer(tokenizer, output)
    return f"{output}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {directory} with {adapter} in it"


def export(name: str, output: Path | str) -> str:
    """Write a model, or an adapter with its base, as transformers' Qwen2Audio; returns a line that says so."""
    load(name, device="cpu").export(output)
    return f"{output}: {name} for transformers (Qwen2AudioForConditionalGeneration)"


def _is_lora(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name


def _stored_name(name: str) -> str:
    """Return the name that an adapter's matrix has in peft's file."""
    return PREFIX + name.replace(f".{NAME}.", ".")


def _plain(name: str) -> str:
    """Return the name that a parameter has in a model without adapters; rows of tags keep theirs."""
    return name.replace(".base_layer.", ".").replace("decoder.embedding.base.", "decoder.embedding.")


def _write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    if tokenizer.family == "qwen2-audio":
        tokenizer.write_transformers(folder)
    else:
        tokenizer.write_tiktoken(folder / "ranks.tiktoken")


def _peft_values(model: Any, base: str) -> dict[str, Any]:
    """Return peft's own description of a model's adapters as plain values."""
    values = model.peft_config[NAME].to_dict() | {"base_model_name_or_path": base, "inference_mode": True}
    plain: dict[str, Any] = json.loads(json.dumps(values, default=lambda value: sorted(value) if isinstance(value, set) else str(value)))
    return plain


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ConfigError("LoRA needs peft: pip install -e '.[train]'") from error
    return peft
