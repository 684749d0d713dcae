"""The whole row, stage after stage, as a person would call it."""
