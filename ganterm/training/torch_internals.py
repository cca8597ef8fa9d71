"""torch's private functions that training uses, each with the reason why no public one serves.

torch may change them in any release. ``.ci/run`` therefore tests with the oldest supported torch
and the newest one; whatever breaks is mended here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

# The kernels behind torch.optim's fused optimizers. For a small network, the code that torch.optim
# runs around a kernel takes longer than the kernel, and importing it loads torch's compiler, which
# takes as long as importing torch.
fused_adam_ = torch._fused_adam_
fused_sgd_ = torch._fused_sgd_

# One call for a list of tensors, where a loop would launch a kernel for each.
foreach_copy_ = torch._foreach_copy_
foreach_lerp_ = torch._foreach_lerp_
foreach_mul = torch._foreach_mul
foreach_norm = torch._foreach_norm

BatchNorm = nn.modules.batchnorm._BatchNorm
"""The base class of all batch norms; torch exports only those of a fixed dimension."""


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors as one vector; a single C++ call, unlike ``torch.cat`` of flattened tensors."""
    flat: Tensor = torch._utils._flatten_dense_tensors(tensors)
    return flat


def default_mps_generator() -> torch.Generator:
    """The generator that operations on "mps" draw from; torch.mps only sets its seed and state."""
    return torch.mps._get_default_mps_generator()


def count_compiled(run: Callable[[], object]) -> int:
    """How many graphs torch compiles during ``run``; torch has no public count.

    Earlier compilations of this process are dropped first, since they count towards torch's limit.
    """
    # Imported here: it takes as long as importing torch, and most runs compile nothing.
    import torch._dynamo.utils

    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters["stats"]
    before = counters["unique_graphs"]
    run()
    return counters["unique_graphs"] - before
