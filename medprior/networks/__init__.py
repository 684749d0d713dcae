"""Networks: the Vision Transformer, its attention maps, views, and backbones on disk."""

from medprior.networks.attention import attention_maps
from medprior.networks.backbone import Backbone, load_backbone, load_weights, save_weights
from medprior.networks.encoder import Encoder, Tokens
from medprior.networks.factory import build_network
from medprior.networks.shape import ViTSettings
from medprior.networks.views import cut, cut_maps, lay_back
from medprior.networks.vit import VisionTransformer

__all__ = [
    "Backbone", "Encoder", "Tokens", "ViTSettings", "VisionTransformer", "attention_maps",
    "build_network", "cut", "cut_maps", "lay_back", "load_backbone", "load_weights", "save_weights",
]  # fmt: skip
