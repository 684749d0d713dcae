"""Masked patches: the network does not see them and learns its mask token from them."""

import pytest
import torch

from medprior.errors import ConfigError
from medprior.networks import ViTSettings, build_encoder


def network(**values):
    torch.manual_seed(0)
    shape = {"width": 48, "depth": 2, "heads": 3, "image_size": 32, "mask_token": True}
    return build_encoder(ViTSettings.checked(shape | values))


def test_nothing_of_a_masked_patch_is_seen():
    net = network()
    with torch.no_grad():
        net.mask_token.normal_()
    images = torch.rand(2, 1, 32, 48)
    mask = torch.zeros(2, 24, dtype=torch.bool)
    mask[0, [0, 7, 23]] = True  # row 0 column 0, row 1 column 1, row 3 column 5
    other = images.clone()
    for row, column in ((0, 0), (1, 1), (3, 5)):
        other[0, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = torch.rand(8, 8)
    seen, changed = net(images, mask=mask), net(other, mask=mask)
    assert torch.equal(seen.cls, changed.cls)
    assert torch.equal(seen.patches, changed.patches)
    assert not torch.allclose(seen.cls[0], net(images).cls[0])
    assert torch.allclose(seen.cls[1], net(images).cls[1], atol=1e-6)


def test_masked_patches_keep_their_positions():
    net = network()
    x, _ = net.embed_images(torch.rand(1, 1, 32, 32), torch.ones(1, 16, dtype=torch.bool))
    expected = net.mask_token + net.position.flatten(2)[0].T
    assert torch.allclose(x[0, net.prefix :], expected)


def test_the_token_learns_and_no_mask_leaves_the_result_alone():
    net = network()
    images, mask = torch.rand(2, 1, 32, 32), torch.arange(16).expand(2, -1) < 5
    net(images, mask=mask).patches.square().sum().backward()
    assert net.mask_token.grad.abs().sum() > 0
    plain = network(mask_token=False)
    assert set(net.state_dict()) - set(plain.state_dict()) == {"mask_token"}
    assert torch.equal(net(images).patches, plain(images).patches)


def test_a_mask_without_a_token_is_refused():
    with pytest.raises(ConfigError, match="mask_token"):
        network(mask_token=False)(torch.rand(1, 1, 32, 32), mask=torch.ones(1, 16).bool())
