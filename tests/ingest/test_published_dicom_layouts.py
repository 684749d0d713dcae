"""VinDr-CXR and RSNA as published: folders, tables, and headers with no element more than their files have."""

import json

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from medprior.dicom.decoding.samples import create_sample_picture
from medprior.ingest import IngestSettings, ingest_images
from tests.ingest.radiograph_files import EIGHT_BITS, shift_picture, write_table

ONE = IngestSettings(workers=1, store_size=64)


def write_dicom(path, elements, syntax, pixels):
    """A DICOM file with these elements alone; `sop` goes into the file meta only."""
    dataset = Dataset()
    dataset.preamble, dataset.file_meta = bytes(128), FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = elements["sop"]
    dataset.file_meta.MediaStorageSOPInstanceUID = elements.get("SOPInstanceUID", path.stem)
    for name, value in elements.items():
        if name != "sop":
            setattr(dataset, name, value)
    dataset.PixelData = pixels
    dataset["PixelData"].VR = "OB" if syntax == JPEGBaseline8Bit else "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=False)


VINDR_LABELS = [
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation", "Edema",
    "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst", "Mediastinal shift",
    "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture",
    "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other disease", "No finding",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_vindr_folders_tables_and_sparse_headers(tmp_path):
    """PhysioNet vindr-cxr 1.0.0: sex, age and image elements alone; the class stands in the file meta."""
    for part, readers in (("train", 3), ("test", 1)):
        rows = []
        for number in range(2):
            name = f"{'9a' if part == 'train' else '4f'}{number:030x}"
            picture = np.roll(create_sample_picture(bits=14), 9 * number + readers, axis=1).astype("<u2")
            write_dicom(
                tmp_path / "in" / part / f"{name}.dicom",
                {
                    "sop": "1.2.840.10008.5.1.4.1.1.1.1", "PatientSex": "M", "PatientAge": "061Y", "SamplesPerPixel": 1,
                    "PhotometricInterpretation": "MONOCHROME2", "Rows": picture.shape[0], "Columns": picture.shape[1],
                    "PixelSpacing": [0.127, 0.127], "BitsAllocated": 16, "BitsStored": 14, "HighBit": 13,
                    "PixelRepresentation": 0, "WindowCenter": "8190.0", "WindowWidth": "7259.0",
                    "RescaleIntercept": "0.0", "RescaleSlope": "1.0", "LossyImageCompression": "00",
                },
                ExplicitVRLittleEndian,
                picture.tobytes(),
            )  # fmt: skip
            cells = [int(label == "Pleural effusion") for label in VINDR_LABELS]
            rows += [[name, *([f"R{reader + 8}"] if readers == 3 else []), *cells] for reader in range(readers)]
        header = ["image_id", *(["rad_id"] if readers == 3 else []), *VINDR_LABELS]
        write_table(tmp_path / "in" / "annotations" / f"image_labels_{part}.csv", header, rows)
    cohort = ingest_images(tmp_path / "in", tmp_path / "c", "vindr_cxr", ONE)
    frame = cohort.manifest
    assert cohort.labels(["Effusion", "Cardiomegaly"]).tolist() == [[1, 0]] * 4
    assert (frame.split == "test").sum() == 2
    assert set(zip(frame["view"], frame.sex, frame.age, strict=True)) == {("PA", "M", 61.0)}


def test_rsna_header_and_tables(tmp_path):
    """Kaggle, stage 2: JPEG in secondary captures made with WSD, the view in header and series description."""
    rows, names = [], [f"0004cfab-14fd-4e49-80ba-63a80b6bddd{number}" for number in range(3)]
    for number, name in enumerate(names):
        path = tmp_path / "in" / "stage_2_train_images" / f"{name}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = tmp_path / "picture.jpg"
        Image.fromarray(shift_picture(number)).save(picture)
        view = "PA" if number else "AP"
        write_dicom(
            path,
            {
                "sop": "1.2.840.10008.5.1.4.1.1.7", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
                "SOPInstanceUID": f"1.2.276.0.7230010.3.1.4.8323329.{number}", "StudyDate": "19010101",
                "StudyTime": "000000.00", "AccessionNumber": "", "Modality": "CR", "ConversionType": "WSD",
                "ReferringPhysicianName": "", "SeriesDescription": f"view: {view}", "PatientName": name,
                "PatientID": name, "PatientBirthDate": "", "PatientSex": "F", "PatientAge": "51",
                "BodyPartExamined": "CHEST", "ViewPosition": view,
                "StudyInstanceUID": f"1.2.276.0.7230010.3.1.2.8323329.{number}",
                "SeriesInstanceUID": f"1.2.276.0.7230010.3.1.3.8323329.{number}", "StudyID": "", "SeriesNumber": "1",
                "InstanceNumber": "1", "PatientOrientation": "", "SamplesPerPixel": 1,
                "PhotometricInterpretation": "MONOCHROME2", "Rows": EIGHT_BITS.shape[0], "Columns": EIGHT_BITS.shape[1],
                "PixelSpacing": ["0.143", "0.143"], "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7,
                "PixelRepresentation": 0, "LossyImageCompression": "01",
                "LossyImageCompressionMethod": "ISO_10918_1",
            },
            JPEGBaseline8Bit,
            encapsulate([picture.read_bytes()]),
        )  # fmt: skip
        rows += [[name, 10, 20, 30, 40, 1], [name, 50, 20, 30, 40, 1]] if number else [[name, "", "", "", "", 0]]
    write_table(
        tmp_path / "in" / "stage_2_train_labels.csv", ["patientId", "x", "y", "width", "height", "Target"], rows
    )
    classes = [[name, "Lung Opacity"] for name in names]
    write_table(tmp_path / "in" / "stage_2_detailed_class_info.csv", ["patientId", "class"], classes)
    cohort = ingest_images(tmp_path / "in", tmp_path / "c", "rsna", ONE)
    frame = cohort.manifest
    assert sorted(zip(frame["Lung Opacity"], frame["view"], strict=True)) == [(0, "AP"), (1, "PA"), (1, "PA")]
    assert set(frame.age) == {51.0}
    assert json.loads((cohort.path / "summary.json").read_text())["boxes"] == 4
