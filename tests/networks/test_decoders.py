import pytest
import torch

from medprior.networks.decoders import DetailEncoder, Segmenter, choose_tap_depths
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
