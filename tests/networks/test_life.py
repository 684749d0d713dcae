"""LIFE: parameter counts, receptive fields, isolation of CLS and registers."""

import pytest
import torch
from torch import nn

from medprior.errors import ConfigError
from medprior.networks import ViTSettings, build_encoder
from medprior.networks.life import LifeProjection

GRID, WIDTH = (9, 11), 12


def projection(prefix=3, **options):
    torch.manual_seed(0)
    return LifeProjection(WIDTH, prefix, **options).double()


def tokens(prefix=3, grid=GRID, width=WIDTH):
    torch.manual_seed(1)
    return torch.randn(2, prefix + grid[0] * grid[1], width, dtype=torch.float64)


@pytest.mark.parametrize(("width", "more"), [(48, 1536), (192, 6144), (384, 12288)])
def test_parameters_are_those_of_the_formula(width, more):
    count = sum(p.numel() for p in LifeProjection(width, 1).parameters())
    assert count == 3 * width**2 + 35 * width
    assert count - sum(p.numel() for p in nn.Linear(width, 3 * width).parameters()) == more


@pytest.mark.parametrize(("scale", "side"), [(0, 1), (1, 3), (2, 7)])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_each_scale_sees_its_neighbourhood_and_no_more(part, scale, side):
    x = tokens().requires_grad_()
    centre = 3 + 4 * GRID[1] + 5
    third = WIDTH // 3
    start = part * WIDTH + scale * third
    projection()(x, GRID)[0, centre, start : start + third].square().sum().backward()
    seen = x.grad[0, 3:].abs().sum(-1).reshape(GRID) > 0
    expected = torch.zeros(GRID, dtype=torch.bool)
    reach = side // 2
    expected[4 - reach : 5 + reach, 5 - reach : 6 + reach] = True
    assert torch.equal(seen, expected)
    assert int(seen.sum()) == side**2
    assert not x.grad[0, :3].any()


def test_cls_and_registers_see_no_patch():
    x = tokens().requires_grad_()
    projection()(x, GRID)[:, :3].square().sum().backward()
    assert not x.grad[:, 3:].any()
    assert x.grad[:, :3].any()


def test_permuting_the_tokens_before_the_patches_permutes_their_outputs():
    x, order = tokens(prefix=4), torch.tensor([2, 0, 3, 1])
    life = projection(prefix=4)
    plain = life(x, GRID)
    moved = life(torch.cat([x[:, order], x[:, 4:]], 1), GRID)
    assert torch.allclose(moved[:, :4], plain[:, order], atol=1e-12)
    assert torch.equal(moved[:, 4:], plain[:, 4:])


def test_more_tokens_before_the_patches_change_no_patch():
    """197 tokens and 1 + 4 + 196 tokens: same weights, same patches, same CLS."""
    torch.manual_seed(2)
    few, many = LifeProjection(WIDTH, 1).double(), LifeProjection(WIDTH, 5).double()
    many.load_state_dict(few.state_dict())
    x = tokens(1, (14, 14))
    between = torch.randn(2, 4, WIDTH, dtype=torch.float64)
    one = few(x, (14, 14))
    five = many(torch.cat([x[:, :1], between, x[:, 1:]], 1), (14, 14))
    assert one.shape == (2, 197, 3 * WIDTH) == nn.Linear(WIDTH, 3 * WIDTH)(x.float()).shape
    assert five.shape == (2, 201, 3 * WIDTH)
    assert torch.allclose(five[:, 5:], one[:, 1:], atol=1e-12)
    assert torch.allclose(five[:, 0], one[:, 0], atol=1e-12)


def test_it_is_affine():
    life, x = projection(), tokens()
    y = tokens().flip(1)
    zero = life(torch.zeros_like(x), GRID)
    both = life(0.3 * x - 2 * y, GRID) - zero
    assert torch.allclose(both, 0.3 * (life(x, GRID) - zero) - 2 * (life(y, GRID) - zero))


