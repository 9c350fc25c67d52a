"""How regional attention changes with its inputs: plain torch for all of them, Triton for the query alone."""
