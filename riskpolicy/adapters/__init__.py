"""Data in the forms of other libraries, turned into snapshots."""
