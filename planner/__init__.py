"""From a story to a plan: language model, constrained decoding, checks, and the command line that drives everything."""
