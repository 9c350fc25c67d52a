"""Figures computed from readings, truths and pixels; every one is defined, with its source, where it is computed."""
