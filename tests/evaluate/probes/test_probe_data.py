"""Which labels frozen features are asked for."""

from dataclasses import replace

import numpy as np
import pytest

from medprior.evaluate.probes.probe_data import select_probe_data, select_probe_images, select_probe_labels
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy


@pytest.mark.parametrize("least", [1, 4, 9, 1000])
def test_labels_with_fewer_images_of_either_class_are_not_probed(cohort, least):
    settings = EvaluateSettings.from_values({"resamples": 10, "probe_least": least})
    parts, truth, why = select_probe_data(EvaluationStudy.of(cohort, "test", frozenset(), settings))
    every = [cohort.split(name).labels() for name in ("train", "val", "test")]
    rarest = np.min([[(t == v).sum(axis=0) for v in (0, 1)] for t in every], axis=(0, 1))
    expected = [n for n, many in zip(cohort.label_names, rarest, strict=True) if many >= least]
    assert "never" not in expected
    if not expected:
        assert (parts, truth) == ({}, {})
        assert "no label has both classes" in why
        return
    np.testing.assert_array_equal(truth["test"], cohort.split("test").labels(expected))
    assert set(parts) == {"train", "val", "test"}


def test_probes_need_labels_three_splits_and_the_test_split(cohort):
    settings = EvaluateSettings.from_values({"resamples": 4})
    study = EvaluationStudy.of(cohort, "val", frozenset(), settings)
    assert select_probe_labels(study) == ([], "they need train, val and test, and evaluate test only")
    bare = replace(study, split="test", cohort=cohort.split("train"))
    assert "train, val and test" in select_probe_labels(bare)[1]


def test_only_training_images_are_limited(cohort):
    settings = EvaluateSettings.from_values({"resamples": 4, "probe_images": 3})
    study = EvaluationStudy.of(cohort, "test", frozenset(), settings)
    parts = select_probe_images(study)
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 3, "val": len(cohort.split("val")), "test": len(cohort.split("test")),
    }  # fmt: skip
    assert set(parts["train"].image_ids) <= set(cohort.split("train").image_ids)
    assert parts["test"] is study.part
