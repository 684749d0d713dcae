"""Rename the tensors of published Vision Transformers to timm's names.

timm and facebookresearch/dino and dinov2 share their names but for registers and chunked blocks; Hugging Face's
`Dinov2Model`, the layout of RAD-DINO, differs throughout and keeps queries, keys and values apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor

from medprior.errors import ConfigError

Layout = Literal["timm", "facebook", "huggingface"]
Tensors = dict[str, Tensor]

CHUNKED_BLOCK = re.compile(r"^blocks\.\d+\.(\d+)\.")
HEAD_PREFIXES = ("head.", "head_dist.", "fc.", "classifier.", "pooler.")
HUGGINGFACE_NAMES = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+\.)attention\.attention\.", r"\1attn."),
    (r"^(blocks\.\d+\.)attention\.output\.dense\.", r"\1attn.proj."),
    (r"^(blocks\.\d+\.)layer_scale([12])\.lambda1$", r"\1ls\2.gamma"),
    (r"^layernorm\.", "norm."),
)


def detect_layout(names: Collection[str], where: str) -> tuple[Layout, str]:
    """The layout of a file by its tensors' names, and the prefix of its encoder's (`backbone.`, `dinov2.`, ...).

    Raises:
        ConfigError: no token called `cls_token`, so not a known layout.
    """
    cls_keys = sorted((k for k in names if k.endswith("cls_token")), key=len)
    if not cls_keys:
        raise ConfigError(
            "no Vision Transformer in a known layout", where=where,
            expected="names as of timm, facebookresearch dino or dinov2, or Dinov2Model",
            found=", ".join(sorted(names)[:3]) or "no tensors",
        )  # fmt: skip
    name = cls_keys[0]
    if name.endswith("embeddings.cls_token"):
        return "huggingface", name.removesuffix("embeddings.cls_token")
    prefix = name.removesuffix("cls_token")
    inner = [key.removeprefix(prefix) for key in names if key.startswith(prefix)]
    is_facebook = any(k in ("register_tokens", "mask_token") or CHUNKED_BLOCK.match(k) for k in inner)
    return ("facebook" if is_facebook else "timm"), prefix


def rename_to_timm(tensors: Tensors, layout: Layout, prefix: str) -> Tensors:
    """The encoder's tensors as float32 under timm's names; classifiers are left out."""
    renamed: Tensors = {}
    for key, value in tensors.items():
        if not key.startswith(prefix):
            continue
        name = key.removeprefix(prefix)
        if layout == "huggingface":
            for old, new in HUGGINGFACE_NAMES:
                name = re.sub(old, new, name)
        name = CHUNKED_BLOCK.sub(r"blocks.\1.", name)
        name = "reg_token" if name == "register_tokens" else name
        if not name.startswith(HEAD_PREFIXES):
            renamed[name] = value.float()
    return fuse_qkv(renamed) if layout == "huggingface" else renamed


def fuse_qkv(tensors: Tensors) -> Tensors:
    """Separate `query`, `key` and `value` of every block as one `qkv`."""
    fused = dict(tensors)
    for name in tensors:
        if ".attn.query." in name:
            parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
            if all(part in fused for part in parts):
                fused[name.replace(".query.", ".qkv.")] = torch.cat([fused.pop(p) for p in parts])
    return fused
