"""Build timm's Vision Transformers with random weights, and read their shape.

Nothing is downloaded here; weights come from a local file (`weights.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

TIMM_ARGUMENTS = {
    "width": "embed_dim", "depth": "depth", "heads": "num_heads", "patch": "patch_size",
    "image_size": "img_size",
}  # fmt: skip
FILE_OPTIONS = {"checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}
OWN_ONLY_FIELDS = ("mlp_ratio", "layer_scale", "life", "life_aux_key", "life_norm", "nosn")


def build_timm_body(values: dict[str, Any]) -> nn.Module:
    """A timm model for one-channel images of any size, without a classifier.

    Args:
        values: fields of `ViTSettings`; those of the shape override the named architecture.

    Raises:
        ValueError: unknown name, an override the model does not take, or another kind of model than a Vision
            Transformer with a CLS token and plain self-attention.
    """
    import timm

    name = values.get("name") or ""
    if not timm.is_model(name.split(".")[0]):
        raise ValueError(f"timm has no model {name!r}; see timm.list_models('vit_*')")
    refuse_file_options(values.get("options", {}))
    arguments: dict[str, Any] = {
        "num_classes": 0, "in_chans": 1, "dynamic_img_size": True, "global_pool": "token",
        "drop_path_rate": values.get("drop_path", 0.0),
    }  # fmt: skip
    arguments |= {theirs: values[ours] for ours, theirs in TIMM_ARGUMENTS.items() if ours in values}
    if "registers" in values:
        eva = timm.models.model_entrypoint(name.split(".")[0]).__module__.endswith(".eva")
        arguments["num_reg_tokens" if eva else "reg_tokens"] = values["registers"]
    try:
        body: Any = timm.create_model(name, pretrained=False, **arguments, **values.get("options", {}))
    except (TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"timm cannot build {name} with these options: {error}") from None
    if not is_plain_vit(body):
        raise ValueError(f"{name} is no Vision Transformer with a CLS token and plain attention")
    for block in body.blocks:
        block.attn.fused_attn = True
    network: nn.Module = body
    return network


def refuse_file_options(options: dict[str, Any]) -> None:
    """ValueError for options that make timm read a file or a network: pickles can run code."""
    refused = FILE_OPTIONS & options.keys()
    if refused:
        raise ValueError(f"options may not name weights: {', '.join(sorted(refused))}")


def is_plain_vit(body: Any) -> bool:
    """Whether a timm model has a CLS token and one ordinary self-attention per block."""
    from timm.layers.attention import Attention, AttentionRope
    from timm.models.eva import Eva, EvaAttention
    from timm.models.vision_transformer import VisionTransformer

    if type(body) not in (VisionTransformer, Eva) or body.cls_token is None:
        return False
    kinds = (Attention, AttentionRope, EvaAttention)
    return all(isinstance(getattr(block, "attn", None), kinds) for block in body.blocks)


def fill_timm_fields(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Fields of `ViTSettings` for a timm model, those not given read off the architecture.

    Raises:
        ValueError: as `build_timm_body`, or an option that only our own network has.
    """
    unsupported = [key for key in OWN_ONLY_FIELDS if key in values and values[key] != defaults[key]]
    if unsupported:
        raise ValueError(f"not with source=timm: {', '.join(unsupported)}; options={{...}} go to timm")
    with torch.device("meta"):
        body: Any = build_timm_body(values)
    fields = {
        "width": body.embed_dim,
        "depth": len(body.blocks),
        "heads": body.blocks[0].attn.num_heads,
        "patch": body.patch_embed.patch_size[0],
        "registers": body.num_prefix_tokens - 1,
        "image_size": body.patch_embed.img_size[0],
    }
    wrong = [key for key in fields if key in values and values[key] != fields[key]]
    if wrong:
        raise ValueError(f"{values['name']} does not take {', '.join(wrong)}")
    return fields | values
