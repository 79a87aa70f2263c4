"""Begin a training from a text model's decoder: Qwen-7B (model_type qwen) and Qwen2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qwen_audio.config import DecoderConfig
from qwen_audio.errors import CheckpointError
from qwen_audio.model.checkpoints import qwen2_audio, qwen_audio
from qwen_audio.model.checkpoints.reading import Plan, WeightFiles, check_plan, copy_in, read_json, shapes_of
from qwen_audio.model.decoder import Decoder

MUST_AGREE = ("width", "layers", "heads", "kv_heads", "head_size", "mlp_width", "norm_eps", "rope_base")
VOCABULARY = ("embedding.weight", "head.weight")


@dataclass(frozen=True, slots=True)
class FilledRows:
    """Which rows of the vocabulary a text model gave, and which were left as they were."""

    copied: int
    left: int
    unused: int  # rows of the text model's that had no place

    def __str__(self) -> str:
        return f"{self.copied} rows of the vocabulary copied, {self.left} left as they were, {self.unused} of the text model's not used"


def fill_decoder(decoder: Decoder, directory: str | Path, *, common_rows: int | None = None) -> FilledRows:
    """Copy a text model's decoder into ours, in ours' numbers and on its device.

    Args:
        decoder: of the text model's size; only the vocabulary and the window may differ.
        directory: holds config.json and safetensors of Qwen-7B or a Qwen2.
        common_rows: how many first ids mean the same in both vocabularies; those rows of the embedding and the head are
            copied, the others left. May be left out where both have the same number of rows. With the released ranks:
            their number and 208 for Qwen-7B (chat and <|extra_N|> tokens follow in both), and 3 for Qwen2 (chat tokens).
    Returns:
        How many rows were copied and left.
    Raises:
        CheckpointError: another size, missing or surplus tensors, or vocabularies whose common rows nobody named.
    """
    directory = Path(directory)
    where = str(directory / "config.json")
    weights = WeightFiles(directory)
    theirs, plan = _read(directory, where, decoder.config, weights)
    _check_agreement(decoder.config, theirs, where)
    n_rows = _common_rows(decoder.config.vocab_size, theirs.vocab_size, common_rows, where)
    expected = {name: (theirs.vocab_size, *shape[1:]) if name in VOCABULARY else shape for name, shape in shapes_of(decoder).items()}
    tied_copy = (r"lm_head\.weight",) if decoder.config.tied_embeddings else ()
    check_plan(plan, expected, weights, tolerated=(*qwen_audio.TOLERATED, *qwen2_audio.TOLERATED, *tied_copy))
    copy_in(decoder, plan, weights, rows=dict.fromkeys(VOCABULARY, n_rows))
    return FilledRows(copied=n_rows, left=decoder.config.vocab_size - n_rows, unused=theirs.vocab_size - n_rows)


def _read(directory: Path, where: str, ours: DecoderConfig, weights: WeightFiles) -> tuple[DecoderConfig, Plan]:
    """Read the text model's settings and name its tensors; a tied head of theirs fills an untied one of ours."""
    values = read_json(directory / "config.json")
    kind = values.get("model_type")
    if kind == "qwen" and "audio" not in values:
        theirs, plan = qwen_audio.read_decoder_config(values, where), qwen_audio.decoder_plan(ours)
    elif kind == "qwen2":
        theirs, plan = qwen2_audio.read_decoder_config(values, where), qwen2_audio.decoder_plan(ours, "model.", "lm_head.")
    else:
        raise CheckpointError(f"{where}: model_type is {kind!r}, expected a text model: 'qwen' without an audio part (Qwen-7B) or 'qwen2'")
    if "head.weight" in plan and theirs.tied_embeddings and plan["head.weight"][0] not in weights.shapes:
        plan["head.weight"] = plan["embedding.weight"]
    return theirs, plan


def _check_agreement(ours: DecoderConfig, theirs: DecoderConfig, where: str) -> None:
    """Refuse a text model of another size; heads and bases cannot be seen from the shapes, so all are compared."""
    pairs = [(name, getattr(theirs, name), getattr(ours, name)) for name in MUST_AGREE]
    wrong = [f"{name} is {found}, ours {own}" for name, found, own in pairs if found != own]
    if ours.tied_embeddings and not theirs.tied_embeddings:
        wrong.append("its head is its own, ours is the embedding")
    if wrong:
        raise CheckpointError(f"{where}: {'; '.join(wrong)}; set the decoder of the model's config to the text model's numbers")


def _common_rows(ours: int, theirs: int, named: int | None, where: str) -> int:
    """Settle how many first rows of the vocabulary are copied."""
    if named is None:
        if ours != theirs:
            raise CheckpointError(
                f"{where}: a vocabulary of {theirs} rows, ours has {ours}; say with common_rows how many first ids mean the same in both "
                "(with the released ranks: their number and 208 for Qwen-7B, and 3 for Qwen2)"
            )
        return ours
    if not 0 < named <= min(ours, theirs):
        raise CheckpointError(f"{where}: common_rows is {named}, expected 1 to {min(ours, theirs)}, the smaller vocabulary")
    return named
