"""The captured CLS row equals dense attention, values and gradients (methods 11, point 5).

The dense twins compute queries and keys from the modules by hand, as each kind of attention defines
them: norms of queries and keys, rotary embedding of patches only, registers.
"""

import pytest
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


def network(case):
    torch.manual_seed(0)
    net = build_encoder(ViTSettings.checked(SHAPE | CASES[case])).eval()
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


def dense(net, images):
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


@pytest.mark.parametrize("size", [(32, 32), (40, 24)])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(case, size):
    net = network(case)
    images = torch.rand(2, 1, *size, dtype=torch.float64)
    tokens, scores = net(images, capture=True), dense(net, images)
    logits = scores[:, :, 0, net.prefix :]
    mass = scores.softmax(-1)[:, :, 0, net.prefix :].sum(-1)
    assert tokens.cls_logits.dtype == torch.float32
    assert torch.allclose(tokens.cls_logits.double(), logits, rtol=1e-5, atol=1e-5)
    assert torch.allclose(tokens.cls_mass.double(), mass, rtol=1e-5, atol=1e-6)
    weight = torch.randn_like(logits)
    trained = [p for p in net.parameters() if p.requires_grad]
    ours = torch.autograd.grad((tokens.cls_logits * weight).sum(), trained, retain_graph=True, allow_unused=True)
    theirs = torch.autograd.grad((logits * weight).sum(), trained, allow_unused=True)
    assert any(a is not None and a.abs().max() > 0 for a in ours)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_watched_blocks_compute_what_fused_ones_do(case):
    net = network(case)
    images = torch.rand(2, 1, 32, 32, dtype=torch.float64)
    x, grid = net.embed_images(images)
    context, shown = net.context(grid), []
    for index in range(len(net.blocks)):
        fused, _ = net.step(index, x, context)
        x, row = net.step(index, x, context, row=True, watch=shown.append)
        assert torch.allclose(x, fused, rtol=1e-4, atol=1e-4)
        assert torch.allclose(shown[-1][:, :, 0], row.softmax(-1), atol=1e-6)
    assert torch.allclose(shown[-1].double(), dense(net, images).softmax(-1), atol=1e-5)
    assert len(shown) == len(net.blocks)


@pytest.mark.parametrize("case", TIMM)
def test_the_wrapped_model_is_timms_own(case):
    """Same weights in a model that timm makes: same tokens after the last norm."""
    import timm

    net = network(case).float()
    options = TIMM[case].get("options", {})
    reg = {"num_reg_tokens": 2} if case == "rope_registers" else {}
    model = timm.create_model(
        TIMM[case]["name"], pretrained=False, num_classes=0, in_chans=1, global_pool="token",
        img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, **options, **reg,
    ).eval()  # fmt: skip
    names = net.state_dict()
    model.load_state_dict({
        key: names[key if key.startswith(("blocks.", "norm.")) else f"stem.{key}"]
        for key in model.state_dict()
    })  # fmt: skip
    images = torch.rand(2, 1, 32, 32)
    tokens = net(images)
    expected = model.forward_features((images - 0.5) / 0.25)
    assert torch.allclose(tokens.cls, expected[:, 0], atol=1e-5)
    assert torch.allclose(tokens.patches, expected[:, model.num_prefix_tokens :], atol=1e-5)
    assert len(model.state_dict()) + 2 == len(names)
