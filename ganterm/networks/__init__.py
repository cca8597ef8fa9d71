"""Generators and discriminators, a file for each family.

A family's file gives the options that a preset may set (pydantic, without torch) and builds the
modules. A generator maps noise (batch, latent_dim) to samples of the data's shape in -1..1; a
discriminator maps samples to raw scores of shape (batch,), larger meaning more real.
"""

from ganterm.networks import mlp
from ganterm.networks.options import NetworkOptions

GENERATORS: dict[str, type[NetworkOptions]] = {"mlp": mlp.MLPGenerator}
DISCRIMINATORS: dict[str, type[NetworkOptions]] = {"mlp": mlp.MLPDiscriminator}
