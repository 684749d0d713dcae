"""Settings of comparisons small enough for a test."""

from medprior.evaluate.compare.settings import CompareSettings
from tests.evaluate.conftest import SMALL

NETWORK = SMALL.model_dump(include={"width", "depth", "heads", "patch"})
PRETRAIN = {
    "steps": 4,
    "batch": 8,
    "window": 100,
    "network": NETWORK,
    "crops": {"global_size": 32, "local_size": 16, "locals": 1},
    "dino": {"prototypes": 16, "hidden": 16, "bottleneck": 8},
}
TUNING = {"epochs": 1, "batch": 8, "size": 32, "network": NETWORK | {"image_size": 32}}
# So hot a teacher says the same of every view: collapsed by definition, at the first look.
COLLAPSING = {"recipe": "dino", "pretrain": {"window": 1, "dino": {"teacher_temperature": 50.0}}}


def small(**more):
    """A comparison of two seeds with few steps."""
    values = {
        "seeds": 2,
        "evaluate": {"resamples": 40, "map_size": 32, "neighbours": 5},
        "pretrain": PRETRAIN,
    }
    return CompareSettings.from_values(values | more)
