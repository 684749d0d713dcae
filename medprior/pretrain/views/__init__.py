"""From cohort images to the views of a training step: batches, random crops, intensity augmentation."""
