"""The one door to hardware: one process, or as many as torchrun or deepspeed started, on one node or several.

One process:           python -m finetune train ...
Two on one node:       torchrun --nproc-per-node 2 -m finetune train ...
With DeepSpeed's own:  deepspeed --num_gpus 2 --module finetune train ...   (without accelerators: --num_accelerators 2)
Several nodes:         on each of them, with the same MASTER_ADDR (a name or address of the first) and MASTER_PORT, and its own NODE_RANK:
                       torchrun --nnodes 4 --node-rank $NODE_RANK --master-addr $MASTER_ADDR --master-port $MASTER_PORT \
                           --nproc-per-node 8 -m finetune train ...
                       output_dir must lie on a disk that all nodes share; indexes of data files are made by the first rank.

accelerate has no part in it: what it would wrap are the few calls of `devices` and `zero`, and on CPUs it was seen to take every rank for
the only one (its 1.15).

A launcher tells each process its place by RANK, WORLD_SIZE and LOCAL_RANK. The group is asked for the same numbers and must agree: a
rank that believes to be alone would train on everybody's rows.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from finetune.config import TrainConfig
from finetune.devices import Parallel, Single, settled
from finetune.zero import Zero, join
from qwen_audio.errors import ConfigError

log = logging.getLogger(__name__)


@contextmanager
def open_backend(config: TrainConfig) -> Iterator[Single]:
    """Find this process's place among those that a launcher started, and leave them in the end.

    Raises:
        ConfigError: the group and the launcher disagree about its size.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    device = device_of(config, int(os.environ.get("LOCAL_RANK", "0")))
    config = settled(config, device)
    if device.type == "cuda" and ranks < torch.cuda.device_count() and "RANK" not in os.environ:
        log.info("one of %d GPUs is used; torchrun --nproc-per-node N -m finetune .. uses N", torch.cuda.device_count())
    if ranks == 1 and not config.deepspeed:
        yield Single(config, device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    logging.getLogger().setLevel(logging.WARNING if int(os.environ.get("RANK", "0")) else logging.getLogger().level)
    timeout = timedelta(seconds=config.ddp_timeout)
    if config.deepspeed:
        join(device, timeout)
    else:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timeout)
    backend = Zero(config, device) if config.deepspeed else Parallel(config, device)
    try:
        check_place(backend, ranks)
        yield backend
    finally:
        backend.close()


def check_place(backend: Single, ranks: int) -> None:
    """See that the group has as many ranks as the launcher started, each with a number of its own.

    Raises:
        ConfigError: it has not.
    """
    found = backend.gather(backend.rank)
    if found != list(range(ranks)):
        raise ConfigError(f"the launcher started {ranks} processes, their group holds {found}: start them by torchrun or deepspeed")


def device_of(config: TrainConfig, local_rank: int) -> torch.device:
    """Return the device of a process: its accelerator where there is one."""
    if config.use_cpu or not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise ConfigError(f"process {local_rank} of this node has no accelerator: {torch.cuda.device_count()} here; start fewer processes")
    return torch.device("cuda", local_rank)


@contextmanager
def first_rank_first(backend: Single) -> Iterator[None]:
    """Let the first rank do something before the others do it: what it leaves on disk they find."""
    if backend.rank:
        backend.barrier()
    yield
    if not backend.rank:
        backend.barrier()
