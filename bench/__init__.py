"""Careseal's own speed: every figure is a ratio, or a rate, measured in one run on generated rows. `python -m bench --help`."""
