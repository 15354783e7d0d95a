"""How soon is an input forgotten on the way forward?"""
