"""WHAT the model is: a formula and a table -> columns, groups, names. No fitting."""
