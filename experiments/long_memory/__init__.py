"""Who learns to remember, and over how long a lag?"""
