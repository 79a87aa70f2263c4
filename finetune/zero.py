"""DeepSpeed ZeRO: ranks that share the optimiser's state (1), the gradients (2) and the weights (3).

What DeepSpeed is not asked to do: build an optimiser (its own would be compiled first), follow a schedule (we set the rate), count
micro-batches (each of ours says whether it is the last).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from finetune.adapters import empty_copy, outside_parameters
from finetune.config import TrainConfig
from finetune.devices import Parallel
from finetune.flops import CostModel
from finetune.learner import Learner, Micro, moved
from qwen_audio.errors import CheckpointError, ConfigError
from qwen_audio.model.joint import QwenAudio

FOLDER: Final = "zero"
UNIVERSAL: Final = "universal"
PERSISTENT: Final = 100_000  # zero3: smaller weights stay whole at every rank


def deepspeed() -> Any:
    """Import DeepSpeed.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import deepspeed as package
    except ImportError as error:
        raise ConfigError("deepspeed is not installed: pip install -e '.[train]'") from error
    return package


def join(device: torch.device, timeout: timedelta) -> None:
    """Join the group of processes through DeepSpeed; one process alone is a group too."""
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    if "RANK" not in os.environ:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            os.environ.update(alone, MASTER_PORT=str(free.getsockname()[1]))
    package = deepspeed()
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        package.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # else it is compiled first, for minutes; gloo serves
    name = "nccl" if device.type == "cuda" else "gloo"
    package.init_distributed(dist_backend=name, auto_mpi_discovery=False, timeout=timeout, verbose=False)


