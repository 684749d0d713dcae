"""One batch can be learned by heart (methods 11, point 21)."""

import torch

from .scenes import learner_of, pictures, scene_of, tiny

ALONE = {"dino": {"weight": 0.0, "koleo_weight": 0.0}}


def learned(settings, done, most=300):
    """Steps until `done(losses, logs)`; 8 images, the same views every time."""
    learner = learner_of(settings)
    images, masks = pictures(8)
    scene = scene_of(settings, learner, images, masks, detail=True)
    optimiser = torch.optim.AdamW(learner.student.parameters(), lr=3e-3)
    for step in range(1, most + 1):
        losses, logs = learner.compute_losses(learner.student, scene)
        if done(losses, logs):
            return step
        optimiser.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(learner.student.parameters(), 3.0)
        optimiser.step()
    return most + 1


def test_span_falls_below_a_twentieth():
    settings = tiny(recipe="span", crops={"locals": 0}, **ALONE)
    assert learned(settings, lambda losses, _: losses["span"].item() < 0.05) <= 300


def test_span_finds_the_structures():
    """Not only is the loss low: most of the attention's densest part lies on the structures."""
    settings = tiny(recipe="span", crops={"locals": 0}, **ALONE)

    def done(_, logs):
        return min(logs[f"span_iou60_{k}"].item() for k in range(2)) > 0.45

    assert learned(settings, done) <= 300


def test_loca_places_nine_patches_of_ten():
    settings = tiny(recipe="loca", loca={"cluster": False}, crops={"locals": 1}, **ALONE)
    assert learned(settings, lambda _, logs: logs["loca_accuracy"].item() > 0.9) <= 300
