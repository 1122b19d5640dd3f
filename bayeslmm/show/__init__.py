"""Everything printed or drawn; the sole door to matplotlib."""
