"""The output that MONAI's tracking reads."""

import torch
from ignite.engine import Engine
from monai.handlers import from_engine

from medprior.bundle.stage_trainer import TrackingOutputHandler


def test_output_becomes_what_tracking_reads():
    engine = Engine(lambda *_: {"loss": 2.5, "image": torch.zeros(1)})
    TrackingOutputHandler().attach(engine)
    engine.run([0, 1], max_epochs=1)
    assert from_engine(["loss"], first=True)(engine.state.output) == 2.5
    assert engine.state.metrics == {"loss": 2.5}
