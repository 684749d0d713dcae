"""Samples of the training images, and which of them each step reads."""

import numpy as np
import pytest
import torch

from medprior.cohort import Cohort
from medprior.pretrain.views.batches import compute_step_indices
from medprior.pretrain.views.dataset import SquaresDataset, StepSampler, compute_rank_slice
from medprior.pretrain.views.stored_batches import build_step_loader
from medprior.priors import SpatialPrior

from ...conftest import STRUCTURES
from ..multi_crops import tiny


@pytest.fixture(scope="module")
def cohort(phantom_cohort):
    return Cohort.open(phantom_cohort)


def test_a_sample_is_one_square_and_its_number(cohort):
    dataset = SquaresDataset(cohort, 24, None)
    sample = dataset[5]
    assert len(dataset) == 48
    assert sample.keys() == {"image", "index"}
    assert sample["image"].dtype == torch.float32
    assert np.array_equal(sample["image"][0], cohort.squares(24)[5])
    assert sample["index"].item() == 5


def test_with_a_prior_a_sample_holds_maps_and_trust(cohort):
    maps = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    sample = SquaresDataset(cohort, 24, SpatialPrior(maps, STRUCTURES, "static", "annotation"))[0]
    assert np.array_equal(sample["maps"], maps)
    assert sample["trust"].item() == 1


def test_steps_start_where_a_run_was_left():
    sampler = StepSampler(tiny(), 29)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 104
    assert batches[1] == compute_step_indices(0, 1, 29, 8).tolist()
    sampler.start = 102
    assert list(sampler) == batches[102:]
    assert len(sampler) == 2


def test_one_process_has_the_whole_batch():
    assert compute_rank_slice(8) == slice(0, 8)


def test_the_loader_reads_the_images_of_the_steps(cohort):
    batch = next(iter(build_step_loader(SquaresDataset(cohort, 24, None), tiny(seed=3))))
    assert batch["index"].tolist() == compute_step_indices(3, 0, 48, 8).tolist()
    assert batch["image"].shape == (8, 1, 24, 24)
