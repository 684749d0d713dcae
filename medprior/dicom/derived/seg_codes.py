"""Converts names of masks and findings to DICOM codes and back."""

from __future__ import annotations

import re

from pydicom.sr.coding import Code

from medprior.dicom.derived.derived_object import create_private_code

ORGAN_CATEGORY = Code("91723000", "SCT", "Anatomical Structure")
FINDING_CATEGORY = Code("49755003", "SCT", "Morphologically Abnormal Structure")
# SNOMED CT body structures, as CID 7151 to 7155 and public segmentation objects use them.
ORGAN_CODES = {
    "left_lung": Code("44029006", "SCT", "Left lung"),
    "right_lung": Code("3341006", "SCT", "Right lung"),
    "lungs": Code("39607008", "SCT", "Lung"),
    "heart": Code("80891009", "SCT", "Heart"),
    "mediastinum": Code("72410000", "SCT", "Mediastinum"),
}
FINDING_CODES = {
    "pleural_effusion": Code("60046008", "SCT", "Pleural effusion"),
    "effusion": Code("60046008", "SCT", "Pleural effusion"),
    "pneumothorax": Code("36118008", "SCT", "Pneumothorax"),
    "nodule": Code("27925004", "SCT", "Nodule"),
    "cardiomegaly": Code("287272002", "SCT", "Cardiomegaly"),
}
LUNG_SIDE_MODIFIERS = {"7771000": "left_lung", "24028007": "right_lung"}


def find_segment_codes(name: str) -> tuple[Code, Code]:
    """Find category and type of a structure or finding; names without a known code get a private one."""
    if name in ORGAN_CODES:
        return ORGAN_CATEGORY, ORGAN_CODES[name]
    if name in FINDING_CODES:
        return FINDING_CATEGORY, FINDING_CODES[name]
    return ORGAN_CATEGORY, create_private_code(name)


def find_finding_code(name: str) -> Code:
    """Find the code of a finding; names without a known code get a private one."""
    return FINDING_CODES.get(name) or create_private_code(name)


def name_segment(code: str, modifier: str, label: str) -> str:
    """Name a segment by its code, a lung also by its laterality modifier, else by its label."""
    if code == ORGAN_CODES["lungs"].value and modifier in LUNG_SIDE_MODIFIERS:
        return LUNG_SIDE_MODIFIERS[modifier]
    for name, concept in (ORGAN_CODES | FINDING_CODES).items():
        if concept.value == code:
            return name
    return re.sub(r"[^0-9a-z]+", "_", label.lower()).strip("_")
