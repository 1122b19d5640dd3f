"""What any room may need and no model knows: compiling, warnings."""
