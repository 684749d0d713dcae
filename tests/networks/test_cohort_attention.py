import numpy as np
import pytest
import torch

from medprior.cohort import Cohort, CohortWriter
from medprior.geometry import create_whole_image_views
from medprior.networks import compute_attention_maps, crop_views, resample_maps_to_source
from medprior.networks.cohort_attention import compute_cohort_attention, iterate_whole_views

from .encoder_cases import build_case

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Five pictures of noise, one of them twice as wide as high."""
    path = tmp_path_factory.mktemp("noise") / "cohort"
    rng = np.random.default_rng(0)
    with CohortWriter(path) as writer:
        for number in range(5):
            pixels = rng.random((64, 128 if number == 3 else 64), dtype=np.float32)
            writer.add(image_id=f"n{number}", pixels=pixels, patient_id=f"p{number}")
        writer.finish(split={f"n{number}": "train" for number in range(5)})
    return Cohort.open(path)


def test_every_image_is_seen_once_whole_and_in_order(cohort):
    batches = list(iterate_whole_views(cohort, 32, 8, 2, CPU))
    assert [len(images) for images, _ in batches] == [2, 2, 1]
    assert all(views.grid == (4, 4) for _, views in batches)
    images = torch.cat([images for images, _ in batches])
    squares = torch.from_numpy(np.array(cohort.squares(48)))[:, None]
    for number in range(5):
        alone = create_whole_image_views(cohort.aspect[number : number + 1], (4, 4))
        expected = crop_views(squares, alone, 32, torch.tensor([number]))
        if number == 2:  # its batch shares the finer sampling that the wide picture needs
            assert (images[number] - expected[0]).abs().mean() < 0.1
        else:
            torch.testing.assert_close(images[number], expected[0])
    assert not images[3, 0, :7].any()  # twice as wide as high: a quarter is empty above and below
    assert images[3, 0, 9:23].min() > 0


def test_maps_lie_on_the_images_in_their_order(cohort):
    network = build_case("ours").eval()
    maps = np.concatenate(list(compute_cohort_attention(network, cohort, 32, 16, 2, CPU)))
    assert maps.shape == (5, 3, 16, 16)
    assert maps.dtype == np.float32
    (images, views), *_ = iterate_whole_views(cohort.select(["n4"]), 32, 8, 1, CPU)
    expected = resample_maps_to_source(compute_attention_maps(network, images), views, 16)
    np.testing.assert_allclose(maps[4], expected[0].numpy(), atol=1e-6)
