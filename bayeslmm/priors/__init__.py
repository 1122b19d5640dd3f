"""Priors of a model's parameters, with their reasons."""
