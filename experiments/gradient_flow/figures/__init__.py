"""The figures, one subject a file; each is a function of the records, and None where they have nothing for it."""
