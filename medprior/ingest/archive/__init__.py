"""Reads radiographs of an archive (PACS) over DICOMweb or DIMSE, chosen by attributes and fetched one by one."""
