"""Where do gradients die? Over cells, activations, depths and initializations, before and after training."""
