"""Vision Transformers for chest radiographs, pretrained with spatial priors of lungs and heart."""

__version__ = "0.1.0"
