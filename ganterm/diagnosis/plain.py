"""Points are their own features."""

from __future__ import annotations

from torch import Tensor


class Points:
    """For data of the plane, where a network has nothing to add."""

    def features(self, samples: Tensor) -> Tensor:
        """The samples themselves, flat."""
        return samples.flatten(1)
