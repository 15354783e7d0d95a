"""Tests of rnnjax, against equations in NumPy, other libraries, and answers known exactly."""
