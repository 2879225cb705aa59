"""Where the likelihood map lies, beside other maps."""
