"""A pretraining step on CUDA, without one: errors of device, dtype and shape, waits, parameters no loss reaches."""

import numpy as np
import pytest
import torch

from medprior.pretrain.learner import Learner
from medprior.pretrain.network import PretrainNetwork
from medprior.pretrain.objectives import span
from medprior.pretrain.objectives.koleo import KoleoObjective
from medprior.pretrain.objectives.projection_head import ProjectionHead
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.trainer import PretrainTrainer
from medprior.pretrain.views.dataset import SquaresDataset
from medprior.pretrain.views.stored_batches import ResidentImages, build_step_loader
from medprior.priors import SpatialPrior
from medprior.settings import merge_mappings

from ..pretrain.multi_crops import STRUCTURES, square_images
from .fake_device import CUDA, fake_cuda, list_unreached

BATCH, IMAGES, SOURCE, MAPS = 4, 20_000, 72, 64
STRUCTURE_COUNT = len(STRUCTURES)
TINY = {
    "batch": BATCH, "steps": 50, "window": 2, "gradient_every": 1,
    "network": {"width": 48, "depth": 2, "heads": 6, "patch": 8, "image_size": 48},
    "crops": {"global_size": 48, "local_size": 24, "locals": 2},
    "dino": {"prototypes": 32, "hidden": 32, "bottleneck": 16}, "loading": {"workers": 0},
}  # fmt: skip
STEPS_TO_WARM_UP = 2


class UnreadImages(SquaresDataset):
    """A cohort of which the trainer asks the shapes alone."""

    def __init__(self, has_prior):
        self.images = square_images(np.zeros((BATCH, SOURCE, SOURCE), np.float32))
        self.aspect = np.linspace(0.8, 1.2, IMAGES)
        self.ids = tuple(map(str, range(IMAGES)))
        maps = np.zeros((STRUCTURE_COUNT, MAPS, MAPS), np.float32)
        self.prior = SpatialPrior(maps, STRUCTURES, "static", "annotation") if has_prior else None


def build_stored_batch(settings, resident):
    """A `StoredBatch` as the loader sends it: with a prior, maps of each image's own."""
    batch = {"index": torch.arange(BATCH)}
    if not resident:
        batch["image"] = torch.zeros(BATCH, 1, SOURCE, SOURCE, dtype=torch.uint16)
    if settings.needs_prior:
        maps = torch.zeros(BATCH, STRUCTURE_COUNT, MAPS, MAPS, dtype=torch.uint8)
        batch |= {"maps": maps, "has_maps": torch.ones(BATCH, dtype=torch.bool), "trust": torch.ones(BATCH)}
    return batch


def take_step(resident=False, **changes):
    """The trainer and the mode after a step whose waits and copies alone are counted."""
    settings = PretrainSettings.from_values(merge_mappings(TINY, changes)).resolve(IMAGES)
    assigned = settings.span.assignment == "fixed"
    heads = range(STRUCTURE_COUNT) if assigned else [-1] * STRUCTURE_COUNT
    learner = Learner(settings, heads if settings.needs_prior else ())
    loader = build_step_loader(UnreadImages(settings.needs_prior), settings)
    with fake_cuda() as mode:
        if resident:
            loader.dataset.resident = ResidentImages(loader.dataset.dataset.images, CUDA)
        trainer = PretrainTrainer(learner, loader, settings, CUDA)
        for step in range(1, STEPS_TO_WARM_UP + 2):
            mode.forget()
            trainer.state.iteration = step
            trainer.step(trainer, build_stored_batch(settings, resident))
    return trainer, mode