class Zero(Parallel):
    """One of several processes under DeepSpeed."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self.kind = config.deepspeed
        self.level = int(config.deepspeed[-1])

    @property
    def weights_dtype(self) -> torch.dtype:
        """See Single.weights_dtype; the optimiser's copies are float32."""
        return torch.bfloat16 if self.config.bf16 else torch.float32

    @property
    def autocast(self) -> torch.dtype | None:
        """See Single.autocast."""
        return None

    def take(self, learner: Learner, groups: Sequence[dict[str, Any]]) -> None:
        """See Single.take.

        Raises:
            ConfigError: DeepSpeed counts other ranks than the group has.
        """
        config, package = self.config, deepspeed()
        self.learner, self.cost = learner, CostModel(learner.model)
        self.shares = [float(group["share"]) for group in groups]
        plain = [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in groups]
        optimiser = AdamW(plain, lr=config.learning_rate, betas=(config.adam_beta1, config.adam_beta2), eps=config.adam_epsilon)
        self.engine, *_ = package.initialize(model=learner, optimizer=optimiser, config=self.settings())
        self.engine._copy_recovery_script = lambda path: None  # the weights lie beside the shares, whole
        self.optimisers = [self.engine.optimizer]
        if self.engine.dp_world_size != self.ranks:
            raise ConfigError(f"DeepSpeed counts {self.engine.dp_world_size} ranks, the group {self.ranks}: start them by one launcher")
        if self.level == 3:
            self._announce(package)

    def settings(self) -> dict[str, Any]:
        """Write the run's settings in DeepSpeed's words."""
        zero: dict[str, Any] = {"stage": self.level, "contiguous_gradients": True}
        if self.level == 3:
            zero["stage3_param_persistence_threshold"] = PERSISTENT
        if self.config.offload:
            zero["offload_optimizer"] = {"device": "cpu"}
            if self.level == 3:
                zero["offload_param"] = {"device": "cpu"}
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,  # take_step says which micro-batch is the last; their number changes from step to step
            "gradient_clipping": self.config.max_grad_norm,
            "zero_optimization": zero,
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "bf16": {"enabled": self.config.bf16},
            "steps_per_print": 1 << 40,
        }

    def _announce(self, package: Any) -> None:
        """Name the weights that are read without calling the module that owns them, so that they are whole when they are."""
        model = self.learner.model
        bounds = [model.audio_bounds.weight] if model.audio_bounds is not None else []
        for parameter in [*outside_parameters(model), *bounds]:
            package.zero.register_external_parameter(self.learner, parameter)

    def backward(self, micro: Micro, scales: Sequence[float], *, last: bool) -> tuple[Tensor, Tensor]:
        """See Single.backward."""
        self.engine.set_gradient_accumulation_boundary(last)
        loss, sums, each = self.engine(micro._replace(batch=moved(micro.batch, self.device)), scales)
        self.engine.backward(loss)
        return sums, each

    def update(self, rate: float) -> float:
        """See Single.update; DeepSpeed clips as it steps."""
        for group, share in zip(self.engine.optimizer.param_groups, self.shares, strict=True):
            group["lr"] = rate * share
        self.engine.step()
        self.left_out = bool(getattr(self.engine.optimizer, "overflow", False))
        return float(self.engine.get_global_grad_norm() or 0.0)

    def forget(self) -> None:
        """See Single.forget."""
        self.engine.optimizer.zero_grad()

    @contextmanager
    def speaker(self) -> Iterator[QwenAudio]:
        """See Single.speaker: of weights that are shared out, every rank puts a copy together."""
        if self.level < 3:
            with super().speaker() as model:
                yield model
            return
        source = self.learner.model
        model = empty_copy(source, self.config)
        for name, parameter in source.named_parameters():
            with deepspeed().zero.GatheredParameters([parameter]):
                _put(model, name, nn.Parameter(parameter.detach().clone(), requires_grad=False))
        for name, buffer in source.named_buffers():
            _put(model, name, buffer)
        yield model

    def weights(self, *, learning: bool = False) -> dict[str, Tensor]:
        """See Single.weights: of weights that are shared out, one after another is put together."""
        if self.level < 3:
            return super().weights(learning=learning)
        whole = {}
        for name, parameter in self.learner.named_parameters():
            if learning and not parameter.requires_grad:
                continue
            with deepspeed().zero.GatheredParameters([parameter]):
                if self.rank == 0:
                    whole[name] = parameter.detach().cpu().clone()
        return {} if self.rank else whole | ({} if learning else dict(self.learner.named_buffers()))

    def write_optimiser(self, folder: Path) -> None:
        """See Single.write_optimiser: every rank writes its share."""
        state = {} if self.level == 3 else {"universal_checkpoint_info": {"universal_checkpoint_version": 0.2}}
        with _noted(self.engine.checkpoint_engine) as failures:
            self.engine.save_checkpoint(str(folder), tag=FOLDER, client_state=state, save_latest=False, exclude_frozen_parameters=True)
        if failures:
            raise failures[0]

    def read_optimiser(self, folder: Path, ranks: int) -> None:
        """See Single.read_optimiser.

        Raises:
            CheckpointError: it does not fit.
        """
        if ranks != self.ranks:
            self._read_universal(folder)
            return
        path, _ = self.engine.load_checkpoint(str(folder), tag=FOLDER, load_module_strict=False)
        if path is None:
            raise CheckpointError(f"{folder}: DeepSpeed finds no state of an optimiser there; begin anew with --fresh")

    def _read_universal(self, folder: Path) -> None:
        """Read the shares of another number of ranks: the first rank lays them out parameter by parameter, then each takes its own.

        Source: DeepSpeed's universal checkpoints (deepspeed.checkpoint.ds_to_universal).

        Raises:
            CheckpointError: they cannot be laid out.
        """
        whole, draft, failed = folder / UNIVERSAL, folder / f"{UNIVERSAL}.part", ""
        if self.rank == 0 and not whole.is_dir():
            command = [
                sys.executable,
                "-m",
                "deepspeed.checkpoint.ds_to_universal",
                "--num_extract_workers",
                "1",
                "--num_merge_workers",
                "1",
            ]
            said = subprocess.run(
                [*command, "--input_folder", str(folder / FOLDER), "--output_folder", str(draft)],
                capture_output=True,
                text=True,
                check=False,
            )
            failed = said.stderr[-2000:] if said.returncode else ""
            if not failed:
                draft.replace(whole)
        if reasons := [reason for reason in self.gather(failed) if reason]:
            raise CheckpointError(f"{folder}: its optimiser's shares cannot be laid out for {self.ranks} ranks ({reasons[0]})")
        groups = [group["weight_decay"] for group in self.engine.optimizer.param_groups]
        self.engine._config.load_universal_checkpoint = True  # before the engine is built no one knows how many ranks wrote
        try:
            self.engine.load_checkpoint(str(folder), tag=UNIVERSAL, load_module_strict=False)
        finally:
            self.engine._config.load_universal_checkpoint = False
        # Under zero3, DeepSpeed 0.19.8 gives every group the settings of the first, and all states one and the same count of steps.
        for group, decay in zip(self.engine.optimizer.param_groups, groups, strict=True):
            group["weight_decay"] = decay
        inner = getattr(self.engine.optimizer, "optimizer", self.engine.optimizer)
        for state in inner.state.values():
            if torch.is_tensor(state.get("step")):
                state["step"] = state["step"].clone()


@contextmanager
def _noted(engine: Any) -> Iterator[list[Exception]]:
    """Note what DeepSpeed's writer cannot write instead of raising it: the other ranks would wait in its barriers for ever."""
    failures: list[Exception] = []

    def noting(act: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*given: Any, **named: Any) -> Any:
            try:
                return act(*given, **named)
            except (OSError, RuntimeError) as error:
                failures.append(error)
                return None

        return attempt

    for name in ("save", "makedirs"):
        setattr(engine, name, noting(getattr(engine, name)))
    try:
        yield failures
    finally:
        for name in ("save", "makedirs"):
            delattr(engine, name)


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    """Put a parameter or a buffer in the place of the one of that name."""
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    (owner._parameters if isinstance(value, nn.Parameter) else owner._buffers)[leaf] = value  # type: ignore[assignment]
