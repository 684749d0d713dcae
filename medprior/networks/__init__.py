"""Networks: the Vision Transformer, its attention maps, views, and backbones on disk."""

from medprior.networks.attention import attention_maps
from medprior.networks.backbone import Backbone, load_backbone, load_weights, save_weights
from medprior.networks.views import cut, cut_maps, lay_back
from medprior.networks.vit import Tokens, VisionTransformer, ViTSettings

__all__ = [
    "Backbone", "Tokens", "ViTSettings", "VisionTransformer", "attention_maps", "cut", "cut_maps",
    "lay_back", "load_backbone", "load_weights", "save_weights",
]  # fmt: skip
