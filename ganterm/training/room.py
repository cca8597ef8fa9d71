"""Whether networks fit into memory, found out before any of it is taken."""

from __future__ import annotations

import psutil
import torch
from torch import Tensor, nn

from ganterm.errors import UserError
from ganterm.training.latent import Latent

COPIES = 4
"""Of each weight: itself, its gradient, and Adam's two moments."""
_SURELY = 10
"""So many times less than is free is not looked at more closely."""


def check_room(
    networks: tuple[nn.Module, nn.Module],
    latent: Latent,
    batch: int,
    pack: int,
    pixels: int,
    device: torch.device,
) -> None:
    """UserError where training G and D, which lie on the device "meta", needs more memory than
    ``device`` has free; D gets ``pack`` samples of a ``batch`` at once, of ``pixels`` pixels each.

    What is counted is the least that can be: the weights with what belongs to them, and one
    layer's output, the largest, with its gradient. What fits by this count may still be too much.
    """
    parameters = [weight for network in networks for weight in network.parameters()]
    weights = sum(weight.numel() for weight in parameters)
    free = _free(device)
    # A pass on "meta" has torch load its compiler, which takes as long as torch itself. No layer of
    # ours gives more than its features, a convolution at every pixel of a sample.
    features = [
        max(weight.shape[:2]) * (pixels if weight.dim() > 2 else 1) for weight in parameters
    ]
    if _SURELY * _bytes(weights, batch * max(latent.dim, pixels, *features)) < free:
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
    """The most numbers that a layer gets or gives for a batch."""
    sizes = [batch * latent.dim]

    def measure(_module: nn.Module, _given: object, made: object) -> None:
        if isinstance(made, Tensor):
            sizes.append(made.numel())

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
    """Bytes that can be had on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return psutil.virtual_memory().available
