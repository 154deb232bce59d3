"""A49: marked secrets, everything that can go wrong, and a search for the marks in all that was written."""
