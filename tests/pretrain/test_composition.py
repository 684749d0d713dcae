"""The number of every objective out of the `Learner`, against NumPy on the outputs of student and teacher.

The teacher differs from the student and centres are not 0, so that a network, a centre or a temperature taken for
another one changes the number.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from .multi_crops import build_multi_crop, learner_of, pictures, tiny
from .slow_twins import balance_prototypes, cross_entropy, softmax, spatial_entropy

IMAGES = 4
HEADS = (4, 0, 3)
UNLIKE = {
    "teacher_temperature": 0.3, "student_temperature": 0.2, "prototypes": 6, "hidden": 32, "bottleneck": 16,
}  # fmt: skip


class Composition:
    """A learner whose parts all differ, its multi-crop batch, losses and logs, and both networks' outputs."""

    def __init__(self, recipe, **changes):
        self.settings = tiny(recipe=recipe, **({"dino": UNLIKE} | changes))
        self.learner = learner_of(self.settings, HEADS)
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in [*self.learner.teacher.parameters(), *self.learner.student.parameters()]:
                parameter.add_(0.1 * torch.randn_like(parameter))
            for objective in self.learner.objectives.values():
                if hasattr(objective, "centre"):
                    objective.centre.copy_(0.5 * torch.randn_like(objective.centre))
        multi_crop = build_multi_crop(self.settings, self.learner, *pictures(IMAGES))
        trusted = replace(multi_crop.prior, weight=torch.tensor([1.0, 0.5, 0.25, 0.75]))
        self.multi_crop = replace(multi_crop, prior=trusted)
        with torch.no_grad():
            stacks = [stack.pixels for stack in self.multi_crop.stacks]
            self.views, self.scores = self.learner.student(stacks, 1, self.multi_crop.masked)
            (self.taught,), self.teacher_scores = self.learner.teacher(stacks[:1], 0)
            self.losses, self.logs = self.learner.compute_losses(self.learner.student, self.multi_crop)

    def loss(self, name):
        return self.losses[name].item()

    def objective(self, name):
        return self.learner.objectives[name]


@pytest.mark.parametrize("teacher", ["centering", "sinkhorn"])
def test_dino(teacher):
    run = Composition("dino", dino=UNLIKE | {"teacher": teacher})
    scores = run.teacher_scores.numpy().reshape(2, IMAGES, -1)
    if teacher == "centering":
        taught = softmax((scores - run.objective("dino").centre.numpy()) / 0.3)
    else:
        taught = np.stack([balance_prototypes(softmax(view / 0.3)) for view in scores])
    student = run.scores.numpy().reshape(4, IMAGES, -1)
    pairs = [cross_entropy(taught[g], student[v], 0.2).mean() for g in range(2) for v in range(4) if g != v]
    assert run.loss("dino") == pytest.approx(np.mean(pairs), rel=1e-4)
    entropy = -(taught * np.log(taught)).sum(-1).mean()
    assert run.logs["teacher_entropy"].item() == pytest.approx(entropy, rel=1e-4)
    mean = taught.mean((0, 1))
    assert run.logs["mean_entropy"].item() == pytest.approx(-(mean * np.log(mean)).sum(), rel=1e-4)


def test_koleo():
    run = Composition("koleo")
    halves = []
    for cls in run.views[0].cls.numpy().reshape(2, IMAGES, -1):
        unit = cls / np.linalg.norm(cls, axis=1, keepdims=True)
        distance = np.linalg.norm(unit[:, None] - unit[None], axis=-1) + 9 * np.eye(IMAGES)
        halves.append(-np.log(distance.min(1)).mean())
    assert run.loss("koleo") == pytest.approx(np.mean(halves), rel=1e-4)
    assert abs(halves[0] - halves[1]) > 1e-3


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("teacher", ["centering", "sinkhorn"])
def test_ibot(teacher, separate):
    run = Composition("ibot", ibot={"teacher": teacher, "separate_head": separate})
    student, trained = run.learner.student, run.learner.teacher
    heads = (student.parts["ibot"], trained.parts["ibot"]) if separate else (student.head, trained.head)
    masked = run.multi_crop.masked
    with torch.no_grad():
        scores, taught = heads[0](run.views[0].patches[masked]).numpy(), heads[1](run.taught.patches[masked]).numpy()
    if teacher == "centering":
        targets = softmax((taught - run.objective("ibot").centre.numpy()) / 0.3)
    else:
        targets = balance_prototypes(softmax(taught / 0.3))
    each = cross_entropy(targets, scores, 0.2)
    view = masked.nonzero()[:, 0].numpy()
    means = [each[view == number].mean() for number in np.unique(view)]
    assert 0 < len(means) < 2 * IMAGES
    assert run.loss("ibot") == pytest.approx(sum(means) / (2 * IMAGES), rel=1e-4)


LOCA = {"teacher_temperature": 0.25, "student_temperature": 0.15, "visible": 0.3}


def queries_of(run):
    """Query patches of global view 2 and both local views [B, Q, D], and their cells [B, Q]."""
    patches = [run.views[0].patches[IMAGES:], *run.views[1].patches.split(IMAGES)]
    return torch.cat(patches, 1), run.objective("loca").targets(run.multi_crop)[0]


def location_twin(run, reference):
    """Cross-entropy of the located queries' positions, and the share that is placed right."""
    queries, targets = queries_of(run)
    seen = torch.stack([reference[i][targets.visible[i]] for i in range(IMAGES)])
    with torch.no_grad():
        positions = run.learner.student.parts["loca"](queries, seen).numpy()
    cell = targets.cell.numpy()
    located = cell >= 0
    probability = np.take_along_axis(softmax(positions), np.maximum(cell, 0)[..., None], 2)[..., 0]
    return -np.log(probability[located]).mean(), (positions.argmax(-1) == cell)[located].mean()


