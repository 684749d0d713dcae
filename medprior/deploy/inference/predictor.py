"""From one radiograph to one reading; the command line, the registry and Python all come here."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from medprior.deploy.inference.out_of_distribution import (
    find_implausible_masks,
    refuse_unfamiliar,
    select_familiarity,
)
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.deploy.registry import package
from medprior.dicom import Radiograph, read_image
from medprior.dicom.bounded_reader import BoundedReader
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.errors import InputMissing, MedpriorError
from medprior.finetune.familiarity import FamiliarityScore
from medprior.finetune.model import ForwardPass, Model, Prediction, load_finetuned_model
from medprior.finetune.single_pass import run_single_pass
from medprior.metrics.cardiothoracic_ratio import CardiothoracicRatio, measure_cardiothoracic_ratio

FRONTAL_VIEWS = {"PA", "AP", "UNKNOWN"}
ADULT_AGE_YEARS = 18


class Predictor:
    """A classification model, a segmentation model, or both, that read radiographs.

    Attributes:
        models: task -> model.
        digest: hex sha256 that names the models; every answer carries it.
        forward: runs the networks.
    """

    def __init__(self, models: dict[str, Model], digest: str, forward: ForwardPass = run_single_pass) -> None:
        self.models, self.digest, self.forward = models, digest, forward

    @classmethod
    def load(cls, folder: Path, segmenter: Path | None = None) -> Predictor:
        """Load model folders after checking their weights' digest and that they are finite.

        Raises:
            MedpriorError: a folder that is no whole model, or two models of one task.
        """
        folders = {"model": folder} | ({"segmenter": segmenter} if segmenter else {})
        models: dict[str, Model] = {}
        for path in folders.values():
            model = load_checked_model(path)
            if model.task in models:
                raise MedpriorError(
                    f"two models of task {model.task}",
                    where="--segmenter",
                    expected="one for classification and one for segmentation",
                )
            models[model.task] = model
        return cls(models, package.compute_models_digest(folders))

    def predict(self, source: Path | str | bytes | BinaryIO) -> RadiographPrediction:
        """Read one DICOM, PNG or JPEG file, given as a path, its bytes or an open file.

        Raises:
            Rejected: the file is no usable radiograph; `code` says why.
        """
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        return self.read(read_image(file))

    def predict_pixels(self, pixels: NDArray[np.float32]) -> RadiographPrediction:
        """Read a picture that is decoded already.

        Args:
            pixels: float32 [rows, columns] in [0, 1], square pixels, air dark, bone bright.
        """
        return self.read(Radiograph(pixels=pixels, valid=np.ones(pixels.shape, dtype=bool)))

    def read(self, radiograph: Radiograph) -> RadiographPrediction:
        """Read a decoded radiograph."""
        answers = {task: m.predict_pixels(radiograph.pixels, self.forward) for task, m in self.models.items()}
        masks = answers["segmentation"].masks if "segmentation" in answers else {}
        ratio = measure_cardiothoracic_ratio(masks) if radiograph.view in FRONTAL_VIEWS else None
        classifier = self.models.get("classification")
        familiar = select_familiarity(answers)
        return RadiographPrediction(
            pixels=radiograph.pixels,
            pixel_sha256=radiograph.pixel_sha256,
            model_digest=self.digest,
            findings=answers["classification"].probabilities if classifier else {},
            thresholds=label_thresholds(classifier) if classifier else {},
            masks=masks,
            attention=select_attention_maps(self.models, answers),
            cardiothoracic=ratio,
            facts={
                "view": radiograph.view,
                "spacing_mm": radiograph.spacing_mm,
                "spacing_kind": radiograph.spacing_kind,
            },
            flags=(*radiograph.flags, *list_doubt_flags(radiograph, ratio, masks, familiar)),
            familiar=familiar,
            native=NativeGrid.of(radiograph) if radiograph.stored_rows else None,
        )

    @property
    def knows_familiarity(self) -> bool:
        """Whether a model here can tell pictures far from its training images."""
        return any(model.familiarity is not None for model in self.models.values())


def build_file_predictor(
    predictor: Predictor, reader: BoundedReader, refusing: bool
) -> Callable[[Path], RadiographPrediction]:
    """Reads files that are decoded in processes of their own; answers one file at a time.

    Args:
        predictor: the models.
        reader: decodes under limits.
        refusing: refuse pictures that are far from the training images.

    Raises:
        MedpriorError: `refusing`, and no model here can tell.
    """
    if refusing and not predictor.knows_familiarity:
        raise MedpriorError(
            "the model does not know what its training images look like",
            where="--refuse-unfamiliar",
            fix="run `medprior finetune` again, with at least 5 images in train and val",
        )

    def predict(path: Path) -> RadiographPrediction:
        """Read one file."""
        reading = predictor.read(reader.read(path))
        return refuse_unfamiliar(reading) if refusing else reading

    return predict


def load_checked_model(folder: Path) -> Model:
    """A model folder, checked; a `config.json` that lacks something is refused in one line."""
    package.read_checked_config(folder)
    try:
        return load_finetuned_model(folder)
    except (KeyError, TypeError, ValueError) as error:
        raise InputMissing(
            f"config.json is not a model's ({type(error).__name__})",
            where=str(folder),
            fix="run `medprior finetune` again",
        ) from None


def label_thresholds(model: Model) -> dict[str, float]:
    """Label -> probability from which on it counts as present."""
    return dict(zip(model.labels, model.threshold.tolist(), strict=True))


def select_attention_maps(models: dict[str, Model], answers: dict[str, Prediction]) -> dict[str, NDArray[np.float32]]:
    """Attention maps of the classifier, or else the segmenter, by the structure of their head.

    Without heads that were trained on structures it is the mean over all heads, `all_heads`; a CNN
    has none.
    """
    task = "classification" if "classification" in models else "segmentation"
    maps, heads = answers[task].attention, models[task].heads
    if not len(maps):
        return {}
    if not heads:
        return {"all_heads": maps.mean(axis=0)}
    return {name: maps[head] for name, head in heads.items()}


def list_doubt_flags(
    radiograph: Radiograph,
    ratio: CardiothoracicRatio | None,
    masks: dict[str, NDArray[np.bool_]],
    familiar: FamiliarityScore | None,
) -> list[str]:
    """What makes an answer doubtful, beyond what the file itself was flagged for."""
    frontal = radiograph.view in FRONTAL_VIEWS
    found = {
        "not_frontal": not frontal,
        "child": radiograph.age is not None and radiograph.age < ADULT_AGE_YEARS,
        "ap_magnifies_heart": radiograph.view == "AP" and ratio is not None,
        "implausible_cardiothoracic_ratio": ratio is not None and not ratio.plausible,
        "implausible_masks": frontal and bool(find_implausible_masks(masks)),
        "far_from_training": familiar is not None and familiar.is_far,
        "familiarity_unknown": familiar is None,
    }
    return [name for name, true in found.items() if true]