def test_the_repositorys_keys_differ_only_before_the_patches():
    fixed, repo = projection(), projection(aux_key="repo")
    repo.load_state_dict(fixed.state_dict())
    x = tokens()
    ours, theirs = fixed(x, GRID), repo(x, GRID)
    assert torch.equal(ours[:, 3:], theirs[:, 3:])
    third = WIDTH // 3
    same = torch.ones(3 * WIDTH, dtype=torch.bool)
    same[WIDTH + third : 2 * WIDTH] = False
    assert torch.equal(ours[:, :3, same], theirs[:, :3, same])
    key = theirs[:, :3, WIDTH : 2 * WIDTH]
    for scale in range(3):
        assert torch.equal(key[..., scale * third : (scale + 1) * third], key[..., :third])
    assert (ours[:, :3, ~same] != theirs[:, :3, ~same]).all()


def test_shared_norm():
    life, x = projection(norm=True), tokens()
    out = life(x, GRID).unflatten(-1, (3, WIDTH))
    assert torch.allclose(out.mean(-1), torch.zeros_like(out[..., 0]), atol=1e-9)
    assert sum(p.numel() for p in life.parameters()) == 3 * WIDTH**2 + 37 * WIDTH


def test_scales_are_laid_out_by_head():
    """With heads a multiple of 3, the first third of the heads sees one patch only."""
    net = build_encoder(ViTSettings(width=48, depth=1, heads=6, image_size=64, life=True)).double()
    x = torch.randn(1, net.prefix + 64, 48, dtype=torch.float64, requires_grad=True)
    q, _, _ = net.blocks[0].attention.split(x, (8, 8))
    for head, side in enumerate([1, 1, 3, 3, 7, 7]):
        (grad,) = torch.autograd.grad(q[0, head, net.prefix + 27].square().sum(), x, retain_graph=True)
        assert int((grad[0].abs().sum(-1) > 0).sum()) == side**2


@pytest.mark.parametrize("options", [{}, {"life_norm": True}, {"life_aux_key": "repo"}])
def test_networks_with_it_learn_on_any_grid(options):
    settings = ViTSettings(width=48, depth=2, heads=3, image_size=32, life=True, **options)
    net = build_encoder(settings)
    result = net(torch.rand(2, 1, 24, 40), capture=True)
    assert result.grid == (3, 5)
    assert result.patches.shape == (2, 15, 48)
    (result.cls.sum() + result.patches.square().sum() + result.cls_logits.square().sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_a_width_that_3_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match="multiple of 3"):
        ViTSettings.from_values({"width": 64, "heads": 4, "life": True})
    with pytest.raises(ConfigError, match="multiple of 3"):
        LifeProjection(64, 1)


def split_by_scale(qkv):
    """Rows of a fused projection [3D, ...] by scale: three of [D, ...], each q, k, v."""
    thirds = [part.chunk(3) for part in qkv.chunk(3)]
    return [torch.cat([part[scale] for part in thirds]) for scale in range(3)]


@torch.no_grad()
def init_life_from_linear(projection, qkv):
    """Reproduce a projection without biases: centred unit kernels, W_1, W_2 W_1^-1 and W_3 W_2^-1."""
    first, second, third = split_by_scale(qkv.weight)
    projection.first.weight.copy_(first)
    projection.first.bias.zero_()
    for mix, matrix, previous in ((projection.near_mix, second, first), (projection.far_mix, third, second)):
        mix.weight.copy_(torch.linalg.solve(previous.T, matrix.T).T[:, :, None, None])
    for depthwise in (projection.near, projection.far):
        middle = depthwise.kernel_size[0] // 2
        depthwise.weight.zero_()
        depthwise.weight[:, 0, middle, middle] = 1


def test_from_vanilla_reproduces_the_projection():
    torch.manual_seed(0)
    plain = nn.Linear(48, 144).double()
    nn.init.zeros_(plain.bias)
    life = LifeProjection(48, 2).double()
    init_life_from_linear(life, plain)
    x = tokens(2, (5, 7), 48)
    assert torch.allclose(life(x, (5, 7)), plain(x), atol=1e-9)
