"""Predict a run before a machine is rented: does it fit, how long is a step, how many GPU-hours is the whole.

The model is built without memory (meta device) and treated as the run would; operations and memory are then counted
(finetune/flops.py, finetune/cost/memory.py). What a step holds is taken from the run's own rows where they are here
(finetune/cost/workload.py). What is assumed is printed: lengths where there are no rows, and the efficiency.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from finetune.adapters import inject, lora_settings
from finetune.config import TrainConfig
from finetune.cost.memory import in_gib, memory, sizes_of
from finetune.cost.plan_config import DEVICES, PlanOptions
from finetune.cost.workload import Workload, find_workload
from finetune.devices import settled
from finetune.flops import CostModel, StepFlops, product_speed
from finetune.stages import choose, count, describe
from finetune.starting import model_config, starting_tokenizer
from finetune.watch.meter import duration
from qwen_audio.config import ModelConfig
from qwen_audio.errors import CheckpointError
from qwen_audio.model.checkpoints.find import find_checkpoint
from qwen_audio.model.checkpoints.load import empty_model, read_settings
from qwen_audio.model.joint import QwenAudio
from qwen_audio.tokenizer import Tokenizer
from tag_schema.custom import names_by_kind

RELEASED = ("Qwen/Qwen-Audio", "Qwen/Qwen-Audio-Chat")  # their sizes are the defaults of ModelConfig
SPARE = 0.92  # of a device's memory: the rest is the driver's and lost between blocks


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will take; bytes are a rank's.

    Attributes:
        flops: of a global batch, on the average.
        bytes, host_bytes: with the largest micro-batch.
    """

    config: TrainConfig
    options: PlanOptions
    model: QwenAudio
    load: Workload
    flops: StepFlops
    bytes: dict[str, float]
    host_bytes: float
    capacity: float
    step_s: float

    @property
    def needed(self) -> float:
        """Bytes of a rank, all together."""
        return sum(self.bytes.values())

    @property
    def fits(self) -> bool:
        """Whether they fit the device, some of it left to the driver."""
        return self.needed <= SPARE * self.capacity


def plan(config: TrainConfig, options: PlanOptions | None = None) -> str:
    """Return what a run will take, as a text: parameters, memory of a rank, time of a step, GPU-hours.

    Raises:
        ConfigError: settings that cannot be trained with; CheckpointError: the model's settings are not on this machine.
    """
    found = make_plan(config, options or PlanOptions())
    return "\n".join([describe(found.model, config), "", *_assumed(found), "", *_memory_lines(found), "", *_time_lines(found)])


def make_plan(config: TrainConfig, options: PlanOptions) -> Plan:
    """Count what a run will take; see plan."""
    config = settled(config, torch.device("cpu" if options.device == "cpu" else "cuda"))
    model = planned_model(config)
    load = find_workload(config, options, planned_tokenizer(config), model.config.decoder.window)
    cost = CostModel(model)
    steps = [cost.step(shape) for shape in load.shapes]
    flops = StepFlops(*(sum(values) / load.n_steps for values in zip(*steps, strict=True)))
    if options.device == "cpu":
        peak = product_speed(torch.bfloat16 if config.bf16 else torch.float32)
        capacity = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    else:
        peak, capacity = DEVICES[options.device]
        peak /= 1 if config.bf16 else 2  # products of float32 numbers run as tf32 at best
    found, host = memory(model, config, load.largest, options.ranks, on_cpu=options.device == "cpu")
    step_s = flops.total / (options.ranks * peak * options.efficiency)
    return Plan(config, options, model, load, flops, found, host, capacity, step_s)


def planned_model(config: TrainConfig) -> QwenAudio:
    """Build the model of a run on the meta device, with adapters, frozen as the stage says."""
    model = empty_model(planned_sizes(config))
    if config.lora_r:
        tags = names_by_kind(config.custom_tags)
        inject(model, lora_settings(config, range(len(tags))))
    model.pack(config.packing)
    model.encoder.checkpointing = model.decoder.checkpointing = config.gradient_checkpointing
    choose(model, config)
    return model


def planned_sizes(config: TrainConfig) -> ModelConfig:
    """Find the sizes of a run's model: a checkpoint's if it is on this machine, the released model's by its name, or the settings'.

    Raises:
        CheckpointError: another checkpoint, which is not here.
    """
    if not config.model:
        return model_config(config, starting_tokenizer(config, None))
    try:
        return read_settings(find_checkpoint(config.model))
    except CheckpointError:
        if config.model not in RELEASED:
            raise
    return ModelConfig()


def planned_tokenizer(config: TrainConfig) -> Tokenizer | None:
    """Find the run's tokenizer; None where its model is not on this machine."""
    try:
        return starting_tokenizer(config, find_checkpoint(config.model) if config.model else None)
    except CheckpointError:
        return None


def _assumed(found: Plan) -> list[str]:
    """Say what the figures stand on."""
    config, options = found.config, found.options
    sharing = config.deepspeed or ("DDP" if options.ranks > 1 else "one process")
    extras = [name for name, on in (("offload", config.offload), ("blocks computed again", config.gradient_checkpointing)) if on]
    load = found.load
    return [
        f"{options.ranks} x {options.device}, {sharing}{''.join(', ' + extra for extra in extras)}; "
        f"{'bfloat16' if config.bf16 else 'float32'}; {options.efficiency:.0%} of the device's peak (assumed)",
        f"{load.source}: {load.rows:.4g} rows and {load.audio_s:.4g} s of audio a step, {len(load.largest.clips)} clips at once on a "
        f"rank where that is most, {load.turns} times",
    ]


def _memory_lines(found: Plan) -> list[str]:
    """Lay the memory of a rank out."""
    lines = [f"{name:<18}{value:>9.2f} GiB" for name, value in in_gib(found.bytes).items()]
    room = found.capacity / 2**30
    verdict = "fits" if found.fits else "DOES NOT FIT"
    lines.append(
        f"{'a rank needs':<18}{found.needed / 2**30:>9.2f} GiB; a device has {room:.1f}, of which {SPARE:.0%} can be used: {verdict}"
    )
    if found.host_bytes:
        lines.append(f"{'of the host':<18}{found.host_bytes / 2**30:>9.2f} GiB a rank")
    whole = sum(map(count, found.model.parameters())) * sizes_of(found.config, on_cpu=False).weights
    lines.append(f"{'while it loads':<18}{whole / 2**30:>9.2f} GiB of the host, a rank")
    return lines


def _time_lines(found: Plan) -> list[str]:
    """Lay the time of a step and of the run out."""
    flops, hours = found.flops, found.step_s * found.options.ranks / 3600
    parts = [f"{part / 1e12:.3g}" for part in flops]
    lines = [
        f"a step: {flops.total / 1e12:.3g} TFLOP: encoder {parts[0]} forward and {parts[1]} back, decoder {parts[2]} and {parts[3]}, "
        f"computed again {parts[4]}",
        f"a step takes {found.step_s:.3g} s: {found.load.audio_s / 3600 / hours:.3g} hours of audio a device-hour",
    ]
    if steps := found.load.steps:
        audio, whole = steps * found.load.audio_s / 3600, steps * found.step_s
        lines.append(f"{steps} steps: {duration(whole)}, {steps * hours:.3g} device-hours for {audio:.3g} hours of audio")
    if found.config.offload:
        lines.append("the time that offloading takes is not counted")
    return lines
