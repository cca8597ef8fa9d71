"""Torch modules that the families build. Catalogues load without torch and never import these."""
