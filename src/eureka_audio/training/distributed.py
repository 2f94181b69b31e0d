"""Several processes that train one model: who they are, and how their gradients become one.

Started by `torchrun`, or by the recipe's own `processes`. Each process hears batches of its own;
`DistributedDataParallel` averages the gradients. Sharded parameters (FSDP2) would be wrapped in
`World.wrap`, and nowhere else.
"""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from eureka_audio.errors import ConfigError


@dataclass(frozen=True)
class World:
    """The processes of a run, and which of them this is; by default it is alone."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """Whether this process logs, saves, and fills caches."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose gradients become those of all processes, the same in each."""
        if self.size == 1:
            return model
        # A batch may leave a part out: text has no use for the adapter.
        return DistributedDataParallel(model, find_unused_parameters=True)

    def sum(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Figures of the same names, added up over all processes."""
        if self.size == 1:
            return dict(figures)
        names = sorted(figures)
        gathered: list[dict[str, float]] = [{} for _ in range(self.size)]
        distributed.all_gather_object(gathered, dict(figures))
        names = sorted({name for each in gathered for name in each})
        return {name: float(sum(each.get(name, 0.0) for each in gathered)) for name in names}

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            distributed.barrier()

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """What the first process leaves on disk in this block is there when the others enter."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


def without_sync(model: nn.Module) -> AbstractContextManager[object]:
    """Gradients of this block stay in their process, to be averaged with those that follow."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def choose_device(wanted: str) -> str:
    """The device asked for; "auto" is a CUDA device where there is one.

    Raises:
        ConfigError: CUDA is asked for and not there.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"device: expected a CUDA device for {wanted!r}, found none; use device=cpu"
        )
    return wanted


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """The world that the environment tells of (`torchrun`'s RANK and WORLD_SIZE), or this process
    alone.

    Args:
        device: as in a recipe; each process of a machine takes a CUDA device of its own.
    """
    device = choose_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=device)
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield World(rank, size, device)
    finally:
        distributed.destroy_process_group()


def launch(work: Callable[[], None], processes: int) -> None:
    """Do `work` in so many processes that can find each other; it must be picklable.

    In one process, or where `torchrun` has started several already, it is done here.
    """
    if processes == 1 or "WORLD_SIZE" in os.environ:
        work()
        return
    port = _free_port()
    spawn(_work_as, (processes, port, work), processes)


def _work_as(rank: int, processes: int, port: int, work: Callable[[], None]) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        WORLD_SIZE=str(processes),
        RANK=str(rank),
        LOCAL_RANK=str(rank),
    )
    work()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
