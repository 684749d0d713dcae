"""An evaluation ends with a report whatever is known of the labels: nothing, one class, one patient, one image."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from medprior.cli import main
from medprior.cohort import CohortWriter
from medprior.provenance import read_config
from tests.evaluate.conftest import thorax, trained

LABELS = ("cardiomegaly", "effusion", "never")
NAN = float("nan")
VALUES = st.sampled_from([0.0, 1.0, NAN])
# Of each image: split, patient and three labels; patients of different splits have different names.
ROWS = st.lists(st.tuples(st.sampled_from(["train", "val", "test"]), st.integers(0, 3), VALUES, VALUES, VALUES),
                min_size=0, max_size=8)  # fmt: skip
LAST = st.lists(st.tuples(st.just("test"), st.integers(0, 3), VALUES, VALUES, VALUES), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory, cohort_path):
    return trained(cohort_path, tmp_path_factory.mktemp("model") / "m", "classification", 0)


def write_rows(path, rows):
    """A cohort of drawn thoraces with these splits, patients and labels."""
    rng = np.random.default_rng(0)
    with CohortWriter(path, store_size=64) as writer:
        for number, (split, patient, *values) in enumerate(rows):
            pixels, masks, _ = thorax(rng)
            labels = dict(zip(LABELS, values, strict=True))
            writer.add(image_id=f"i{number}", pixels=pixels, patient_id=f"{split}{patient}", labels=labels, masks=masks)
        writer.finish({f"i{number}": row[0] for number, row in enumerate(rows)})


def check_evaluation(rows, model, backbone):
    """Evaluate from the command line; every label has a figure or says why it has none, and the report is there."""
    with tempfile.TemporaryDirectory() as folder:
        cohort, out = Path(folder) / "cohort", Path(folder) / "out"
        write_rows(cohort, rows)
        arguments = ["evaluate", str(cohort), str(out), "--model", f"m={model}", "--backbone", f"b={backbone}"]
        for setting in ("resamples=4", "map_size=32", "neighbours=3"):
            arguments += ["--set", setting]
        assert main([*arguments, "--no-tracking"]) == 0
        metrics = json.loads((out / "metrics.json").read_text())
        assert read_config(out, "evaluate")
        page = (out / "report.html").read_text()
        assert all(f'data-key="classification.auc.{label}"' in page for label in LABELS)
    truth = np.array([row[2:] for row in rows if row[0] == "test"])
    for column, label in zip(truth.T, LABELS, strict=True):
        has_both = {0.0, 1.0} <= set(column.tolist())
        assert (metrics[f"classification.auc.{label}"]["value"] is not None) == has_both
        assert metrics[f"classification.ece.{label}"]["n"] == int((~np.isnan(column)).sum())


UNKNOWN = (NAN, NAN, NAN)
PATTERNS = {
    "nothing_known": [("train", 0, *UNKNOWN), ("val", 0, *UNKNOWN), ("test", 0, *UNKNOWN), ("test", 1, *UNKNOWN)],
    "one_label_unknown": [*[(split, n, n % 2, NAN, 0.0) for split in ("train", "val", "test") for n in range(4)]],
    "unknown_in_test_alone": [
        *[(split, n, n % 2, n % 2, 1 - n % 2) for split in ("train", "val") for n in range(4)],
        *[("test", n, n % 2, NAN, NAN) for n in range(4)],
    ],
    "one_class": [(split, n, 1.0, 0.0, 1.0) for split in ("train", "val", "test") for n in range(3)],
    "one_patient": [("test", 0, n % 2, NAN, 1.0) for n in range(4)],
    "one_image": [("test", 0, 1.0, NAN, 0.0)],
}


@pytest.mark.parametrize("rows", PATTERNS.values(), ids=PATTERNS)
def test_a_report_for_every_pattern(model_path, span_path, rows):
    check_evaluation(rows, model_path, span_path)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(ROWS, LAST)
@example([], [("test", 0, *UNKNOWN)])
def test_a_report_for_random_patterns(model_path, span_path, rows, last):
    check_evaluation([*rows, *last], model_path, span_path)
