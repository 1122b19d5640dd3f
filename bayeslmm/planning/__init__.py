"""Studies that are not yet made: what a design would tell, by simulation."""
