"""Loads a model from a folder on disk or from the registry."""

from __future__ import annotations

from pathlib import Path

from medprior.deploy.inference.predictor import Predictor
from medprior.errors import InputMissing


def load_model(source: Path | str, tracking_uri: str | None = None, segmenter: Path | str | None = None) -> Predictor:
    """Load a model folder or a registered model as a predictor.

    Args:
        source: a model folder that `medprior finetune` wrote (needs no MLflow), or
            `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/...`.
        tracking_uri: MLflow store; None for MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        segmenter: folder of a segmentation model beside a classification model; a registered model
            may contain its own.

    Raises:
        MedpriorError: the model, store, version or alias does not exist; the weights are damaged or
            not finite; the registered model is not a medprior package.
    """
    segmenter_folder = Path(segmenter) if segmenter is not None else None
    text = str(source)
    if isinstance(source, str):
        from medprior.deploy.registry import download

        if download.is_registry_uri(text):
            with download.fetch_package(text, tracking_uri) as folder:
                return load_package(folder, segmenter_folder)
    if not Path(source).is_dir():
        raise InputMissing(
            "no such model",
            where=text,
            expected="a model folder or models:/NAME@ALIAS",
            fix="run `medprior finetune` or `medprior register` first",
        )
    return Predictor.load(Path(source), segmenter_folder)


def load_package(folder: Path, segmenter: Path | None = None) -> Predictor:
    """Load a fetched package: `model/`, and its `segmenter/` unless `segmenter` is given."""
    packaged = folder / "segmenter"
    return Predictor.load(folder / "model", segmenter or (packaged if packaged.is_dir() else None))
