"""One way in for every model: a folder on disk, or a version in the registry."""

from __future__ import annotations

from pathlib import Path

from medprior.deploy.inference.predictor import Predictor
from medprior.errors import InputMissing


def load_model(source: Path | str, tracking_uri: str | None = None, segmenter: Path | str | None = None) -> Predictor:
    """Load what answers a radiograph.

    Args:
        source: a model folder that `medprior finetune` wrote (needs no MLflow), or
            `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/...`.
        tracking_uri: MLflow store; None for MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        segmenter: folder of a segmentation model to go with a classification model; a registered
            model may bring its own.

    Raises:
        MedpriorError: no such model, store, version or alias; damaged or non-finite weights; a
            registered model that is none of ours.
    """
    own = Path(segmenter) if segmenter is not None else None
    text = str(source)
    if isinstance(source, str):
        from medprior.deploy.registry import download

        if download.is_registry_uri(text):
            with download.fetch_package(text, tracking_uri) as folder:
                return load_package(folder, own)
    if not Path(source).is_dir():
        raise InputMissing(
            "no such model",
            where=text,
            expected="a model folder or models:/NAME@ALIAS",
            fix="run `medprior finetune` or `medprior register` first",
        )
    return Predictor.load(Path(source), own)


def load_package(folder: Path, segmenter: Path | None = None) -> Predictor:
    """Load a fetched package: `model/`, and `segmenter/` where it has one and none is given."""
    packed = folder / "segmenter"
    return Predictor.load(folder / "model", segmenter or (packed if packed.is_dir() else None))
