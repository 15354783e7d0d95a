"""How far back does a gradient reach in a deep fully connected network?"""
