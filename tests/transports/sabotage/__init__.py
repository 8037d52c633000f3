"""Transports that break one promise each, and the trial that is to catch them."""
