import math
from types import SimpleNamespace

import torch
from torch import nn

from medprior.finetune.handlers import BestWeightsHandler, TrainingProgress, has_finite_weights


def test_best_is_the_highest_score_then_the_lowest_loss_and_never_nan():
    network = nn.Linear(1, 1)
    evaluator = SimpleNamespace(state=SimpleNamespace(metrics={}, key_metric_name="score"))
    progress = TrainingProgress()
    keeper = BestWeightsHandler(evaluator, progress)
    history = [(math.nan, 0.1), (0.5, 0.9), (0.7, 0.8), (math.nan, 0.1), (0.7, 0.6), (0.7, 0.7)]
    for epoch, (score, loss) in enumerate(history, start=1):
        evaluator.state.metrics = {"score": score, "loss": loss}
        nn.init.constant_(network.weight, epoch)
        engine = SimpleNamespace(state=SimpleNamespace(epoch=epoch), network=network)
        keeper._compare(engine)
    assert (progress.best_epoch, progress.best_score, progress.best_loss) == (5, 0.7, 0.6)
    assert progress.best["weight"].item() == 5, "a copy, not a view of the live weights"


def test_non_finite_weights_are_seen():
    network = nn.BatchNorm1d(2)
    assert has_finite_weights(network)
    with torch.no_grad():
        network.running_var[0] = torch.inf
    assert not has_finite_weights(network)