@pytest.mark.parametrize("side", ["teacher", "student"])
def test_loca_position(side):
    run = Composition("loca", loca=LOCA | {"reference": side, "cluster": False})
    references = {"teacher": run.taught.patches[:IMAGES], "student": run.views[0].patches[:IMAGES]}
    loss, accuracy = location_twin(run, references[side])
    assert run.loss("loca") == pytest.approx(loss, rel=1e-4)
    assert run.logs["loca_position_loss"].item() == pytest.approx(loss, rel=1e-4)
    assert run.logs["loca_accuracy"].item() == pytest.approx(accuracy)
    other = location_twin(run, references[{"teacher": "student", "student": "teacher"}[side]])[0]
    assert abs(loss - other) > 1e-3  # the two references can be told apart


def test_loca_with_clusters():
    run = Composition("loca", loca=LOCA)
    queries, targets = queries_of(run)
    heads = [network.parts["loca_prototypes"] for network in (run.learner.student, run.learner.teacher)]
    with torch.no_grad():
        scores = heads[0](queries.flatten(0, 1)).numpy()
        taught = heads[1](run.taught.patches[:IMAGES].flatten(0, 1)).numpy()
    balanced = balance_prototypes(softmax(taught / 0.25)).reshape(IMAGES, 36, -1)
    cell = targets.cell.numpy()
    image, query = np.nonzero(cell >= 0)
    each = cross_entropy(balanced[image, cell[image, query]], scores.reshape(*cell.shape, -1)[image, query], 0.15)
    mean = softmax(scores / 0.15).mean(0)
    location, _ = location_twin(run, run.taught.patches[:IMAGES])
    assert run.loss("loca") == pytest.approx(location + each.mean() + (mean * np.log(mean)).sum(), rel=1e-4)
    assert run.logs["loca_position_loss"].item() == pytest.approx(location, rel=1e-4)


def test_sar_is_of_the_scores_before_softmax():
    run = Composition("span+sar")
    logits, grid = run.views[0].cls_logits.numpy(), run.views[0].grid
    free = [1, 2, 5]
    entropies = [spatial_entropy(logits[view, head], grid) for view in range(2 * IMAGES) for head in free]
    assert run.loss("sar") == pytest.approx(np.mean(entropies), rel=1e-4)
    assert run.logs["spatial_entropy"].item() == pytest.approx(np.mean(entropies), rel=1e-4)


def test_span():
    """More tokens before the patches than patches, so that some heads leave less than half of their mass on patches."""
    few_patches = {"network": {"registers": 8}, "crops": {"global_size": 24, "locals": 0}}
    run = Composition("span", span={"epsilon": 0.1, "mass_penalty": 0.5}, **few_patches)
    (targets,), count = run.objective("span").targets(run.multi_crop)
    cover, gate = targets.cover.numpy(), targets.gate.numpy()
    prior = 0.9 * cover / np.maximum(cover.sum(-1, keepdims=True), 1e-8) + 0.1 / cover.shape[-1]
    attention = softmax(run.views[0].cls_logits.numpy()[:, HEADS])
    divergence = (prior * np.log(prior / attention)).sum(-1)
    mass = run.views[0].cls_mass.numpy()[:, HEADS]
    penalised = divergence + 0.5 * np.maximum(np.log(0.5 / mass), 0)
    assert (mass < 0.5).any()
    assert 0 < count.item() < gate.size
    assert run.loss("span") == pytest.approx((penalised * gate).sum() / gate.sum(), rel=1e-4)
    for number in range(3):
        mean = (divergence * gate).sum(0)[number] / max(gate.sum(0)[number], 1e-6)
        assert run.logs[f"span_kl_{number}"].item() == pytest.approx(mean, rel=1e-4)
    assert run.logs["cls_mass"].item() == pytest.approx(mass.mean(), rel=1e-4)


def test_every_objective_beside_the_others():
    """With iBOT's masks SAR and SPAN see visible patches alone; DINO is as before."""
    run = Composition("all")
    assert list(run.losses) == ["dino", "koleo", "ibot", "span", "sar", "loca"]
    taught = softmax((run.teacher_scores.numpy() - run.objective("dino").centre.numpy()) / 0.3).reshape(2, IMAGES, -1)
    student = run.scores.numpy().reshape(4, IMAGES, -1)
    pairs = [cross_entropy(taught[g], student[v], 0.2).mean() for g in range(2) for v in range(4) if g != v]
    assert run.loss("dino") == pytest.approx(np.mean(pairs), rel=1e-4)
    (targets,), _ = run.objective("span").targets(run.multi_crop)
    visible = ~run.multi_crop.masked.numpy()[:, None]
    cover, gate = targets.cover.numpy(), targets.gate.numpy()
    prior = 0.98 * cover / np.maximum(cover.sum(-1, keepdims=True), 1e-8) + 0.02 * visible / visible.sum(-1)[..., None]
    attention = softmax(np.where(visible, run.views[0].cls_logits.numpy()[:, HEADS], -np.inf))
    logs = np.where(visible, np.log(np.maximum(prior, 1e-30) / np.maximum(attention, 1e-30)), 0)
    assert run.loss("span") == pytest.approx(((prior * logs).sum(-1) * gate).sum() / gate.sum(), rel=1e-4)
