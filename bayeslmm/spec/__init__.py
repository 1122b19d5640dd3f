"""What the model is: formula, design, covariance templates, priors."""
