"""RT Structure Sets, written with pydicom as planning systems do."""

import io

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medprior.annotate import annotate_from_files
from medprior.annotate.mask_inputs import MaskInputs
from tests.annotate.drawings import POLYGONS
from tests.dicom.object_sources import source

STORED = (120, 96)
SPACING = {"PixelSpacing": [0.5, 0.4]}
PLACE = {
    **SPACING,
    "FrameOfReferenceUID": "1.2.3.99",
    "ImagePositionPatient": [30.0, -12.5, 80.0],
    # Columns run to the patient's left, rows to the feet, turned by 30 degrees about the body.
    "ImageOrientationPatient": [float(np.cos(np.pi / 6)), 0.5, 0.0, 0.0, 0.0, -1.0],
}
SQUARE = {"PixelSpacing": [0.4, 0.4]}


def in_picture(points, spacing):
    """Corner coordinates in pixels -> mm in the picture's own plane."""
    return [((x - 0.5) * spacing[1], (y - 0.5) * spacing[0], 0.0) for x, y in points]


def in_patient(points, place):
    """Corner coordinates in pixels -> mm in the patient (PS3.3 C.7.6.2.1.1, by hand)."""
    rows, cols = place["PixelSpacing"]
    origin, axes = place["ImagePositionPatient"], place["ImageOrientationPatient"]
    return [
        tuple(origin[k] + axes[k] * cols * (x - 0.5) + axes[3 + k] * rows * (y - 0.5) for k in range(3))
        for x, y in points
    ]


def item(**elements):
    """A data set of these elements."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def structure_set(rois, image="1.2.3.4.5", frame="1.2.3.99", implicit=False, whole=True):
    """A file as a planning system writes it: name -> [(kind, points in mm, image or None)]."""
    dataset = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3", SOPInstanceUID="1.2.9.1", Modality="RTSTRUCT",
        StudyInstanceUID="1.2.3.4", SeriesInstanceUID="1.2.9", StructureSetLabel="CHEST",
        PatientName="Somebody^Else", PatientID="ID-7",
    )  # fmt: skip
    if whole:
        images = [item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID=image)]
        series = item(SeriesInstanceUID="1.2.3.4.1", ContourImageSequence=images)
        study = item(ReferencedSOPInstanceUID="1.2.3.4", RTReferencedSeriesSequence=[series])
        dataset.ReferencedFrameOfReferenceSequence = [
            item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])
        ]
    dataset.StructureSetROISequence = [
        item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID=frame)
        for n, (name, _) in enumerate(rois, start=1)
    ]
    dataset.ROIContourSequence = []
    for n, (_, contours) in enumerate(rois, start=1):
        contour_items = []
        for kind, points, of in contours:
            contour = item(
                ContourGeometricType=kind, NumberOfContourPoints=len(points),
                ContourData=[f"{value:.4f}" for point in points for value in point],
            )  # fmt: skip
            if of:
                contour.ContourImageSequence = [item(ReferencedSOPInstanceUID=of)]
            contour_items.append(contour)
        dataset.ROIContourSequence.append(item(ReferencedROINumber=n, ContourSequence=contour_items))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def closed(points, of="1.2.3.4.5"):
    """One closed contour of an image."""
    return [("CLOSED_PLANAR", points, of)]


def annotate_contours(tmp_path, rois, place=SQUARE, names=None, **more):
    """The annotation of a radiograph at `place` by a structure set of `rois`."""
    (tmp_path / "chest.dcm").write_bytes(source(**place))
    (tmp_path / "rt.dcm").write_bytes(structure_set(rois, **more))
    inputs = MaskInputs(annotations=tmp_path / "rt.dcm", names=names or {})
    return annotate_from_files(tmp_path / "chest.dcm", inputs)


def both(place, to=in_picture):
    """Both structures of `POLYGONS` as regions of interest."""
    return [(name.replace("_", " ").title(), closed(to(points, place))) for name, points in POLYGONS.items()]
