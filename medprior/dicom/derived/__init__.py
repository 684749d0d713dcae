"""DICOM objects derived from a radiograph: segmentations, structured reports, secondary captures."""
