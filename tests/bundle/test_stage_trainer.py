"""The output that MONAI's tracking reads."""

from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import from_engine

from medprior.bundle.stage_trainer import TrackingOutputHandler, get_stage_trainer
from medprior.errors import ConfigError
from medprior.pretrain.deferred_logs import DeferredLogs


def test_output_becomes_what_tracking_reads():
    engine = Engine(lambda *_: {"loss": 2.5, "image": torch.zeros(1)})
    TrackingOutputHandler().attach(engine)
    engine.run([0, 1], max_epochs=1)
    assert from_engine(["loss"], first=True)(engine.state.output) == 2.5
    assert engine.state.metrics == {"loss": 2.5}


@pytest.mark.parametrize(("wanted", "agrees"), [(None, True), (3, True), (2, False), (0, False)])
def test_the_trainer_has_the_epochs_of_the_config(wanted, agrees):
    trainer = Engine(lambda *_: None)
    trainer.state.max_epochs = 3
    stage = SimpleNamespace(trainer=trainer)
    if agrees:
        assert get_stage_trainer(stage, wanted) is trainer
        return
    with pytest.raises(ConfigError, match=f"expected {wanted} epochs, found 3"):
        get_stage_trainer(stage, wanted)


def test_only_floats_become_metrics_and_other_outputs_stay():
    outputs = iter([{"loss": 0.5, "step": 3, "flag": True}, [7], {"lr": 0.25}])
    engine = Engine(lambda *_: next(outputs))
    seen = []
    TrackingOutputHandler().attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(engine.state.output))
    engine.run([0, 1, 2], max_epochs=1)
    assert engine.state.metrics == {"loss": 0.5, "lr": 0.25}
    assert seen == [[{"loss": 0.5, "step": 3, "flag": True}], [7], [{"lr": 0.25}]]


def test_logs_that_are_still_on_their_way_become_metrics():
    engine = Engine(lambda *_: DeferredLogs(("loss",), torch.tensor([2.5]), dict))
    TrackingOutputHandler().attach(engine)
    engine.run([0], max_epochs=1)
    assert engine.state.output == [{"loss": 2.5}]
    assert engine.state.metrics == {"loss": 2.5}
