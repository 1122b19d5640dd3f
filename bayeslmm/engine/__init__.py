"""How it is fitted: arrays in, small frozen records out."""