RECIPES = {
    "dino": {"recipe": "dino"},
    "dino with a batch-normalised head": {"recipe": "dino", "dino": {"batch_norm": True, "teacher": "sinkhorn"}},
    "span": {"recipe": "span"},
    "span on local views, with a mass penalty": {
        "recipe": "span", "crops": {"local_size": 48}, "span": {"local_views": True, "mass_penalty": 0.1},
    },
    "sar": {"recipe": "sar"},
    "loca": {"recipe": "loca"},
    "ibot": {"recipe": "ibot", "ibot": {"separate_head": True}},
    "life, drop-path": {"recipe": "span+life", "network": {"drop_path": 0.2, "layer_scale": 0.1}},
    "loca alone, from some patches": {"recipe": "loca-alone", "loca": {"query_patches": 10}},
    "norms of parts": {"recipe": "ibot", "optimiser": {"clip_by": "part", "layer_decay": 0.9}},
    "norms of tensors": {"recipe": "sar+nosn", "optimiser": {"clip_by": "tensor"}},
    "all": {"recipe": "all"},
    "all in parts": {"recipe": "all", "accumulate": 2},
    "float32": {"recipe": "all", "precision": "fp32"},
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_waits_once_for_the_step_before_and_reaches_every_parameter(name):
    trainer, mode = take_step(**RECIPES[name])
    assert sum(mode.waits.values()) <= 1, mode.waits
    assert all(key.startswith("event at deferred_logs.py") for key in mode.waits), mode.waits
    assert list_unreached(trainer.learner.student) == []
    assert trainer.optimiser.param_groups[0]["fused"]
    flash = RECIPES[name].get("precision") != "fp32"
    assert all((key == "flash") == flash for key in mode.attention), mode.attention


@pytest.mark.parametrize(("recipe", "most"), [("dino", 2), ("span", 5), ("all", 8)])
@pytest.mark.parametrize("resident", [False, True])
def test_few_copies_go_to_the_device(recipe, most, resident):
    """Images or their rows; crops and exposures together; maps, whose they are and trust; masks; free heads; LOCA's
    cells and visible patches."""
    _, mode = take_step(resident, recipe=recipe)
    assert sum(mode.copies.values()) <= most, mode.copies
    assert sum(mode.waits.values()) <= 1, mode.waits


def hold_prototypes_in_a_plain_attribute(monkeypatch):
    """Device: `Module.to` does not move them."""
    build = ProjectionHead.__init__

    def init(self, *args, **kwargs):
        build(self, *args, **kwargs)
        self.offset = torch.zeros(self.prototypes.shape[1])
        self.mlp[-1].register_forward_hook(lambda module, inputs, output: output + self.offset)

    monkeypatch.setattr(ProjectionHead, "__init__", init)


def multiply_half_by_single(monkeypatch):
    """Dtype: a product of bfloat16 and float32 outside of autocast."""

    def loss(self, multi_crop, targets, count, outputs):
        with torch.autocast("cuda", enabled=False):
            patches = outputs.views[0].patches.to(torch.bfloat16)
            return (patches @ torch.ones(patches.shape[-1], 1, device=patches.device)).float().mean(), {}

    monkeypatch.setattr(KoleoObjective, "loss", loss)


def compare_one_patch_too_many(monkeypatch):
    """Shape: attention with CLS against a prior without."""
    build = span.build_attention_target
    monkeypatch.setattr(
        span, "build_attention_target", lambda cover, *args: torch.cat([build(cover, *args), cover[..., :1]], -1)
    )


def ask_for_a_value(monkeypatch):
    """Wait: a condition of Python's on a tensor."""
    loss = KoleoObjective.loss

    def patient(self, multi_crop, targets, count, outputs):
        value, logs = loss(self, multi_crop, targets, count, outputs)
        return (value if value > 0 else value * 2), logs

    monkeypatch.setattr(KoleoObjective, "loss", patient)


def leave_a_parameter_out(monkeypatch):
    """Parameter: one that no loss reaches, at which several processes would stop."""
    build = PretrainNetwork.__init__

    def init(self, settings):
        build(self, settings)
        self.register_parameter("spare", torch.nn.Parameter(torch.zeros(3)))

    monkeypatch.setattr(PretrainNetwork, "__init__", init)


@pytest.mark.parametrize(
    ("plant", "refusal"),
    [
        (hold_prototypes_in_a_plain_attribute, "device"),
        (multiply_half_by_single, "dtype"),
        (compare_one_patch_too_many, "size|shape|broadcast"),
    ],
)
def test_a_planted_fault_stops_the_step(plant, refusal, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(Exception, match=f"(?i){refusal}"):
        take_step(recipe="span")


def test_a_planted_wait_is_counted(monkeypatch):
    ask_for_a_value(monkeypatch)
    _, mode = take_step(recipe="span")
    assert sum(mode.waits.values()) == 2, mode.waits


def test_a_planted_parameter_without_loss_is_named(monkeypatch):
    leave_a_parameter_out(monkeypatch)
    trainer, _ = take_step(recipe="dino")
    assert list_unreached(trainer.learner.student) == ["spare"]
