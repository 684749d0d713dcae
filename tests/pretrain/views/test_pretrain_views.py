"""From a batch to multi-crop batches: views, prior and masks of a step, in parts."""

import copy

import numpy as np
import pytest
import torch

from medprior.cohort import Cohort
from medprior.pretrain.views.dataset import SquaresDataset
from medprior.pretrain.views.pretrain_views import MultiCropBatchMaker
from medprior.pretrain.views.stored_batches import build_step_loader
from medprior.priors import SpatialPrior

from ...conftest import STRUCTURES
from ..multi_crops import learner_of, tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(phantom_cohort):
    maps = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    return SquaresDataset(Cohort.open(phantom_cohort), 72, SpatialPrior(maps, STRUCTURES, "static", "annotation"))


def make_multi_crops(dataset, step=0, **changes):
    settings = tiny(**changes)
    loader = build_step_loader(dataset, settings)
    return MultiCropBatchMaker(settings, loader.dataset, learner_of(settings))(next(iter(loader)), step, CPU)


def test_parts_are_the_whole(dataset):
    (whole,) = make_multi_crops(dataset, recipe="span+ibot")
    first, second = make_multi_crops(dataset, recipe="span+ibot", accumulate=2)
    assert (whole.size, first.size, second.size) == (8, 4, 4)
    assert (first.part, second.part) == (slice(0, 4), slice(4, 8))
    assert whole.whole == first.whole == second.whole == 8
    assert len(first.prior.maps) == len(first.prior.weight) == 4

    def join(one, two):
        return torch.cat([one.unflatten(0, (2, -1)), two.unflatten(0, (2, -1))], dim=1).flatten(0, 1)

    assert torch.equal(join(first.globals_.pixels, second.globals_.pixels), whole.globals_.pixels)
    assert torch.equal(join(first.masked, second.masked), whole.masked)


def test_a_batch_without_maps_has_no_prior(dataset):
    bare = copy.copy(dataset)
    bare.prior = None
    (multi_crop,) = make_multi_crops(bare)
    assert multi_crop.prior is None
    assert multi_crop.masked is None


def test_costly_logs_are_of_the_first_step_of_a_window(dataset):
    details = [make_multi_crops(dataset, step, window=3)[0].detail for step in range(4)]
    assert details == [True, False, False, True]


def test_crops_know_the_aspect_of_their_own_image(dataset):
    """Crops cover equal areas and are square but for a stretch of 4 / 3, on images of any aspect."""
    stretched = copy.copy(dataset)
    stretched.aspect = np.where(np.arange(48) % 2, 0.25, 4.0)
    (multi_crop,) = make_multi_crops(stretched)
    batch = next(iter(build_step_loader(stretched, tiny())))
    aspect = np.tile(stretched.aspect[batch["index"].numpy()], 2)
    box = multi_crop.globals_.geometry.box
    assert (np.abs(np.log(box[:, 3] * aspect / box[:, 2])) <= np.log(4 / 3) + 1e-9).all()
