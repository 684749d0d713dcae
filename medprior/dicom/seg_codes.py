"""Names of masks as DICOM codes and back."""

from __future__ import annotations

import re

from pydicom.sr.coding import Code

from medprior.dicom.objects import private_code

ORGAN = Code("91723000", "SCT", "Anatomical Structure")
FINDING = Code("49755003", "SCT", "Morphologically Abnormal Structure")
# SNOMED CT body structures, as CID 7151 to 7155 and public segmentation objects use them.
ORGANS = {
    "left_lung": Code("44029006", "SCT", "Left lung"),
    "right_lung": Code("3341006", "SCT", "Right lung"),
    "lungs": Code("39607008", "SCT", "Lung"),
    "heart": Code("80891009", "SCT", "Heart"),
    "mediastinum": Code("72410000", "SCT", "Mediastinum"),
}
FINDINGS = {
    "pleural_effusion": Code("60046008", "SCT", "Pleural effusion"),
    "effusion": Code("60046008", "SCT", "Pleural effusion"),
    "pneumothorax": Code("36118008", "SCT", "Pneumothorax"),
    "nodule": Code("27925004", "SCT", "Nodule"),
    "cardiomegaly": Code("287272002", "SCT", "Cardiomegaly"),
}
LUNG_OF_A_SIDE = {"7771000": "left_lung", "24028007": "right_lung"}


def coded(name: str) -> tuple[Code, Code]:
    """Category and type of a structure or finding; one we know no code of gets a private one."""
    if name in ORGANS:
        return ORGAN, ORGANS[name]
    if name in FINDINGS:
        return FINDING, FINDINGS[name]
    return ORGAN, private_code(name)


def finding_code(name: str) -> Code:
    """The code of a label."""
    return FINDINGS.get(name) or private_code(name)


def named(code: str, modifier: str, label: str) -> str:
    """The name of a segment: by its code, a lung also by its side, else by its label."""
    if code == ORGANS["lungs"].value and modifier in LUNG_OF_A_SIDE:
        return LUNG_OF_A_SIDE[modifier]
    for name, known in (ORGANS | FINDINGS).items():
        if known.value == code:
            return name
    return re.sub(r"[^0-9a-z]+", "_", label.lower()).strip("_")
