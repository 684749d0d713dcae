"""Images, targets, splits and views of a fine-tuning run."""
