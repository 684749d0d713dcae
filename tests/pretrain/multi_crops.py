"""Small learners and what they are shown, for the tests of the objectives."""

import numpy as np
import torch

from medprior.cohort.squares import SquareImages
from medprior.phantom import render_phantom
from medprior.pretrain.learner import Learner
from medprior.pretrain.objectives.objective import MultiCropBatch, PriorMaps
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewMaker
from medprior.settings import merge_mappings

TINY = {
    "recipe": "dino", "batch": 8, "steps": 100,
    "network": {"width": 48, "depth": 2, "heads": 6, "patch": 8, "registers": 2},
    "crops": {"global_size": 48, "local_size": 24, "locals": 2},
    "dino": {"prototypes": 32, "hidden": 32, "bottleneck": 16},
}  # fmt: skip
STRUCTURES = ("left_lung", "right_lung", "heart")
WITHOUT_DINO = {"dino": {"weight": 0.0, "koleo_weight": 0.0}}


def tiny(**changes):
    """Resolved settings of a network of 48 channels and 6 heads, with `changes` of sections."""
    settings = PretrainSettings.from_values(merge_mappings(TINY, changes))
    network = settings.network.model_copy(update={"image_size": settings.crops.global_size})
    return settings.model_copy(update={"network": network}).resolve(64)


def learner_of(settings, heads=(0, 1, 2)):
    """A learner from the seed; `heads` of the structures where an objective needs a prior."""
    torch.manual_seed(settings.seed)
    return Learner(settings, heads if settings.needs_prior else ())


def pictures(count, size=72):
    """Phantoms float32 [n, 1, S, S], and their masks [n, 3, S, S]."""
    phantoms = [render_phantom(seed, size=size) for seed in range(count)]
    masks = [[image.masks[name] for name in STRUCTURES] for image in phantoms]
    images = np.stack([image.pixels for image in phantoms]).astype(np.float32)
    return torch.from_numpy(images)[:, None], torch.from_numpy(np.array(masks, np.float32))


class FloatSquares:
    """Stored rows in memory, float32 as in a cache of an earlier version: a pixel may be no number."""

    dtype = np.dtype(np.float32)

    def __init__(self, pixels):
        self._pixels, self.shape = pixels, pixels.shape

    def read(self, rows):
        return self._pixels[rows]


def square_images(pixels):
    """A cohort's squares of float32 [n, S, S]."""
    return SquareImages(FloatSquares(pixels), np.arange(len(pixels)))


def build_multi_crop(settings, learner, images, maps=None, step=0, part=None, detail=False):
    """What `MultiCropBatchMaker` makes of a batch, or of a part of it."""
    whole = len(images)
    part = part or slice(0, whole)
    aspect = np.ones(whole)
    globals_, locals_ = ViewMaker(settings)(images[part], aspect, step, part, whole)
    prior = None
    if maps is not None:
        prior = PriorMaps(maps[part], torch.ones(len(maps[part])))
    masked = learner.sample_masks(step, part, whole, globals_.geometry.grid)
    kept = learner.sample_kept_patches(step, part, whole, globals_.geometry.grid)
    return MultiCropBatch(globals_, locals_, prior, masked, step, part, whole, detail, kept)


def gradients(learner, multi_crop, weights=None):
    """Gradient of the weighted sum of losses on the student, by parameter."""
    learner.zero_grad(set_to_none=True)
    losses, _ = learner.compute_losses(learner.student, multi_crop)
    factors = weights or dict.fromkeys(losses, 1.0)
    sum(factors[name] * losses[name] for name in factors).backward()
    return {n: p.grad.clone() for n, p in learner.student.named_parameters() if p.grad is not None}


def take_dino_step():
    """Settings, learner, multi-crop batch, losses and logs of one step of DINO on four phantoms, not committed."""
    settings = tiny(dino={"centre_momentum": 0.9})
    learner = learner_of(settings)
    multi_crop = build_multi_crop(settings, learner, pictures(4)[0])
    losses, logs = learner.compute_losses(learner.student, multi_crop)
    return settings, learner, multi_crop, losses, logs


def count_steps_until(settings, done, most=300):
    """Steps until `done(losses, logs)`, `most + 1` for never; 8 images, the same views every time."""
    learner = learner_of(settings)
    images, masks = pictures(8)
    multi_crop = build_multi_crop(settings, learner, images, masks, detail=True)
    optimiser = torch.optim.AdamW(learner.student.parameters(), lr=3e-3)
    for step in range(1, most + 1):
        losses, logs = learner.compute_losses(learner.student, multi_crop)
        if done(losses, logs):
            return step
        optimiser.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(learner.student.parameters(), 3.0)
        optimiser.step()
    return most + 1
