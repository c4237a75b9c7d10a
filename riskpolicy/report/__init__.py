"""Reports for people: what an evaluation looks like in a terminal."""
