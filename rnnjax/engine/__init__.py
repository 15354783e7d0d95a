"""How a step is taken apart and differentiated back in time; internal to ``unroll`` and the measurements."""
