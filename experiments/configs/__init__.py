"""Configurations of the experiments, with a quick variant each."""
