"""One file per pretraining objective, the registry that finds them, and the heads, masks and targets they need."""
