"""The parts of a resolution: books, losses, liquidation steps, the snapshot afterwards."""
