"""Generators and discriminators, a file for each family.

A family's file gives the options that a preset may set (pydantic, without torch) and builds the
modules; it lists its options as ``GENERATORS`` and ``DISCRIMINATORS``, and that alone makes them
choices of ``generator.network`` and ``discriminator.network``. Torch code that needs classes of its
own stands in ``modules/``. A generator maps noise (batch, latent_dim), and labels where it is
conditional, to samples of the data's shape; a discriminator maps samples to raw scores of shape
(batch,), larger meaning more real, or to a ``DiscriminatorOutput``.
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
