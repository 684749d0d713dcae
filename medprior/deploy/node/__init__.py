"""The DICOM node: receives radiographs by C-STORE, predicts, and sends SEG and SR to the archive."""
