"""Batches on their way from the cohort to the device."""

import multiprocessing
import os
import signal
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from medprior.cohort import Cohort
from medprior.pretrain.settings import LoadingSettings
from medprior.pretrain.views import stored_batches
from medprior.pretrain.views.dataset import SquaresDataset
from medprior.pretrain.views.stored_batches import (
    ResidentImages,
    StoredBatches,
    build_step_loader,
    decode_pixels,
    decode_prior,
    is_worth_residence,
)
from medprior.priors import SpatialPrior

from ...conftest import STRUCTURES
from ..multi_crops import tiny

CPU = torch.device("cpu")
SOME = [5, 0, 47, 5, 11]


@pytest.fixture(scope="module")
def cohort(phantom_cohort):
    return Cohort.open(phantom_cohort)


@pytest.fixture(scope="module")
def fitted(cohort, tmp_path_factory):
    """A prior with maps of its own for every third image, read from its folder."""
    rng = np.random.default_rng(0)
    ids = cohort.image_ids[::3]
    table = pd.DataFrame({"image_id": ids, "trust": rng.random(len(ids)), "status": "affine", "doubt": ""})
    maps, own = rng.random((3, 8, 8), dtype=np.float32), rng.integers(0, 256, (len(ids), 3, 8, 8)).astype(np.uint8)
    file = tmp_path_factory.mktemp("maps") / "per_image.npy"
    np.save(file, own)
    own = np.load(file, mmap_mode="r")
    return SpatialPrior(maps, STRUCTURES, "affine", "annotation", per_image=own, table=table)


@pytest.fixture(scope="module")
def common():
    maps = np.random.default_rng(1).random((3, 8, 8), dtype=np.float32)
    return SpatialPrior(maps, STRUCTURES, "static", "annotation")


def decode(batch, prior):
    return decode_prior(batch, torch.from_numpy(prior.maps), CPU)


def test_pixels_are_stored_in_two_bytes_and_decoded_to_the_same_values(cohort):
    dataset = SquaresDataset(cohort, 24, None)
    batch = StoredBatches(dataset).__getitems__(SOME)
    assert batch.keys() == {"index", "image"}
    assert batch["image"].dtype == torch.uint16
    assert batch["index"].tolist() == SOME
    assert torch.equal(decode_pixels(batch["image"]), torch.stack([dataset[i]["image"] for i in SOME]))
    floats = torch.rand(2, 1, 3, 3)
    assert decode_pixels(floats) is floats


@pytest.mark.parametrize("kind", ["fitted", "common"])
def test_maps_and_trust_are_those_of_the_samples(cohort, kind, request):
    prior = request.getfixturevalue(kind)
    dataset = SquaresDataset(cohort, 24, prior)
    batch = StoredBatches(dataset).__getitems__(SOME)
    assert ("maps" in batch) == (kind == "fitted")
    maps = decode(batch, prior)
    assert torch.equal(maps.maps, torch.stack([dataset[i]["maps"] for i in SOME]))
    assert torch.equal(maps.weight, torch.stack([dataset[i]["trust"] for i in SOME]))
    if kind == "fitted":
        assert batch["maps"].dtype == torch.uint8
        assert batch["has_maps"].tolist() == [i % 3 == 0 for i in SOME]
        assert 0 < maps.weight.count_nonzero() < len(SOME)


def test_processes_that_read_ahead_change_nothing_and_survive_signals(cohort, fitted):
    """Ctrl-C and a batch system signal the whole process group; the process that trains still saves its state."""
    dataset = SquaresDataset(cohort, 24, fitted)
    alone = list(build_step_loader(dataset, tiny()))
    loader = build_step_loader(dataset, tiny(loading={"workers": 2}))
    assert loader.num_workers == 2
    batches, found = iter(loader), []
    for worker in batches._workers:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker.pid, number)
    found += list(batches)
    assert len(found) == len(alone)
    for here, there in zip(alone, found, strict=True):
        assert here.keys() == there.keys()
        assert all(torch.equal(here[name], there[name]) for name in here)


