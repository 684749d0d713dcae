"""One small generated radiograph as DICOM: a registered model's input example and smoke check."""

from __future__ import annotations

import tempfile
from datetime import date
from pathlib import Path

from medprior.phantom.dicomfile import Identity, write
from medprior.phantom.render import draw_study, render_study
from medprior.phantom.settings import PhantomSettings

SIDE = 192


def example_dicom(seed: int = 0, side: int = SIDE) -> bytes:
    """The bytes of a phantom's DICOM file; the same seed and side give the same bytes.

    Args:
        seed: stands for the patient.
        side: rows and columns.
    """
    settings = PhantomSettings.checked({})
    study = draw_study((seed,), 0, settings)
    image = render_study(study, side, side, settings)
    day = date(2020, 1, 1)
    identity = Identity(
        patient=f"EXAMPLE{seed}",
        number=1,
        study=1,
        image=f"example{seed}",
        seed=seed,
        day=day,
        born=date(1960, 1, 1),
    )
    with tempfile.TemporaryDirectory(prefix="medprior-") as folder:
        path = Path(folder) / "example.dcm"
        write(path, image, study.vendor, study.voi, identity)
        return path.read_bytes()
