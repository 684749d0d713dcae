"""A comparison: several recipes trained with several seeds, and their metrics side by side."""
