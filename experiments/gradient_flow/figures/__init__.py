"""The figures of the gradient_flow experiment, one subject a file; each draws itself where the records have its data.

Every figure is a function of the records, and None where they have nothing for it.
"""

from experiments.common import drawing
from experiments.gradient_flow.figures.at_initialization import depth_and_time, norm_by_activation, norm_by_lag
from experiments.gradient_flow.figures.memory import carousel, hidden_and_memory
from experiments.gradient_flow.figures.over_training import (
    before_and_after_training,
    lag_and_training,
    weights_and_units,
)
from experiments.gradient_flow.figures.sweeps import norm_by_initialization, norm_by_length, norm_by_position

FIGURES: drawing.Figures = {
    "norm_by_lag": norm_by_lag,
    "norm_by_activation": norm_by_activation,
    "depth_and_time": depth_and_time,
    "norm_by_initialization": norm_by_initialization,
    "norm_by_length": norm_by_length,
    "norm_by_position": norm_by_position,
    "hidden_and_memory": hidden_and_memory,
    "carousel": carousel,
    "before_and_after_training": before_and_after_training,
    "lag_and_training": lag_and_training,
    "weights_and_units": weights_and_units,
}
"""By the names of their files."""