def read_one_batch_and_leave(cohort: str) -> None:
    """What a run does that fails in a step: its batches are still held when the interpreter ends."""
    held = iter(build_step_loader(SquaresDataset(Cohort.open(cohort), 24, None), tiny(loading={"workers": 2})))
    next(held)
    sys.last_value = held  # a traceback keeps them so


def test_a_process_that_fails_ends_although_its_readers_block_signals(cohort):
    process = multiprocessing.get_context("spawn").Process(target=read_one_batch_and_leave, args=(str(cohort.path),))
    process.start()
    process.join(240)
    ended = process.exitcode
    process.kill()
    assert ended == 0


def test_resident_images_are_those_of_the_batches(cohort):
    dataset = SquaresDataset(cohort, 24, None)
    loader = build_step_loader(dataset, tiny(loading={"resident": True}))
    resident, batch = loader.dataset.resident, next(iter(loader))
    assert batch.keys() == {"index"}
    expected = StoredBatches(dataset).__getitems__(batch["index"].tolist())["image"]
    assert torch.equal(decode_pixels(resident.take(batch["index"])), decode_pixels(expected))


def test_squares_of_an_earlier_version_are_resident_as_floats(cohort):
    images = SquaresDataset(cohort, 24, None).images

    class Older:
        stored_dtype, shape = np.dtype(np.float32), images.shape

        def __len__(self):
            return len(images)

        def read_stored(self, index):
            return images[index]

    assert torch.equal(ResidentImages(Older(), CPU).take(torch.tensor(SOME))[:, 0], torch.from_numpy(images[SOME]))


def test_only_a_device_of_its_own_memory_holds_the_cohort_unasked(cohort):
    images = SquaresDataset(cohort, 24, None).images
    assert not is_worth_residence(images, LoadingSettings(), CPU)
    assert is_worth_residence(images, LoadingSettings(resident=True), CPU)
    assert not is_worth_residence(images, LoadingSettings(resident=False), torch.device("cuda"))
    assert is_worth_residence(images, LoadingSettings(resident=True), torch.device("cuda"))


@pytest.mark.parametrize(("spare", "resident"), [(0, True), (2, True), (-2, False)])
def test_the_cohort_goes_to_a_device_with_twice_its_size_free(cohort, monkeypatch, spare, resident):
    images, device = SquaresDataset(cohort, 24, None).images, torch.device("cuda", 1)
    size = len(cohort) * 24 * 24 * 2  # of uint16
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda asked: {device: (2 * size + spare, 10**12)}[asked])
    assert is_worth_residence(images, LoadingSettings(), device) is resident


def test_processes_read_ahead_for_a_gpu_on_all_cores_but_one(cohort, fitted, monkeypatch):
    """None where the device holds all images, unless images have maps of their own; eight at most."""
    dataset, cuda = SquaresDataset(cohort, 24, None), torch.device("cuda")
    for cores, workers in ((1, 0), (2, 1), (9, 8), (16, 8)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, cores=cores: {0: set(range(cores))}[process])
        loader = build_step_loader(dataset, tiny(loading={"resident": False}), cuda)
        assert (loader.num_workers, loader.pin_memory) == (workers, True)
    monkeypatch.setattr(stored_batches, "ResidentImages", lambda images, device: ResidentImages(images, CPU))
    for prior, workers in ((None, 0), (fitted, 8)):
        held = SquaresDataset(cohort, 24, prior)
        assert build_step_loader(held, tiny(loading={"resident": True}), cuda).num_workers == workers
    assert build_step_loader(dataset, tiny()).num_workers == 0
    assert not build_step_loader(dataset, tiny()).pin_memory
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(9)))
    monkeypatch.setattr(stored_batches, "world_size", lambda: 2)  # each process takes its part of the cores
    assert build_step_loader(dataset, tiny(loading={"resident": False}), cuda).num_workers == 3


def test_how_images_are_loaded_is_in_no_record():
    settings = tiny(loading={"workers": 3, "resident": True})
    assert settings.loading.workers == 3
    assert settings.model_dump_json() == tiny().model_dump_json()
    assert "loading" not in settings.model_dump()
