"""Measurements that print their ratios: `make bench`."""
