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
THORAX_CODE = Code("51185008", "SCT", "Thorax")
FINDING_CODES = {
    "pleural_effusion": Code("60046008", "SCT", "Pleural effusion"),
    "effusion": Code("60046008", "SCT", "Pleural effusion"),
    "pneumothorax": Code("36118008", "SCT", "Pneumothorax"),
    "nodule": Code("27925004", "SCT", "Nodule"),
    "cardiomegaly": Code("287272002", "SCT", "Cardiomegaly"),
}
LUNG_SIDE_MODIFIERS = {"7771000": "left_lung", "G-A101": "left_lung", "24028007": "right_lung", "G-A100": "right_lung"}
LUNG_SIDE_WORDS = {"left": "left_lung", "l": "left_lung", "lt": "left_lung"} | {
    "right": "right_lung", "r": "right_lung", "rt": "right_lung",
}  # fmt: skip
# SNOMED RT (scheme SRT), which tools wrote before SNOMED CT and still read.
RETIRED_CODES = {"T-28000": "lungs", "T-28500": "left_lung", "T-28100": "right_lung", "T-32000": "heart"}


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
    """Name a segment by its code, else by its label; a lung has its side from code, modifier or label."""
    concepts = ORGAN_CODES | FINDING_CODES
    known = next((name for name, concept in concepts.items() if concept.value == code), RETIRED_CODES.get(code))
    words = re.findall(r"[0-9a-z]+", label.lower())
    if known == "lungs":
        sides = {LUNG_SIDE_WORDS[word] for word in words if word in LUNG_SIDE_WORDS}
        if modifier in LUNG_SIDE_MODIFIERS:
            sides = {LUNG_SIDE_MODIFIERS[modifier]}
        return sides.pop() if len(sides) == 1 else known
    return known or "_".join(words)
