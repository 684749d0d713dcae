"""The pyfunc model that MLflow serves: DICOM bytes in, one row of JSON values per radiograph out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import DataType
from mlflow.types.schema import Array, Map

from medprior.deploy.inference.overlays import encode_png_base64, render_attention_map, render_mask
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.deploy.inference.predictor import Predictor
from medprior.errors import Rejected

OUTPUT_SCHEMA: dict[str, Any] = {
    "status": DataType.string,
    "code": DataType.string,
    "message": DataType.string,
    "findings": Map(DataType.double),
    "thresholds": Map(DataType.double),
    "present": Array(DataType.string),
    "cardiothoracic_ratio": DataType.double,
    "heart_line": Array(Array(DataType.double)),
    "thorax_line": Array(Array(DataType.double)),
    "masks": Map(DataType.string),
    "attention": Map(DataType.string),
    "flags": Array(DataType.string),
    "view": DataType.string,
    "spacing_kind": DataType.string,
    "pixel_sha256": DataType.string,
    "model_digest": DataType.string,
}


class RadiographModel(PythonModel):
    """`Predictor` as an MLflow pyfunc model; a rejected radiograph gives a row with its code."""

    predictor: Predictor

    def load_context(self, context: PythonModelContext) -> None:
        """Load the packaged models; refuses damaged weights."""
        artifacts = context.artifacts
        segmenter = artifacts.get("segmenter")
        self.predictor = Predictor.load(Path(artifacts["model"]), Path(segmenter) if segmenter else None)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Predict on a table with the column `dicom` (bytes); returns the columns of `OUTPUT_SCHEMA`.

        A value that a row lacks is None, not NaN, which MLflow's server would write into its JSON.
        """
        rows = [dict.fromkeys(OUTPUT_SCHEMA) | self.predict_row(data) for data in model_input["dicom"]]
        return pd.DataFrame(rows, columns=list(OUTPUT_SCHEMA), index=model_input.index, dtype=object)

    def predict_row(self, data: bytes) -> dict[str, Any]:
        """One radiograph's row; `status` is `ok`, or `rejected` with `code` and `message`."""
        try:
            return build_output_row(self.predictor.predict(bytes(data)))
        except Rejected as error:
            rejection = {"status": "rejected", "code": error.code, "message": error.what}
            return rejection | {"model_digest": self.predictor.digest}


def build_output_row(prediction: RadiographPrediction) -> dict[str, Any]:
    """Build one row from a prediction; masks and attention are base64 PNG in the radiograph's frame."""
    record = prediction.record()
    ratio = record["cardiothoracic_ratio"] or {}
    return {
        "status": "ok",
        "findings": {name: entry["probability"] for name, entry in record["findings"].items()},
        "thresholds": {name: entry["threshold"] for name, entry in record["findings"].items()},
        "present": prediction.present_labels(),
        "cardiothoracic_ratio": ratio.get("value"),
        "heart_line": ratio.get("heart_line"),
        "thorax_line": ratio.get("thorax_line"),
        "masks": {name: encode_png_base64(render_mask(mask)) for name, mask in prediction.masks.items()},
        "attention": {
            name: encode_png_base64(render_attention_map(item)) for name, item in prediction.attention.items()
        },
        "flags": record["flags"],
        "view": record.get("view"),
        "spacing_kind": record.get("spacing_kind"),
        "pixel_sha256": prediction.pixel_sha256,
        "model_digest": prediction.model_digest,
    }
