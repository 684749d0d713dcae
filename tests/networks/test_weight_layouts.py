import pytest
import torch

from medprior.errors import ConfigError
from medprior.networks.weight_layouts import detect_layout, fuse_qkv, rename_to_timm


def empty(*names):
    return {name: torch.zeros(1) for name in names}


@pytest.mark.parametrize(
    ("names", "layout", "prefix"),
    [
        (("cls_token", "blocks.0.norm1.bias"), "timm", ""),
        (("module.backbone.cls_token",), "timm", "module.backbone."),
        (("cls_token", "mask_token"), "facebook", ""),
        (("backbone.cls_token", "backbone.register_tokens"), "facebook", "backbone."),
        (("cls_token", "blocks.0.11.norm1.bias"), "facebook", ""),
        (("backbone.cls_token", "mask_token"), "timm", "backbone."),
        (("embeddings.cls_token",), "huggingface", ""),
        (("dinov2.embeddings.cls_token",), "huggingface", "dinov2."),
        (("teacher.backbone.cls_token", "cls_token"), "timm", ""),
    ],
)
def test_layout_and_prefix_from_names(names, layout, prefix):
    assert detect_layout(empty(*names), "file") == (layout, prefix)


def test_other_files_are_refused_with_their_first_names():
    with pytest.raises(ConfigError, match=r"known layout(.|\n)*a, b, c$|a, b, c\b"):
        detect_layout(empty("d", "c", "b", "a"), "file")
    with pytest.raises(ConfigError, match="no tensors"):
        detect_layout({}, "file")


def test_names_of_dinov2_become_timms_and_heads_are_left_out():
    tensors = empty("b.cls_token", "b.register_tokens", "b.blocks.1.7.attn.qkv.bias", "b.head.mlp.0.bias", "other")
    tensors["b.cls_token"] = torch.zeros(1, dtype=torch.float16)
    renamed = rename_to_timm(tensors, "facebook", "b.")
    assert set(renamed) == {"cls_token", "reg_token", "blocks.7.attn.qkv.bias"}
    assert renamed["cls_token"].dtype == torch.float32


def test_names_of_hugging_face_become_timms():
    start = "dinov2.encoder.layer.11."
    tensors = empty(
        "dinov2.embeddings.patch_embeddings.projection.weight", "dinov2.embeddings.position_embeddings",
        start + "attention.output.dense.bias", start + "layer_scale2.lambda1", start + "norm1.weight",
        "dinov2.layernorm.bias", "dinov2.pooler.dense.weight", "classifier.weight",
    )  # fmt: skip
    assert set(rename_to_timm(tensors, "huggingface", "dinov2.")) == {
        "patch_embed.proj.weight", "pos_embed", "blocks.11.attn.proj.bias", "blocks.11.ls2.gamma",
        "blocks.11.norm1.weight", "norm.bias",
    }  # fmt: skip


def test_queries_keys_and_values_are_joined_in_this_order():
    names = [f"blocks.0.attn.{part}.bias" for part in ("value", "query", "key")]
    tensors = {name: torch.tensor([float(number)]) for number, name in enumerate(names)}
    joined = fuse_qkv(tensors)
    assert joined["blocks.0.attn.qkv.bias"].tolist() == [1, 2, 0]
    assert set(joined) == {"blocks.0.attn.qkv.bias"}
    del tensors["blocks.0.attn.key.bias"]
    assert fuse_qkv(tensors) == tensors
