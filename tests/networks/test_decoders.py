import pytest
import torch
from torch.nn import functional as F

from medprior.networks.decoders import (
    DetailEncoder,
    PyramidDecoder,
    Segmenter,
    build_refine_block,
    choose_tap_depths,
)
from medprior.networks.vit import VisionTransformer, ViTSettings

SHAPE = ViTSettings(width=24, depth=3, heads=3, patch=8, registers=2, image_size=32)


def test_taps_are_spread_and_end_at_the_last_block():
    assert choose_tap_depths(12, 3) == (4, 8, 12)
    assert choose_tap_depths(4, 3) == (1, 3, 4)
    assert choose_tap_depths(1, 1) == (1,)


def test_the_last_tap_is_the_networks_own_output():
    torch.manual_seed(0)
    vit = VisionTransformer(SHAPE).eval()
    images = torch.rand(2, 1, 32, 40)
    _, maps = vit.forward_intermediates(images, (1, 3))
    assert [m.shape for m in maps] == [(2, 24, 4, 5)] * 2
    torch.testing.assert_close(maps[-1].flatten(2).transpose(1, 2), vit(images).patches)


@pytest.mark.parametrize("kind", ["linear", "pyramid", "detail"])
@pytest.mark.parametrize("patch", [4, 8, 16])
def test_masks_have_the_images_size_and_all_parameters_learn(kind, patch):
    torch.manual_seed(0)
    shape = SHAPE.model_copy(update={"patch": patch})
    network = Segmenter(VisionTransformer(shape), 2, kind, channels=12)
    logits = network(torch.rand(2, 1, 32, 32))
    assert logits.shape == (2, 2, 32, 32)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_a_mask_moves_with_the_image():
    """No half-patch shift between tokens and masks: mirror symmetry of the bilinear enlargement."""
    torch.manual_seed(0)
    network = Segmenter(VisionTransformer(SHAPE), 1, "linear").eval()
    maps = [torch.rand(1, 24, 4, 4)]
    images = torch.zeros(1, 1, 32, 32)
    direct = network.decoder(maps, images)
    mirrored = network.decoder([maps[0].flip(-1)], images).flip(-1)
    torch.testing.assert_close(direct, mirrored)


@pytest.mark.parametrize("kind", ["pyramid", "detail"])
def test_what_lies_within_a_patch_changes_the_mask_there(kind):
    """Two columns of a patch of 16, with the same tokens: only the image's own features can tell them apart."""
    torch.manual_seed(0)
    shape = SHAPE.model_copy(update={"patch": 16, "image_size": 64})
    decoder = Segmenter(VisionTransformer(shape), 1, kind).eval().decoder
    maps = [torch.rand(1, 24, 4, 4)] * len(decoder.depths)
    images = torch.full((1, 1, 64, 64), 0.5)
    marked = images.clone()
    marked[..., 20:24, 20:22] = 1
    change = (decoder(maps, marked) - decoder(maps, images)).detach()[0, 0].abs()
    assert change[18:26, 18:24].max() > 3 * change[40:, 40:].max()


def test_a_detail_encoder_reaches_every_level_also_of_odd_patches():
    torch.manual_seed(0)
    encoder = DetailEncoder(8, 2)
    features = encoder(torch.rand(1, 1, 28, 42), [(4, 6), (8, 12)])
    assert [tuple(feature.shape) for feature in features] == [(1, 8, 4, 6), (1, 8, 8, 12)]
    same = encoder(torch.rand(1, 1, 32, 32), [(8, 8), (16, 16)])
    assert [tuple(feature.shape[-2:]) for feature in same] == [(8, 8), (16, 16)]


@pytest.mark.parametrize(
    ("patch", "levels", "depths"), [(2, 1, (6, 12)), (4, 1, (6, 12)), (8, 2, (4, 8, 12)), (16, 3, (4, 8, 12))]
)
def test_the_pyramid_stops_at_half_of_the_resolution(patch, levels, depths):
    decoder = PyramidDecoder(24, 2, 12, patch)
    assert (len(decoder.levels), len(decoder.edges), decoder.depths) == (levels, levels, depths)
    assert decoder.head.in_channels == 32


def test_the_pyramid_adds_edges_of_the_image_and_shallower_blocks_level_by_level():
    torch.manual_seed(0)
    decoder = PyramidDecoder(24, 2, 3, 8, channels=12).eval().requires_grad_(False)
    maps, images = [torch.randn(2, 24, 4, 4) for _ in range(3)], torch.rand(2, 1, 32, 32)
    shallow, middle, deep = (project(m) for project, m in zip(decoder.project, maps, strict=True))

    def enlarge(x, side):
        return F.interpolate(x, size=(side, side), mode="bilinear")

    x = enlarge(decoder.bottom(deep), 8)
    x = x + F.gelu(decoder.edges[0](F.avg_pool2d(images, 4) - 0.5)) + enlarge(middle, 8)
    x = enlarge(decoder.levels[0](x), 16)
    x = x + F.gelu(decoder.edges[1](F.avg_pool2d(images, 2) - 0.5)) + enlarge(shallow, 16)
    expected = enlarge(decoder.head(decoder.levels[1](x)), 32)
    torch.testing.assert_close(decoder(maps, images), expected)


@pytest.mark.parametrize(("channels", "groups"), [(32, 8), (12, 4), (5, 1)])
def test_groups_of_a_refining_block_share_its_channels(channels, groups):
    convolution, norm, _ = build_refine_block(channels)
    assert (norm.num_groups, norm.num_channels) == (groups, channels)
    assert convolution.bias is None
    assert build_refine_block(channels)(torch.rand(1, channels, 3, 5)).shape == (1, channels, 3, 5)


def test_the_linear_decoder_is_one_layer_on_the_last_map():
    torch.manual_seed(0)
    network = Segmenter(VisionTransformer(SHAPE), 2, "linear").eval().requires_grad_(False)
    assert network.decoder.depths == (3,)
    maps = [torch.rand(1, 24, 4, 4), torch.rand(1, 24, 4, 4)]
    weight, bias = network.decoder.linear.weight[:, :, 0, 0], network.decoder.linear.bias
    small = torch.einsum("kd,bdyx->bkyx", weight, maps[1]) + bias[:, None, None]
    expected = F.interpolate(small, size=(32, 32), mode="bilinear")
    torch.testing.assert_close(network.decoder(maps, torch.zeros(1, 1, 32, 32)), expected)


def test_the_backbones_cls_row_comes_on_demand():
    torch.manual_seed(0)
    network = Segmenter(VisionTransformer(SHAPE), 2).eval()
    images = torch.rand(1, 1, 32, 32)
    logits, tokens = network.forward_with_tokens(images)
    assert tokens.cls_logits is not None
    assert network.forward_with_tokens(images, capture=False)[1].cls_logits is None
    torch.testing.assert_close(network(images), logits)
