"""Models, and ways to initialize them, that two or more experiments share."""
