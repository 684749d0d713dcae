"""Loads a model from a folder on disk or from the registry."""

from __future__ import annotations

from pathlib import Path

from medprior.deploy.inference.model_folder import compute_models_digest, find_model_folders
from medprior.deploy.inference.predictor import Predictor
from medprior.deploy.registry.signature import load_verification_key, verify_models
from medprior.errors import InputMissing, MedpriorError
from medprior.networks.backbone import BACKBONE_FILE, load_backbone
from medprior.networks.device import select_device
from medprior.provenance import read_config, result_digest
from medprior.resources import find_anatomy_model


def load_model(
    source: Path | str | None = None,
    tracking_uri: str | None = None,
    segmenter: Path | str | None = None,
    device: str = "cpu",
    evidence: Path | str | None = None,
    verify_key: Path | str | None = None,
) -> Predictor:
    """Load a model folder or a registered model as a predictor.

    Args:
        source: a model folder that `medprior finetune` wrote (needs no MLflow); a backbone folder of
            `medprior pretrain`, whose predictions are attention without findings and masks; or
            `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/...`. None for the anatomy model
            that comes with medprior (lungs and heart), or the folder that `MEDPRIOR_MODEL` names.
        tracking_uri: MLflow store; None for MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        segmenter: folder of a segmentation model beside a classification model; a registered model
            may contain its own.
        device: `cpu`, `cuda:N`, or `auto` for CUDA where there is one.
        evidence: folder that `medprior evaluate` wrote for the model; how well it tells each finding
            there stands beside the finding. Else that of its validation does.
        verify_key: public key (Ed25519, PEM); models that its owner did not sign are refused.

    Raises:
        MedpriorError: the model, store, version or alias does not exist; the weights are damaged or
            not finite; the registered model is not a medprior package; the models are not signed.
    """
    key = load_verification_key(Path(verify_key)) if verify_key is not None else None
    segmenter_folder = Path(segmenter) if segmenter is not None else None
    place = str(select_device(device))
    evidence_folder = Path(evidence) if evidence is not None else None
    if source is None:
        if segmenter is not None:
            what = "a segmenter stands beside a classification model"
            raise InputMissing(what, where="--segmenter", fix="name that model with --model")
        if key is not None:
            verify_models({"anatomy model": find_anatomy_model()}, key)
        return load_anatomy_model(place, evidence_folder)
    text = str(source)
    if isinstance(source, str) and not Path(source).is_dir():
        from medprior.deploy.registry import download

        if download.is_registry_uri(text):
            with download.fetch_package(text, tracking_uri) as folder:
                if key is not None:
                    verify_models(find_model_folders(folder) | name_segmenter(segmenter_folder), key)
                return load_package(folder, segmenter_folder, place, evidence_folder)
    if not Path(source).is_dir():
        raise InputMissing(
            "no such model",
            where=text,
            expected="a model folder or models:/NAME@ALIAS",
            fix="run `medprior finetune` or `medprior register` first",
        )
    if key is not None:
        verify_models({"model": Path(source)} | name_segmenter(segmenter_folder), key)
    if (Path(source) / BACKBONE_FILE).is_file():
        return load_backbone_predictor(Path(source), segmenter_folder, place)
    return Predictor.load(Path(source), segmenter_folder, place, evidence_folder)


def name_segmenter(folder: Path | None) -> dict[str, Path]:
    """A segmenter that is named beside a model, by its name in a package; it takes the place of the package's own."""
    return {"segmenter": folder} if folder is not None else {}


def load_backbone_predictor(folder: Path, segmenter: Path | None, device: str) -> Predictor:
    """Load a backbone for its attention, without findings and masks; a segmenter beside it is refused."""
    if segmenter is not None:
        raise InputMissing(
            "a backbone takes no segmenter: its predictions are attention alone", where="--segmenter",
            expected="a classification model beside it", found=f"the backbone {folder.name}",
            fix="load the segmentation model as a model of its own",
        )  # fmt: skip
    backbone = load_backbone(folder, device)
    return Predictor({}, compute_models_digest({"backbone": folder}), backbone=backbone)


def load_anatomy_model(device: str = "cpu", evidence: Path | None = None) -> Predictor:
    """Load the model of `find_anatomy_model` onto `device`; the error of a damaged one says how to get a whole one."""
    folder = find_anatomy_model()
    try:
        return Predictor.load(folder, device=device, evidence=evidence, backbone=find_source_backbone(folder))
    except MedpriorError as error:
        raise InputMissing(
            f"the anatomy model cannot be used: {error.what}",
            where=error.where,
            expected=error.expected,
            found=error.found,
            fix="reinstall medprior, or name another model with --model",
        ) from None


def find_source_backbone(model: Path) -> Path | None:
    """The folder `backbone` beside a model, if it is the one that the model was fine-tuned from."""
    folder = model.parent / "backbone"
    recorded = read_config(model, "finetune").get("inputs", {}).get("backbone")
    if recorded is None or not (folder / "config.json").is_file() or result_digest(folder) != recorded:
        return None
    return folder


def load_package(
    folder: Path, segmenter: Path | None = None, device: str = "cpu", evidence: Path | None = None
) -> Predictor:
    """Load a fetched package: `model/`, and its `segmenter/` unless `segmenter` is given."""
    packaged = folder / "segmenter"
    own = packaged if packaged.is_dir() else None
    return Predictor.load(folder / "model", segmenter or own, device, evidence)
