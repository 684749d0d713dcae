"""Identities of the dense attention roll-out, and every variant against a slow twin."""

import pytest
import torch

from medprior.networks import ViTSettings, build_encoder
from medprior.networks.rollout import (
    build_rollout_maps,
    collect_block_attention,
    compute_cls_rollout,
    compute_dense_rollout,
    compute_gradient_attention,
    discard_weakest_entries,
    fuse_heads,
    normalise_patch_shares,
    scale_to_max_row_sum,
)

from .rollout_twins import (
    PREFIX,
    SHAPE,
    TOKENS,
    build_rollout_encoder,
    multiply_out,
    random_attention,
    random_weights,
)


@pytest.mark.parametrize("options", [{}, {"start": 1}, {"nosn": True}, {"start": 2, "nosn": True}])
def test_vector_form_equals_matrix_form(options):
    attentions, weights = random_attention(), random_weights()
    rolled = compute_dense_rollout(attentions, weights, **options)
    assert torch.allclose(rolled, weights @ multiply_out(attentions, **options), rtol=0, atol=1e-15)


def test_one_step_is_half_kept_and_half_passed_on():
    attentions, weights = random_attention(1), random_weights()
    expected = (weights + weights @ attentions[0]) / 2
    assert torch.allclose(compute_dense_rollout(attentions, weights), expected, rtol=0, atol=1e-15)


def test_mass_is_kept_before_anything_is_dropped():
    rolled = compute_dense_rollout(random_attention(), random_weights())
    assert torch.allclose(rolled.sum(-1), torch.ones(2, 4, dtype=torch.float64), atol=1e-14)
    rolled_out = build_rollout_maps(rolled, (4, 4), PREFIX)
    whole = rolled_out.maps.sum((-1, -2)) + rolled_out.cls_mass + rolled_out.register_mass
    assert torch.allclose(whole, torch.ones(2, 4, dtype=torch.float64), atol=1e-14)
    assert torch.equal(rolled_out.register_mass, rolled[..., 1:PREFIX].sum(-1))
    assert (rolled_out.register_mass > 0).all()


def test_all_weight_on_cls_is_the_classic_rollout():
    attentions = random_attention()
    assert torch.allclose(compute_cls_rollout(attentions), multiply_out(attentions)[:, 0], rtol=0, atol=1e-15)


def test_identity_attention_returns_the_weights():
    attentions = [torch.eye(TOKENS, dtype=torch.float64).expand(2, -1, -1)] * 3
    weights = random_weights()
    assert torch.equal(compute_dense_rollout(attentions, weights), weights)


def test_a_hard_partition_adds_up_to_all_rows():
    """sum_c n_c DAR_c = sum_i R_i over patches i."""
    attentions = random_attention()
    classes = torch.randint(0, 4, (2, TOKENS - PREFIX))
    chosen = torch.nn.functional.one_hot(classes, 4).transpose(1, 2).double()
    rolled = compute_dense_rollout(attentions, normalise_patch_shares(chosen, PREFIX))
    total = (chosen.sum(-1, keepdim=True) * rolled).sum(1)
    assert torch.allclose(total, multiply_out(attentions)[:, PREFIX:].sum(1), rtol=0, atol=1e-13)


def test_class_weights():
    shares = torch.tensor([[[0.0, 1.0, 1.0], [0.2, 0.0, 0.6], [0.0, 0.0, 0.0]]])
    expected = torch.tensor([[[0, 0, 0, 0.5, 0.5], [0, 0, 0.25, 0, 0.75], [0, 0, 0, 0, 0]]])
    assert torch.allclose(normalise_patch_shares(shares, 2), expected)


def test_discarding_keeps_the_strongest():
    attention = random_attention(1)[0]
    kept = discard_weakest_entries(attention, 0.5)
    gone = kept == 0
    assert (gone.sum((-1, -2)) - int(0.5 * TOKENS**2)).abs().max() <= 1
    for before, zeroed in zip(attention, gone, strict=True):
        assert before[zeroed].max() <= before[~zeroed].flatten()[1:].min()
    assert torch.equal(kept[:, 0, 0], attention[:, 0, 0])
    assert torch.equal(discard_weakest_entries(attention, 0.0), attention)
    rolled = compute_dense_rollout([kept], random_weights())
    assert torch.allclose(rolled.sum(-1), torch.ones(2, 4, dtype=torch.float64))


