"""The mechanisms of a venue, a file each, and the conductors that run them in order."""
