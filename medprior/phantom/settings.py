"""Settings of a phantom cohort; every field changes the images, so all are recorded."""

from __future__ import annotations

from pydantic import Field

from medprior.settings import Settings

FINDINGS = ("cardiomegaly", "pleural_effusion", "consolidation", "nodule", "pneumothorax")
STRUCTURES = ("left_lung", "right_lung", "heart")


class Prevalence(Settings):
    """Chance that a patient has a finding; cardiomegaly follows from the anatomy.

    Attributes:
        pleural_effusion: fluid around a lung, which blunts its angle.
        consolidation: a lobe filled with fluid instead of air.
        nodule: a round shadow.
        pneumothorax: air around a collapsed lung.
    """

    pleural_effusion: float = Field(default=0.25, ge=0, le=1)
    consolidation: float = Field(default=0.25, ge=0, le=1)
    nodule: float = Field(default=0.25, ge=0, le=1)
    pneumothorax: float = Field(default=0.15, ge=0, le=1)


class PhantomSettings(Settings):
    """Settings of a generated cohort. All defaults are our choice unless `anatomy.py` states a source.

    Attributes:
        size: rows of an image; columns are equal or, for one vendor, a tenth fewer.
        max_images: most images of one patient; half of the patients have one.
        portable: share of AP (portable) images; the others are PA.
        cardiothoracic_limit: a heart wider than this share of the lungs' box is cardiomegaly.
            0.545 makes a quarter of the hearts large.
        unknown: chance that a label is left empty.
        prevalence: chance of each other finding.
        subtlety: 1 is the default difficulty; 0 makes every finding large and dense.
    """

    size: int = Field(default=512, ge=64, le=4096)
    max_images: int = Field(default=3, ge=1, le=9)
    portable: float = Field(default=0.35, ge=0, le=1)
    cardiothoracic_limit: float = Field(default=0.545, gt=0, lt=1)
    unknown: float = Field(default=0.05, ge=0, lt=1)
    prevalence: Prevalence = Prevalence()
    subtlety: float = Field(default=1.0, ge=0, le=2)
