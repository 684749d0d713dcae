"""From stored values to a display-ready picture: modality and VOI stages, padding, orientation, resampling."""