@pytest.mark.parametrize("fusion", ["mean", "max"])
@pytest.mark.parametrize(
    "options",
    [{}, {"life": True}, {"nosn": True}, {"source": "timm", "name": "vit_small_patch16_rope_224"}],
)
def test_attention_of_all_blocks_with_heads_fused_inside(options, fusion):
    torch.manual_seed(0)
    net = build_encoder(ViTSettings.from_values(SHAPE | options)).eval()
    images, every = torch.rand(2, 1, 32, 32), []
    x, grid = net.embed_images(images)
    context = net.context(grid)
    for index in range(3):
        x, _ = net.step(index, x, context, watch=every.append)
    rolled_out = collect_block_attention(net, images, fusion)
    assert [a.shape for a in rolled_out] == [(2, TOKENS, TOKENS)] * 3
    for fused, heads in zip(rolled_out, every, strict=True):
        assert torch.allclose(fused, heads.mean(1) if fusion == "mean" else heads.amax(1))
    if fusion == "mean":
        assert torch.allclose(rolled_out[-1].sum(-1), torch.ones(2, TOKENS), atol=1e-5)
    assert net.watch is None


def test_gradient_weights_against_finite_differences():
    """relu(A * dy/dA): the derivative by moving one entry of one block's attention at a time."""
    net = build_rollout_encoder().requires_grad_(False)
    images = torch.rand(1, 1, 32, 32)
    direction = torch.linspace(-1, 1, 48)  # the square of a normalised token would hardly move

    def score(own):
        return net(own).cls @ direction

    rolled_out = compute_gradient_attention(net, score, images)
    moved_block, entries = 1, [(0, 0, 5), (1, 7, 3), (2, 18, 0)]
    x, grid = net.embed_images(images)
    x, _ = net.step(0, x, grid)
    block, kept = net.blocks[moved_block], []
    net.step(moved_block, x, grid, watch=kept.append)
    attention = kept[0].double()
    value = block.attention.split(block.norm1(x), grid)[2].double()
    twin = build_encoder(net.settings).eval().double()
    twin.load_state_dict(net.state_dict())

    def after(a):
        """The score with `a` in place of the block's attention."""
        inner = twin.blocks[moved_block]
        y = (a @ value).transpose(1, 2).flatten(2)
        z = x.double() + inner.attention.project(y)
        z = z + inner.mlp(inner.norm2(z))
        z, _ = twin.step(2, z, grid)
        return twin.norm(z)[0, 0] @ direction.double()

    grad = torch.zeros_like(attention)
    own = attention.clone().requires_grad_()
    (grad,) = torch.autograd.grad(after(own), own)
    for head, row, column in entries:
        step = torch.zeros_like(attention)
        step[0, head, row, column] = 1e-5
        slope = (after(attention + step) - after(attention - step)) / 2e-5
        assert torch.allclose(slope, grad[0, head, row, column], rtol=1e-4, atol=1e-9)
    expected = fuse_heads((attention * grad).relu()).float()
    assert torch.allclose(rolled_out[moved_block], expected, rtol=1e-3, atol=1e-6)
    assert rolled_out[moved_block].max() > 0
    assert all(p.grad is None for p in net.parameters())


def test_a_finding_that_hangs_on_one_patch_is_found_there():
    """Attention that only copies one patch to CLS: all that CLS got comes from there."""
    attention = torch.eye(TOKENS).repeat(1, 1, 1)
    attention[0, 0] = 0
    attention[0, 0, PREFIX + 6] = 1
    rolled_out = build_rollout_maps(compute_cls_rollout([attention])[:, None], (4, 4), PREFIX)
    assert float(rolled_out.maps[0, 0, 1, 2]) == 0.5
    assert float(rolled_out.cls_mass) == 0.5


def test_fusing_heads():
    attention = torch.tensor([[[[0.2, 0.8]], [[0.6, 0.4]]]])
    torch.testing.assert_close(fuse_heads(attention, "mean"), torch.tensor([[[0.4, 0.6]]]))
    torch.testing.assert_close(fuse_heads(attention, "max"), torch.tensor([[[0.6, 0.8]]]))


def test_the_greatest_row_sum_becomes_one_per_image():
    attention = torch.tensor([[[1.0, 3.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    expected = torch.tensor([[[0.25, 0.75], [0.25, 0.25]], [[0.0, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(scale_to_max_row_sum(attention), expected)


def test_maps_of_an_oblong_grid_are_in_raster_order():
    rolled = torch.arange(9.0)[None, None]  # CLS, two registers, 2 x 3 patches
    result = build_rollout_maps(rolled, (2, 3), 3)
    assert result.maps.tolist() == [[[[3, 4, 5], [6, 7, 8]]]]
    assert (result.cls_mass.item(), result.register_mass.item()) == (0, 3)
