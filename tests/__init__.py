"""Tests: a folder a room, and in it a file a source file; published examples are in tests.vectors."""
