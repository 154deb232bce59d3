"""Gates, soaks, and the comparison with a control group."""
