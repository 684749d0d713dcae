"""Where a classifier looks for its findings: class roll-out maps, and boxes where their hit rate was measured."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medprior.deploy.inference.finding_evidence import FindingEvidence
from medprior.dicom.display.resample import compute_resized_shape, resize_pixels
from medprior.finetune.image_grid import resample_to_image
from medprior.finetune.model import ATTENTION_SIDE_PX, Model, validate_pixels
from medprior.networks.class_rollout import compute_finding_rollout
from medprior.networks.heads import Classifier

MAX_BOXES = 3  # of one finding, the largest
MIN_PART_SHARE = 0.1  # smaller parts than this share of the largest get no box (our choice)
FindingBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class FindingLocation:
    """Where the model looks for one finding.

    Attributes:
        attention: class roll-out, float32 [h, w] >= 0 over the radiograph's frame; 1 is the mean over the patches.
        boxes: (left, top, right, bottom) in pixels of the radiograph, the largest first, around the parts of the map
            above the evidence's threshold; none where there is no such evidence.
    """

    attention: NDArray[np.float32] = field(repr=False)
    boxes: tuple[FindingBox, ...] = ()


class FindingLocator:
    """Locates findings by the class roll-out of a classifier; thread-safe, one radiograph at a time.

    Args:
        model: a classifier with attention. Its network is copied at first use: the roll-out watches the attention of
            a network, which others may run meanwhile.
    """

    def __init__(self, model: Model) -> None:
        self._model, self._copied = model, False
        self._lock = threading.Lock()

    def locate(
        self, pixels: NDArray[np.float32], labels: Sequence[str], evidence: Mapping[str, FindingEvidence]
    ) -> dict[str, FindingLocation]:
        """Maps of findings, and boxes of those whose `evidence` has a location.

        Args:
            pixels: float32 [rows, cols] in [0, 1], square pixels, air dark.
            labels: findings, one backward pass each.
            evidence: label -> how well the model tells and locates it.

        Raises:
            ConfigError: `pixels` is no such image.
        """
        validate_pixels(pixels)
        rows, cols = pixels.shape
        locations = {}
        for label, attention in zip(labels, self._compute_maps(pixels, labels), strict=True):
            location = evidence[label].location if label in evidence else None
            boxes = find_attention_boxes(attention, location.threshold, (rows, cols)) if location else ()
            locations[label] = FindingLocation(attention, boxes)
        return locations

    def _compute_maps(self, pixels: NDArray[np.float32], labels: Sequence[str]) -> NDArray[np.float32]:
        rows, cols = pixels.shape
        height, width = compute_resized_shape((rows, cols), ATTENTION_SIDE_PX)
        if not labels:
            return np.zeros((0, height, width), np.float32)
        with self._lock:
            if not self._copied:
                self._model = replace(self._model, network=copy.deepcopy(self._model.network))
                self._copied = True
            model, network = self._model, self._model.network
            assert isinstance(network, Classifier)
            square = resize_pixels(pixels, model.source_size, model.source_size)
            images, views = model.create_views(square[None], np.array([cols / rows]))
            maps = compute_finding_rollout(network, images, [model.labels.index(label) for label in labels]).maps
        patches = maps.shape[-2] * maps.shape[-1]
        return resample_to_image(maps * patches, views, height, width)[0].cpu().numpy()


def find_attention_boxes(
    attention: NDArray[np.float32], threshold: float, shape: tuple[int, int]
) -> tuple[FindingBox, ...]:
    """Boxes around the connected parts of a map above a share of its maximum, the largest first; at most three.

    Args:
        attention: float32 [h, w] >= 0.
        threshold: share of the maximum.
        shape: (rows, cols) of the radiograph.
    """
    if attention.max() <= 0:
        return ()
    labels, count = ndimage.label(attention >= threshold * attention.max())
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    slices = ndimage.find_objects(labels)
    scale_y, scale_x = shape[0] / attention.shape[0], shape[1] / attention.shape[1]
    boxes = []
    for part in np.argsort(-areas, kind="stable")[:MAX_BOXES]:
        if areas[part] < MIN_PART_SHARE * areas.max():
            break
        rows, columns = slices[part]
        left, right = columns.start * scale_x, columns.stop * scale_x
        boxes.append((left, rows.start * scale_y, right, rows.stop * scale_y))
    return tuple(boxes)
