"""Prediction with a model folder: findings, masks, overlays, DICOM objects, ONNX export."""
