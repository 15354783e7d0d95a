"""Measurements of a network: where its gradients go, its dynamics, its memory; and penalties made of these."""
