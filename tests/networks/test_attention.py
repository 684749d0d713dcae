import numpy as np
import pytest
import torch

from medprior.geometry import PLAIN_VIEW, QUARTER_SHIFTS, AttentionViews, create_whole_image_views
from medprior.networks import compute_attention_maps, crop_views, resample_maps_to_source
from medprior.networks.attention import compute_augmented_attention, create_shifted_views

from .encoder_cases import CASES, build_case

ASPECT = np.array([1.0, 2.0])


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


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_case("ours").eval()


@pytest.fixture(scope="module")
def sources():
    return torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(1))


def resample(maps, views):
    return resample_maps_to_source(maps, views, 24, extend_border=True)


def test_views_are_shifted_by_a_quarter_of_a_patch_each_way():
    whole = create_whole_image_views(ASPECT, (4, 4))
    views = create_shifted_views(ASPECT, 4, QUARTER_SHIFTS)
    assert (len(views), views.grid) == (8, (4, 4))
    for number, shift in enumerate(QUARTER_SHIFTS):
        moved = views.box[2 * number : 2 * number + 2] - whole.box
        np.testing.assert_allclose(moved[:, 2:], 0, atol=1e-12)
        np.testing.assert_allclose(moved[:, :2] * 4 / whole.box[:, 2:], [shift, shift])


@pytest.mark.parametrize(
    ("sizes", "is_shifted", "count"), [((1.0,), False, 1), ((1.0,), True, 4), ((1.0, 1.4, 2.0), True, 12)]
)
def test_views_are_counted(sizes, is_shifted, count):
    assert AttentionViews(sizes, is_shifted).count == count


def test_the_plain_view_is_the_image_once(network, sources):
    views = create_whole_image_views(ASPECT, (4, 4))
    expected = resample(compute_attention_maps(network, crop_views(sources, views, 32, torch.arange(2))), views)
    found = compute_augmented_attention(network, sources, ASPECT, 32, PLAIN_VIEW, resample)
    torch.testing.assert_close(found, expected)


def test_the_mean_over_sizes_and_shifts_view_by_view(network, sources):
    plan = AttentionViews((1.0, 1.5), True)
    expected = []
    for cells in (4, 6):
        views = create_shifted_views(ASPECT, cells, QUARTER_SHIFTS)
        images = crop_views(sources, views, 8 * cells, torch.tensor([0, 1] * 4))
        for number in range(4):
            part = slice(2 * number, 2 * number + 2)
            maps = compute_attention_maps(network, images[part]) * cells**2 / 16
            expected.append(resample(maps, views.take(part)))
    found = compute_augmented_attention(network, sources, ASPECT, 32, plan, resample)
    assert found.shape == (2, network.settings.heads, 24, 24)
    torch.testing.assert_close(found, torch.stack(expected).mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [0.1, 0.5, 1.4, 2.0])
def test_a_map_keeps_its_mean_at_every_size(network, sources, size):
    maps = compute_augmented_attention(
        network, sources[:1], np.ones(1), 32, AttentionViews((size,), False), lambda maps, views: maps.mean((2, 3))
    )
    whole = create_whole_image_views(np.ones(1), (4, 4))
    plain = compute_attention_maps(network, crop_views(sources[:1], whole, 32, torch.zeros(1, dtype=torch.long)))
    # CLS and registers take a part of the attention that depends on the number of patches.
    torch.testing.assert_close(maps, plain.mean((2, 3)), rtol=0.35, atol=0)
