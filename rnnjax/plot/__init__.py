"""Figures of what the library measures, on matplotlib's axes, for lectures, notebooks and papers.

    from rnnjax import plot

    plot.norms_by_lag({"LSTM": rnnjax.gradient_flow(...), "tanh": rnnjax.gradient_flow(...)})

Each function draws into the given axes or makes a figure, and returns the axes, as pandas and seaborn do.
"""

from rnnjax.extras import needed

with needed("matplotlib", by=__name__, extra="plot"):
    import matplotlib  # noqa: F401

from rnnjax.plot.norms import norms_by_depth_and_time as norms_by_depth_and_time
from rnnjax.plot.norms import norms_by_lag as norms_by_lag
