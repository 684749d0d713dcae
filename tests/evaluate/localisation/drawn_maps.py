"""Map sources whose maps are the true masks under noise, and the side they are drawn at."""

import numpy as np

SIZE = 48


class NoisyMasks:
    """Maps that are the true masks, blurred with noise, in a known order."""

    def __init__(self, order, assigned=(), has_selectable_maps=True, noise=0.3):
        self.order, self.noise, self.has_selectable_maps = order, noise, has_selectable_maps
        self.assigned = {name: order.index(name) for name in assigned}
        self.count = len(order)

    def batches(self, cohort, size):
        rng = np.random.default_rng(len(cohort))
        for start in range(0, len(cohort), 7):
            some = cohort.select(cohort.image_ids[start : start + 7])
            maps = np.stack([some.mask_squares(name, size)[0] for name in self.order], axis=1)
            yield (maps + self.noise * rng.random(maps.shape)).astype(np.float32)
