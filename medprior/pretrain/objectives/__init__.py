"""One file per pretraining objective and the registry that finds them; heads, masks and targets they need lie beside them."""
