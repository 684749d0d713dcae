"""The canaries again, through annotation, prediction, service and comparison: files, MLflow, output, modes."""

from __future__ import annotations

import getpass
import json
import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprior.dicom.decoding.samples import serialise_dataset
from medprior.phantom import render_phantom
from medprior.resources import find_anatomy_model
from tests.annotate.drawings import disc
from tests.conftest import phantom_cohort_at
from tests.deploy.serving import TOKEN, run_service
from tests.evaluate.comparing import PRETRAIN
from tests.test_canary import Canaries, Place, leaks, person, written

SIDE = 128
EVALUATION = {"resamples": 20, "map_size": 32, "neighbours": 3}


def write_patient(canaries: Canaries, path: Path, seed: int) -> Path:
    """A phantom's DICOM file with canaries in every text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.rint(render_phantom(seed, size=SIDE).pixels * 4095).astype("<u2")
    elements = {"Rows": SIDE, "Columns": SIDE, "PixelData": stored.tobytes(), "PatientAge": "041Y"}
    path.write_bytes(serialise_dataset(person(canaries, seed, **elements)))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The folder after `annotate`, `predict` and `serve` of files full of canaries."""
    top = tmp_path_factory.mktemp("stages")
    canaries = Canaries([])
    source, root = top / canaries.one(), top / "work"
    (root / "home").mkdir(parents=True)
    files = [write_patient(canaries, source / canaries.one() / f"{canaries.one()}.dcm", seed) for seed in range(2)]
    (source / canaries.one()).write_bytes(b"no radiograph: " + canaries.one().encode())
    mask = source / f"{canaries.one()}.png"
    Image.fromarray(disc(0.7, shape=(SIDE, SIDE))).save(mask)
    result = Place(canaries, source, root, [], [])
    result.run("annotate", root / "annotation", "--image", files[0], "--mask", f"left_lung={mask}")
    result.run("annotate", root / "none", "--image", source / canaries.one(), "--mask", f"left_lung={mask}")
    result.run("predict", source, "-o", root / "predictions")
    token = top / "token"
    token.write_text(TOKEN)
    with run_service(find_anatomy_model(), None, root / "service.txt", "--token-file", str(token)) as (url, process):
        import httpx

        for path in [*files, *source.glob("CNRY*")]:
            if path.is_file():
                headers = {"Authorization": f"Bearer {TOKEN}"}
                form = {"file": (path.name, path.read_bytes(), "application/dicom")}
                for answer in (
                    httpx.post(f"{url}v1/predict", content=path.read_bytes(), headers=headers, timeout=120),
                    httpx.post(f"{url}v1/predict", files=form, headers=headers, timeout=120),
                ):
                    result.said += [answer.text, str(answer.headers)]
                    result.codes.append(answer.status_code)
        process.terminate()
        result.said.append(process.communicate(timeout=60)[0])
    return result


def test_the_stages_did_what_they_should(place: Place) -> None:
    assert place.codes[:3] == [0, 2, 0], place.said[:3]
    assert place.codes[3:7] == [200] * 4, place.said[3:]
    assert set(place.codes[7:]) == {400, 415}
    assert len(list((place.root / "predictions").glob("*.json"))) >= 2
    assert (place.root / "annotation" / "annotation.json").is_file()
    assert (place.root / "mlflow.db").is_file()


def test_nothing_in_what_the_stages_wrote_and_tracked(place: Place) -> None:
    assert not leaks(place.canaries, written(place))


def test_nothing_in_what_the_stages_and_the_service_said(place: Place) -> None:
    assert not leaks(place.canaries, "\n".join(place.said).encode())


def test_the_search_reads_private_folders_where_it_is_told_to(place: Place) -> None:
    assert leaks(place.canaries, (place.root / "predictions.private" / "sources.jsonl").read_bytes())


def check_modes(folder: Path) -> None:
    """Assert that a result is its owner's only."""
    paths = [folder, *folder.rglob("*")]
    assert len(paths) > 2
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}


@pytest.mark.parametrize("name", ["annotation", "predictions", "predictions.private"])
def test_results_of_the_stages_are_their_owners_only(place: Place, name: str) -> None:
    check_modes(place.root / name)


def check_store(root: Path) -> set[str]:
    """Assert that MLflow knows no user and no folder; names of its artifacts."""
    with sqlite3.connect(root / "mlflow.db") as store:
        names = [row[0] for row in store.execute("select name from runs")]
        tags = dict(store.execute("select key, value from tags"))
        users = {row[0] for row in store.execute("select user_id from runs")}
        parameters = "\n".join(str(row) for row in store.execute("select key, value from params"))
    assert names
    stages = "annotate|predict|compare|ingest"
    assert all(re.fullmatch(rf"({stages})-20\d{{6}}T\d{{6}}\.\d{{3}}Z|[\w.-]+-\d+", name) for name in names), names
    assert getpass.getuser() not in users
    assert "mlflow.user" not in tags
    assert str(root.parent) not in parameters + "\n".join(tags.values())
    return {path.name for path in (root / "mlruns").rglob("*") if path.is_file()}


def test_the_store_has_no_picture_user_or_folder_of_the_stages(place: Place) -> None:
    artifacts = check_store(place.root)
    assert not [name for name in artifacts if not name.endswith((".json", ".csv", ".md"))]


@pytest.mark.slow
def test_a_comparison_tells_nothing_of_where_its_cohort_lies(tmp_path: Path) -> None:
    canaries, root = Canaries([]), tmp_path / "work"
    (root / "home").mkdir(parents=True)
    cohort = phantom_cohort_at(tmp_path / canaries.one() / canaries.one(), 16, 64)
    settings = {"seeds": 1, "pretrain": PRETRAIN, "evaluate": EVALUATION}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    place = Place(canaries, cohort, root, [], [])
    place.run("compare", cohort, root / "evidence", "--recipes", "dino", "--config", tmp_path / "settings.json")
    assert place.codes == [0], place.said
    assert not leaks(canaries, written(place))
    assert not leaks(canaries, "\n".join(place.said).encode())
    check_modes(root / "evidence")
    assert not [name for name in check_store(root) if name.endswith(".png")]
