"""Maps on request against those of a whole prior."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from medprior.annotate.sources import create_cohort_annotation
from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.priors import build_prior
from medprior.priors.transfer_worker import TransferWorker


def request(folders, *image_ids):
    return {"annotations": [str(folder) for folder in folders], "image_ids": list(image_ids)}


def test_maps_are_those_of_a_registered_prior(tmp_path, phantom_cohort):
    cohort = Cohort.open(phantom_cohort)
    folders = []
    for number, image_id in enumerate(("p0001", "p0005")):
        masks = {name: cohort.mask(image_id, name) for name in ("heart", "left_lung")}
        create_cohort_annotation(cohort, image_id, masks, "", "").save(tmp_path / f"a{number}")
        folders.append(tmp_path / f"a{number}")
    image_ids = ("p0007", "p0005", "p0003")
    with ThreadPoolExecutor(2) as pool:
        worker = TransferWorker(phantom_cohort, pool)
        *answers, (last, _) = worker.answer(request(folders, *image_ids), [])
        with pytest.raises(InputMissing, match="p9999"):
            list(worker.answer(request(folders, "p9999"), []))
    prior = build_prior(cohort, tmp_path / "prior", folders, "registered", workers=1, only=image_ids)
    table = prior.table.set_index("image_id")
    assert [facts["image_id"] for facts, _ in answers] == list(image_ids)
    assert [facts["is_annotated"] for facts, _ in answers] == [False, True, False]
    for row, (facts, (maps,)) in enumerate(answers):
        assert facts["names"] == prior.names
        np.testing.assert_array_equal(maps, prior.per_image[row])
        for column in ("trust", "doubt", "local"):
            assert facts[column] == table.loc[facts["image_id"], column]
    assert last == {"next": next((offer["image_id"] for offer in prior.facts["next"]), None)}
