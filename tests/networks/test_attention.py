import pytest
import torch

from medprior.networks import compute_attention_maps

from .encoder_cases import CASES, build_case


@pytest.mark.parametrize("case", CASES)
def test_maps_have_the_grid_of_any_image_size(case):
    maps = compute_attention_maps(build_case(case).eval(), torch.rand(2, 1, 48, 40))
    assert maps.shape == (2, 3, 6, 5)
    assert torch.allclose(maps.sum((-1, -2)), torch.ones(2, 3), atol=1e-5)


def test_maps_are_laid_out_in_raster_order_without_the_tokens_before():
    network = build_case("ours").eval()
    images = torch.rand(2, 1, 32, 48)
    maps = compute_attention_maps(network, images)
    assert maps.shape == (2, 3, 4, 6)
    expected = network(images, capture=True).cls_logits.softmax(-1)
    assert torch.equal(maps[:, :, 1, 2], expected[:, :, 1 * 6 + 2])
    assert not maps.requires_grad
