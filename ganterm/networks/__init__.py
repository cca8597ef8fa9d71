"""Generators and discriminators, one file for each family.

A family's file defines the options that a preset may set (pydantic, without torch) and builds the
modules from them. It lists its options as ``GENERATORS`` and ``DISCRIMINATORS``, which is all it
takes to make them choices of ``generator.network`` and ``discriminator.network``. Torch classes of
its own are in ``modules/``.

A generator maps noise (batch, latent_dim), and labels where it is conditional, to samples of the
data's shape. A discriminator maps samples to raw scores of shape (batch,), larger meaning more
real, or to a ``DiscriminatorOutput``.
"""

import sys

from ganterm.core.registry import gathered
from ganterm.networks.options import DiscriminatorOptions, GeneratorOptions

GENERATORS: dict[str, type[GeneratorOptions]] = {
    options.model_fields["network"].default: options
    for options in gathered(sys.modules[__name__], "GENERATORS")
}
DISCRIMINATORS: dict[str, type[DiscriminatorOptions]] = {
    options.model_fields["network"].default: options
    for options in gathered(sys.modules[__name__], "DISCRIMINATORS")
}
