"""Models that train in seconds, for the tests of deploy."""

from pathlib import Path

from medprior.cohort import Cohort
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.training import finetune_model

TINY = {
    "epochs": 2, "batch": 12, "size": 64, "source_size": 80, "device": "cpu", "channels": 8,
    "network": {"width": 24, "depth": 2, "heads": 3, "patch": 8, "registers": 1, "image_size": 64},
}  # fmt: skip


def train(cohort: Path, out: Path, task: str, **changes) -> Path:
    """A model folder trained for two epochs on the cohort, with changed settings where given."""
    settings = FinetuneSettings.load(None, [], **(TINY | changes))
    return finetune_model(Cohort.open(cohort), out, task, settings=settings)
