FIGURES=()
def table(r): return ""
def verdict(r): return ""
def summary(r): return ""
