"""Plugins that tests install by name, as if through their entry points."""

import pytest


@pytest.fixture
def install(monkeypatch):
    installed = []

    class Entry:
        dist = None

        def __init__(self, name, plugin, value):
            self.name, self.plugin, self.value = name, plugin, value

        def load(self):
            if isinstance(self.plugin, Exception):
                raise self.plugin
            return self.plugin

    def entry_points(group):
        assert group == "riskpolicy.plugins"
        return installed

    monkeypatch.setattr("riskpolicy.hooks.resolve.entry_points", entry_points)

    def install(name, plugin, value=None):
        installed.append(Entry(name, plugin, value or f"{name}:plugin"))

    return install
