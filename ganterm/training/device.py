"""The device that trains: which one, whether it works, its memory, and torch's settings on it."""

from __future__ import annotations

import gc
import os

import psutil
import torch
from torch import Tensor, nn

from ganterm.core.errors import UserError
from ganterm.core.text import clean
from ganterm.training.batches import Latent

DEFAULT_THREADS = 1
"""Measured on 2 cores, mnist_mlp: see the README's section on threads."""


def resolve_device(name: str) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    ``auto`` is an accelerator only where it works; ``why_not_accelerated`` says why not. UserError
    where a named device does not exist or does not work.
    """
    if name == "auto":
        device = _accelerator()
        return torch.device("cpu") if trouble_with(device) else device
    device = _named(name)
    trouble = trouble_with(device)
    if trouble:
        raise UserError(f"device {name}: {trouble}; use --device cpu")
    return device


def why_not_accelerated(name: str, device: torch.device) -> str:
    """Why ``auto`` chose the CPU despite an accelerator; "" where it did not."""
    if name != "auto" or device.type != "cpu":
        return ""
    trouble = trouble_with(_accelerator())
    return f"training on the CPU: {trouble}" if trouble else ""


def _accelerator() -> torch.device:
    """The first accelerator that torch sees, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def trouble_with(device: torch.device) -> str:
    """Why an accelerator does not work, found by running a small kernel; "" where it works."""
    if device.type == "cpu":
        return ""
    try:
        if float(torch.ones(1, device=device).add_(1).sum()) == 2:
            return ""
        why = "it computes 1 + 1 wrongly"
    except Exception as error:  # noqa: BLE001 - drivers fail in many ways, all with one meaning
        lines = str(error).splitlines() or [""]
        why = clean(f"{type(error).__name__}: {lines[0]}", 160)
    return f"torch {torch.__version__} cannot use {_described(device)} ({why})"


def _described(device: torch.device) -> str:
    """An accelerator that may not work, with the GPUs that torch was built for where known."""
    try:
        if device.type != "cuda":
            return str(device)
        major, minor = torch.cuda.get_device_capability(device)
        known = ", ".join(torch.cuda.get_arch_list()) or "no GPU"
        name = clean(torch.cuda.get_device_name(device), 60)
    except Exception:  # noqa: BLE001 - a device that fails may not tell its name either
        return str(device)
    return f"{device}, {name} of compute capability {major}.{minor}, with kernels for {known}"


def is_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, the device's or the machine's."""
    named = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return named or (isinstance(error, RuntimeError) and "out of memory" in str(error))


def free_memory(device: torch.device) -> None:
    """Return the memory that torch caches on the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _named(name: str) -> torch.device:
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
    """Free the GPU memory that a run has left behind, for other processes."""
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
    """Memory in use: that allocated on a GPU, else this process's resident memory."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss


def settle(device: torch.device, threads: int, deterministic: bool) -> None:
    """Set torch up so that a run is repeatable; call it in the thread that trains."""
    # OpenMP keeps the number of threads per calling thread, so it cannot be set at start-up.
    torch.set_num_threads(threads)
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        # Only where needed: this call loads torch's compiler, as slow as loading torch.
        torch.use_deterministic_algorithms(deterministic)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = not deterministic
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


COPIES = 4
"""Numbers held for each weight: itself, its gradient, and Adam's two moments."""
_CLEAR_MARGIN = 10
"""Skip the exact estimate where a rough one needs less than 1/10 of the free memory."""


def check_memory(
    networks: tuple[nn.Module, nn.Module],
    latent: Latent,
    batch: int,
    pack: int,
    pixels: int,
    device: torch.device,
) -> None:
    """UserError where training G and D surely needs more memory than ``device`` has free.

    The networks are on the device "meta". D sees ``pack`` samples of a ``batch`` as one; a sample
    has ``pixels`` pixels. The count is a lower bound: weights with gradients and optimizer state,
    and the largest layer's output with its gradient. Networks that pass may still be too large.
    """
    parameters = [weight for network in networks for weight in network.parameters()]
    weights = sum(weight.numel() for weight in parameters)
    free = _free(device)
    # A pass on "meta" makes torch load its compiler, as slow as loading torch. So an upper bound
    # first: no layer here outputs more than its features, a convolution at every pixel.
    features = [
        max(weight.shape[:2]) * (pixels if weight.dim() > 2 else 1) for weight in parameters
    ]
    if _CLEAR_MARGIN * _bytes(weights, batch * max(latent.dim, pixels, *features)) < free:
        return
    needed = _bytes(weights, _largest(*networks, latent, batch, pack))
    if needed > free:
        raise UserError(
            f"the networks need at least {needed / 2**30:,.1f} GiB of memory and {device} has "
            f"{free / 2**30:,.1f} GiB free; make hidden, width, latent_dim or data.batch_size "
            "smaller"
        )


def _bytes(weights: int, largest: int) -> int:
    return torch.finfo(torch.float32).bits // 8 * (COPIES * weights + 2 * largest)


def _largest(
    generator: nn.Module, discriminator: nn.Module, latent: Latent, batch: int, pack: int
) -> int:
    """The most numbers that any layer reads or writes for a batch."""
    sizes = [batch * latent.dim]

    def measure(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel())

    networks = (generator, discriminator)
    hooks = [
        layer.register_forward_hook(measure) for network in networks for layer in network.modules()
    ]
    with torch.no_grad(), torch.device("meta"):
        labels = torch.zeros(batch, dtype=torch.int64) if latent.labels else None
        fakes = generator(torch.empty(batch, latent.dim), labels)
        shape = (batch // pack, pack * fakes.shape[1], *fakes.shape[2:])
        discriminator(fakes.reshape(shape), labels)
    for hook in hooks:
        hook.remove()
    return max(sizes)


def _free(device: torch.device) -> int:
    """The free memory of a device in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return psutil.virtual_memory().available
