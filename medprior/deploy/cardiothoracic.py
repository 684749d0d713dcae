"""The cardiothoracic ratio, measured by `medprior.evaluate.cardiothoracic`."""

from medprior.evaluate.cardiothoracic import Cardiothoracic, measure

__all__ = ["Cardiothoracic", "measure"]
