"""Which device trains, and with how many threads."""

from __future__ import annotations

import gc
import os

import torch

from ganterm.errors import UserError

DEFAULT_THREADS = 1
"""Measured on 2 cores, mnist_mlp: see the README's section on threads."""


def resolve_device(name: str) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; UserError if not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if not count:
            raise UserError(f"device {name}: torch {torch.__version__} sees no GPU; use cpu")
        if (device.index or 0) >= count:
            raise UserError(f"device {name}: there are {count}, cuda:0 to cuda:{count - 1}")
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"device {name}: torch {torch.__version__} sees none; use cpu")
    return device


def give_memory_back() -> None:
    """Have the GPU's memory that a run has left behind free for other processes."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def describe(device: torch.device, threads: int) -> str:
    """The device in a few words, for the status line."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"cpu, {threads} thread" + ("s" if threads > 1 else "")
    return device.type


def memory_bytes(device: torch.device) -> int:
    """What the run holds: of the GPU's memory, or of this process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    import psutil

    return psutil.Process().memory_info().rss


def settle(device: torch.device, threads: int, deterministic: bool) -> None:
    """Set what must stay the same for a run to be repeatable; call in the thread that trains."""
    # OpenMP keeps the number of threads per calling thread, hence not at the program's start.
    torch.set_num_threads(threads)
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        # Loads torch's compiler, which takes as long as torch.
        torch.use_deterministic_algorithms(deterministic)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = not deterministic
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
