"""Networks: the Vision Transformer, its attention maps, views, and backbones on disk."""

from medprior.networks.attention import compute_attention_maps
from medprior.networks.backbone import Backbone, load_backbone, load_weights, save_weights
from medprior.networks.encoder import Encoder, Tokens
from medprior.networks.factory import build_encoder
from medprior.networks.views import compute_patch_coverage, crop_views, resample_maps_to_source
from medprior.networks.vit import VisionTransformer
from medprior.networks.vit_settings import ViTSettings

__all__ = [
    "Backbone",
    "Encoder",
    "Tokens",
    "ViTSettings",
    "VisionTransformer",
    "build_encoder",
    "compute_attention_maps",
    "compute_patch_coverage",
    "crop_views",
    "load_backbone",
    "load_weights",
    "resample_maps_to_source",
    "save_weights",
]  # fmt: skip
