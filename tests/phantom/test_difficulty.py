"""A small network learns the findings from a thousand images, and not perfectly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from medprior.phantom import FINDINGS, render_phantom

SIZE = 96


def block(width_in, width, stride=1):
    layers = [
        nn.Conv2d(width_in, width, 3, stride, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if stride == 1 else []))


def learn(images, labels, epochs):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    body = [block(1, 16, 2), block(16, 32), block(32, 64), block(64, 96), nn.Flatten()]
    network = nn.Sequential(*body, nn.Dropout(0.3), nn.Linear(96 * 36, len(FINDINGS)))
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.05)
    steps = epochs * (len(images) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for step in range(steps):
        if step % (len(images) // 32) == 0:
            order = torch.from_numpy(rng.permutation(len(images)))
        batch = order[(step * 32) % (len(images) // 32 * 32) :][:32]
        shift = tuple(int(value) for value in rng.integers(-4, 5, 2))
        answer = network(torch.roll(images[batch], shift, (2, 3)))
        known = ~labels[batch].isnan()
        loss = nn.functional.binary_cross_entropy_with_logits(answer[known], labels[batch][known])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def area_under_curve(train, test, epochs):
    """AUC per finding of a network taught on phantoms 0..train, on the next `test` ones."""
    shown = [render_phantom(seed, SIZE) for seed in range(train + test)]
    pixels = torch.from_numpy(np.stack([image.pixels for image in shown]))[:, None]
    pixels = (pixels - pixels[:train].mean()) / pixels[:train].std()
    labels = torch.tensor([[image.labels[name] for name in FINDINGS] for image in shown[:train]])
    network = learn(pixels[:train], labels, epochs)
    with torch.no_grad():
        scores = network(pixels[train:]).numpy()
    truth = np.array([[image.truth[name] for name in FINDINGS] for image in shown[train:]])
    return {name: float(roc_auc_score(truth[:, k], scores[:, k])) for k, name in enumerate(FINDINGS)}


@pytest.mark.slow
def test_findings_are_neither_hidden_nor_plain():
    found = area_under_curve(1000, 400, epochs=20)
    print(found)
    assert 0.75 < np.mean(list(found.values())) < 0.93
    assert min(found.values()) > 0.6
    assert max(found.values()) < 0.98
