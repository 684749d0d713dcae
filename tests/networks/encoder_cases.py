"""Small networks of every kind, and dense twins of their attention.

The dense twins compute queries and keys from the modules by hand, as each kind of attention defines
them: norms of queries and keys, rotary embedding of patches only, registers.
"""

import torch
from timm.layers import apply_rot_embed_cat
from torch.nn import functional as F

from medprior.networks import ViTSettings, build_encoder

SHAPE = {"width": 48, "depth": 2, "heads": 3, "patch": 8, "image_size": 32}
TIMM = {
    "plain": {"name": "vit_small_patch16_224"},
    "qk_norm": {"name": "vit_small_patch16_224", "options": {"qk_norm": True}},
    "registers": {"name": "vit_small_patch14_reg4_dinov2"},
    "eva": {"name": "eva02_tiny_patch14_224"},
    "eva_qk_norm": {"name": "eva02_tiny_patch14_224", "options": {"qk_norm": True}},
    "rope": {"name": "vit_small_patch16_rope_224"},
    "rope_registers": {"name": "vit_small_patch16_rope_224", "registers": 2},
    "rope_mixed": {"name": "vit_small_patch16_rope_mixed_224"},
    "dinov3": {"name": "vit_small_patch16_dinov3"},
}
OURS = {"ours": {}, "ours_life": {"life": True}, "ours_nosn": {"nosn": True, "registers": 0}}
CASES = {key: {"source": "timm"} | value for key, value in TIMM.items()} | OURS


def build_case(case, **options):
    """The freshly initialised network of a case."""
    torch.manual_seed(0)
    return build_encoder(ViTSettings.from_values(SHAPE | CASES[case] | options))


def build_perturbed(case):
    """The network of a case with every weight moved at random, float64, in evaluation mode."""
    torch.manual_seed(0)
    net = build_encoder(ViTSettings.from_values(SHAPE | CASES[case])).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.double()


def timm_queries_and_keys(attn, x, rope):
    """By hand, from the module's weights: [B, H, T, d] each."""
    if attn.qkv is None:
        q, k = attn.q_proj(x), attn.k_proj(x)
    else:
        biases = attn.qkv.bias
        if getattr(attn, "q_bias", None) is not None:
            biases = torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
        q, k, _ = F.linear(x, attn.qkv.weight, biases).chunk(3, -1)
    q, k = (y.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for y in (q, k))
    q, k = attn.q_norm(q), attn.k_norm(k)
    if rope is None:
        return q, k
    first, half = attn.num_prefix_tokens, attn.rotate_half
    turned = [apply_rot_embed_cat(y[:, :, first:], rope, half=half) for y in (q, k)]
    return tuple(torch.cat([y[:, :, :first], t], 2) for y, t in zip((q, k), turned, strict=True))


def compute_dense_scores(net, images):
    """Scores of every query on every key in the last block, [B, H, T, T]."""
    x, grid = net.embed_images(images)
    context = net.context(grid)
    for index in range(len(net.blocks) - 1):
        x, _ = net.step(index, x, context)
    last = net.blocks[-1]
    if net.settings.source == "timm":
        q, k = timm_queries_and_keys(last.attn, last.norm1(x), context[-1].get("rope"))
    else:
        q, k, _ = last.attention.split(last.norm1(x), grid)
    return q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
