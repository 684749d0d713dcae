"""Predicts on one radiograph; used by the command line, the registry, the service and Python."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from medprior.deploy.inference.backbone_attention import compute_structure_attention
from medprior.deploy.inference.finding_evidence import (
    FindingEvidence,
    load_model_metrics,
    read_test_evidence,
    read_validation_evidence,
)
from medprior.deploy.inference.finding_locations import FindingLocation, FindingLocator
from medprior.deploy.inference.model_folder import compute_models_digest, load_checked_model
from medprior.deploy.inference.out_of_distribution import (
    find_implausible_masks,
    refuse_unfamiliar,
    select_familiarity,
)
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.dicom.bounded_reader import BoundedReader
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.policy import Policy
from medprior.dicom.radiograph import FRONTAL_VIEWS, Radiograph
from medprior.errors import InputMissing, MedpriorError
from medprior.finetune.familiarity import OutOfDistributionScore
from medprior.finetune.model import ForwardPass, Model, Prediction
from medprior.finetune.single_pass import run_single_pass
from medprior.metrics.cardiothoracic_ratio import CardiothoracicRatio, measure_cardiothoracic_ratio
from medprior.networks.backbone import Backbone, load_backbone

ADULT_AGE_YEARS = 18
MAX_LOCATED_FINDINGS = 5  # each needs a backward pass
PredictionCheck = Callable[["Predictor", RadiographPrediction], RadiographPrediction]


class Predictor:
    """A classification model, a segmentation model, or both, applied to radiographs.

    Attributes:
        models: task -> model.
        digest: hex sha256 that identifies the models; every prediction carries it.
        evidence: label -> how well the classifier tells it; by default from its validation.
        forward: runs the networks.
        backbone: its attention is given instead of the models'; None for theirs.
    """

    def __init__(
        self,
        models: dict[str, Model],
        digest: str,
        forward: ForwardPass = run_single_pass,
        evidence: dict[str, FindingEvidence] | None = None,
        backbone: Backbone | None = None,
    ) -> None:
        self.models, self.digest, self.forward, self.backbone = models, digest, forward, backbone
        if evidence is None:
            evidence = read_validation_evidence(models["classification"].config) if "classification" in models else {}
        self.evidence = evidence
        self._reader = BoundedReader()
        classifier = models.get("classification")
        self._locator = FindingLocator(classifier) if classifier is not None and classifier.has_attention else None

    @classmethod
    def load(
        cls,
        folder: Path,
        segmenter: Path | None = None,
        device: str = "cpu",
        evidence: Path | None = None,
        backbone: Path | None = None,
    ) -> Predictor:
        """Load model folders onto `device`, `cpu` or `cuda:N`; their weights must match their digest and be finite.

        Args:
            folder: of the model.
            segmenter: folder of a segmentation model beside a classification model.
            device: where the networks run.
            evidence: folder of `medprior evaluate` whose findings stand beside the predicted ones.
            backbone: folder of the backbone whose attention is given.

        Raises:
            MedpriorError: a folder is not a whole model, both models have the same task, or the
                evidence is of another model.
        """
        folders = {"model": folder} | ({"segmenter": segmenter} if segmenter else {})
        models: dict[str, Model] = {}
        for path in folders.values():
            model = load_checked_model(path, device)
            if model.task in models:
                raise MedpriorError(
                    f"two models of task {model.task}",
                    where="--segmenter",
                    expected="one for classification and one for segmentation",
                )
            models[model.task] = model
        findings = read_test_evidence(load_model_metrics(folders, evidence, with_locations=True)) if evidence else None
        loaded = load_backbone(backbone, device) if backbone else None
        digest = compute_models_digest(folders | ({"backbone": backbone} if backbone else {}))
        return cls(models, digest, evidence=findings, backbone=loaded)

    def predict(self, source: Path | str | bytes | BinaryIO) -> RadiographPrediction:
        """Predict on one DICOM, PNG, JPEG, TIFF or BMP file, given as a path, its bytes or an open file.

        The file is decoded in a confined process, which starts with the first file and serves one thread at a time.

        Raises:
            Rejected: the file is not a usable radiograph; `code` says why.
        """
        if not isinstance(source, (str, Path, bytes)):
            with open_regular_file(source, Policy()) as (stream, _):
                source = stream.read()
        return self.predict_radiograph(self._reader.read(source))

    def predict_pixels(self, pixels: NDArray[np.float32]) -> RadiographPrediction:
        """Predict on pixels that are already decoded.

        Args:
            pixels: float32 [rows, columns] in [0, 1], square pixels, air dark, bone bright.
        """
        return self.predict_radiograph(Radiograph(pixels=pixels, valid=np.ones(pixels.shape, dtype=bool)))

    def predict_radiograph(self, radiograph: Radiograph) -> RadiographPrediction:
        """Predict on a decoded radiograph."""
        with ThreadPoolExecutor(1) as thread:
            backbone_attention = self.backbone and thread.submit(
                compute_structure_attention, self.backbone, radiograph.pixels
            )
            outputs = {
                task: model.predict_pixels(radiograph.pixels, self.forward, with_attention=not backbone_attention)
                for task, model in self.models.items()
            }
        masks = outputs["segmentation"].masks if "segmentation" in outputs else {}
        is_frontal = radiograph.view in FRONTAL_VIEWS
        ratio = measure_cardiothoracic_ratio(masks, with_isolated_pixels=False) if is_frontal else None
        classifier = self.models.get("classification")
        familiar = select_familiarity(outputs)
        attention = backbone_attention.result() if backbone_attention else select_attention_maps(self.models, outputs)
        return RadiographPrediction(
            pixels=radiograph.pixels,
            pixel_sha256=radiograph.pixel_sha256,
            model_digest=self.digest,
            findings=outputs["classification"].probabilities if classifier else {},
            thresholds=label_thresholds(classifier) if classifier else {},
            evidence=self.evidence,
            masks=masks,
            attention=attention,
            cardiothoracic=ratio,
            facts={
                "view": radiograph.view,
                "spacing_mm": radiograph.spacing_mm,
                "spacing_kind": radiograph.spacing_kind,
            },
            flags=(*radiograph.flags, *list_doubt_flags(radiograph, ratio, masks, familiar)),
            familiar=familiar,
            native=NativeGrid.from_radiograph(radiograph) if radiograph.stored_rows else None,
        )

    def locate_findings(self, prediction: RadiographPrediction) -> dict[str, FindingLocation]:
        """Where the classifier looks for the findings that it calls present, the most certain ones.

        This is weak localisation: the model was told no places. Nothing is located on radiographs unlike the training
        images, nor by a CNN.
        """
        if self._locator is None or "far_from_training" in prediction.flags:
            return {}
        labels = [name for name in prediction.present_labels() if prediction.call_finding(name) == "present"]
        return self._locator.locate(prediction.pixels, labels[:MAX_LOCATED_FINDINGS], self.evidence)

    def add_finding_boxes(self, prediction: RadiographPrediction) -> RadiographPrediction:
        """A prediction with the boxes of `locate_findings`, where the hit rate of any was measured."""
        if not any(item.location for item in self.evidence.values()):
            return prediction
        located = self.locate_findings(prediction)
        return replace(prediction, boxes={label: place.boxes for label, place in located.items() if place.boxes})

    def require_familiarity_score(self) -> None:
        """Check that a model can measure how far an image is from its training images.

        Raises:
            InputMissing: no model can.
        """
        if all(model.familiarity is None for model in self.models.values()):
            raise InputMissing(
                "no model has a familiarity score, which this option needs",
                where="--refuse-unfamiliar",
                fix="run `medprior finetune` again, with at least 5 images in train and val",
            )


def build_file_predictor(
    predictor: Predictor, reader: BoundedReader, refusing: bool, check: PredictionCheck | None = None
) -> Callable[[Path], RadiographPrediction]:
    """Build a function that decodes one file in a separate process, predicts on it and locates its findings.

    Args:
        predictor: the models.
        reader: decodes under limits.
        refusing: refuse images that are far from the training images.
        check: adds flags to a prediction.

    Raises:
        InputMissing: `refusing`, and no model can measure familiarity.
    """
    if refusing:
        predictor.require_familiarity_score()

    def predict(path: Path) -> RadiographPrediction:
        """Predict on one file."""
        prediction = predictor.predict_radiograph(reader.read(path))
        prediction = check(predictor, prediction) if check else prediction
        return predictor.add_finding_boxes(refuse_unfamiliar(prediction) if refusing else prediction)

    return predict


def label_thresholds(model: Model) -> dict[str, float]:
    """Label -> probability from which on it counts as present."""
    return dict(zip(model.labels, model.threshold.tolist(), strict=True))


def select_attention_maps(models: dict[str, Model], outputs: dict[str, Prediction]) -> dict[str, NDArray[np.float32]]:
    """Attention maps of the classifier, else of the segmenter, by the structure of their head.

    A model without heads trained on structures gives the mean over all heads, `all_heads`; a CNN
    gives no map.
    """
    task = "classification" if "classification" in models else "segmentation"
    maps, heads = outputs[task].attention, models[task].heads
    if not len(maps):
        return {}
    if not heads:
        return {"all_heads": maps.mean(axis=0)}
    return {name: maps[head] for name, head in heads.items()}


def list_doubt_flags(
    radiograph: Radiograph,
    ratio: CardiothoracicRatio | None,
    masks: dict[str, NDArray[np.bool_]],
    familiar: OutOfDistributionScore | None,
) -> list[str]:
    """Flags of the prediction, in addition to those of the file."""
    frontal = radiograph.view in FRONTAL_VIEWS
    conditions = {
        "not_frontal": not frontal,
        "child": radiograph.age is not None and radiograph.age < ADULT_AGE_YEARS,
        "ap_magnifies_heart": radiograph.view == "AP" and ratio is not None,
        "implausible_cardiothoracic_ratio": ratio is not None and not ratio.plausible,
        "implausible_masks": frontal and bool(find_implausible_masks(masks)),
        "far_from_training": familiar is not None and familiar.is_out_of_distribution,
        "familiarity_unknown": familiar is None,
    }
    return [flag for flag, holds in conditions.items() if holds]
