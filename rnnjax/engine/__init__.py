"""How a step is taken apart and run back in time: nobody's business but that of ``unroll`` and of what measures."""
