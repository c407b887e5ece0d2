"""Studies: what a network's widths depend on, what a data set needs, which points are hard.

`studies` says which there are, `running` runs them, `results` holds their tables, `comparison`
sets two tables against each other, and `pictures` draws; README.md shows what came out.

`theory` compares widths with the theorem's. `complexity` measures one data set, with `hardness` for
its points; `mislabelled` finds wrong labels by it.
"""
