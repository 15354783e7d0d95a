"""Which remedy lets a tanh network learn what lies far back?"""
