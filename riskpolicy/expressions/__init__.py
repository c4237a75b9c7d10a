"""The expression language: text to a checked tree, and its reference meaning."""
