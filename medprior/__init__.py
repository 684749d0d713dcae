"""medprior teaches a chest-radiograph Vision Transformer where the lungs and the heart are."""

__version__ = "0.1.0"
