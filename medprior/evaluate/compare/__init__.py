"""A comparison: several recipes trained with several seeds, with their metrics and differences."""
