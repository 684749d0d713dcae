"""The network that settings describe."""

from __future__ import annotations

from medprior.networks.encoder import Encoder
from medprior.networks.shape import ViTSettings
from medprior.networks.vit import VisionTransformer


def build_network(settings: ViTSettings) -> Encoder:
    """A freshly initialised network, from torch's global random state."""
    if settings.source == "timm":
        from medprior.networks.timm_encoder import TimmEncoder

        return TimmEncoder(settings)
    return VisionTransformer(settings)
