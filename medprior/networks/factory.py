"""Build the network that settings describe."""

from __future__ import annotations

from medprior.networks.encoder import Encoder
from medprior.networks.vit import VisionTransformer
from medprior.networks.vit_settings import ViTSettings


def build_encoder(settings: ViTSettings) -> Encoder:
    """A freshly initialised network, from torch's global random state."""
    if settings.source == "timm":
        from medprior.networks.timm_encoder import TimmEncoder

        return TimmEncoder(settings)
    return VisionTransformer(settings)
