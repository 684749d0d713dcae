"""A registry of good and bad versions, and where its aliases point."""

from medprior.deploy.promotion.settings import GateSettings
from medprior.deploy.registry.champion import load_aliases, make_champion
from medprior.tracking import mlflow_store

FAST_GATE = GateSettings(resamples=300)


def load_cxr_aliases(uri: str) -> dict[str, str]:
    """Alias -> version of the registered model `cxr`."""
    return load_aliases(mlflow_store.connect_to_store(uri), "cxr")


def make_alias_champion(uri: str, alias: str) -> None:
    """Make the version of an alias champion, as if it had been promoted before."""
    client = mlflow_store.connect_to_store(uri)
    make_champion(client, "cxr", load_cxr_aliases(uri)[alias], load_cxr_aliases(uri).get("champion"))
