"""Demonstrations that run all stages in order, as the command line would."""
