"""Studies of the paper: what a network's widths depend on, over many random trials.

`studies` says which there are, `running` runs them, `results` holds their tables, `comparison`
sets two tables against each other, and `pictures` draws; README.md shows what came out.
"""
