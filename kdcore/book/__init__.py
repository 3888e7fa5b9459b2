"""What the chapters are made of: parameters, runs, claims, tables and figures. Nothing else in
kdcore imports this package.

parameters   what a reader may change, and what is refused
trials       the runs of Guo et al. (2024);  settings   the runs of Nagarajan et al. (2023)
places       three settings side by side, and what is varied in each
contrasts    the statistics of claims, each a function of a table of runs
claims       the one rule that judges them, and the record that a page leaves
chapter      numbers in prose, tables, and where a page came from
figures      the book's look;  figure_data   a figure's numbers as a table
live         models that a reader moves, with scripts of book/_assets;  svg   how they are drawn
"""
