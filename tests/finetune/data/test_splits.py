import numpy as np
import pytest
from torch.utils.data import default_collate

from medprior.errors import InputMissing
from medprior.finetune.data.splits import build_train_val_datasets
from medprior.finetune.data.targets import select_patient_share
from medprior.finetune.data.views import PrepareWholeViews
from tests.finetune.conftest import tiny, write_cohort


def resolved(**changes):
    return tiny(**changes).resolved(False, 32)


def known_ids(cohort, split, column):
    part = cohort.split(split)
    return tuple(part.manifest.image_id[part.manifest[column].notna()])


@pytest.mark.parametrize(("task", "changes", "column"), [
    ("classification", {"labels": ("right",)}, "right"), ("segmentation", {}, "mask_heart"),
])  # fmt: skip
def test_training_and_validation_images_are_those_of_their_splits(cohort, task, changes, column):
    train, val = build_train_val_datasets(cohort, resolved(task=task, **changes))
    assert train.cohort.image_ids == known_ids(cohort, "train", column)
    assert val.cohort.image_ids == known_ids(cohort, "val", column)
    assert train.names == val.names == (column.removeprefix("mask_"),)


def test_a_share_of_the_patients_is_of_the_training_images_alone(cohort):
    train, val = build_train_val_datasets(cohort, resolved(fraction=0.3, seed=5, labels=("large",)))
    assert train.cohort.image_ids == select_patient_share(cohort.split("train"), 0.3, 5).image_ids
    assert len(train) < len(cohort.split("train"))
    assert val.cohort.image_ids == cohort.split("val").image_ids


def test_with_few_masks_validation_is_the_training_dataset(cohort):
    train, val = build_train_val_datasets(cohort, resolved(task="segmentation", masks=2))
    assert train is val
    assert len(np.unique(train.cohort.patient_ids)) == 2
    assert set(train.cohort.image_ids) < set(cohort.split("train").image_ids)


@pytest.mark.parametrize(("task", "kind"), [("classification", "label"), ("segmentation", "mask")])
def test_a_split_without_any_target_is_named(tmp_path, task, kind):
    whole = np.ones((16, 16), bool)
    cohort = write_cohort(
        tmp_path / "c", {"x": "train", "y": "val"}, labels={"x": {"a": 1.0}}, masks={"x": {"heart": whole}}
    )
    with pytest.raises(InputMissing, match=f"no image of split 'val' has a known {kind}"):
        build_train_val_datasets(cohort, resolved(task=task, source_size=16))


def test_samples_of_a_cohort_give_views_with_labels_or_masks(cohort):
    train, val = build_train_val_datasets(cohort, tiny(task="segmentation"))
    assert all(train.known.any(axis=1))
    images, targets = PrepareWholeViews(32)(default_collate([train[0], train[1]]))
    assert images.shape == targets.shape == (2, 1, 32, 32)
    assert 0.02 < targets.mean() < 0.5
    train, val = build_train_val_datasets(cohort, tiny())
    assert not set(train.cohort.patient_ids) & set(val.cohort.patient_ids)
    images, targets = PrepareWholeViews(32)(default_collate([train[0], train[1]]))
    assert targets.shape == (2, 2)
