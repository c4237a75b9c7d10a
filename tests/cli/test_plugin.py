"""riskpolicy plugin: what `new` writes, what `conformance` says, and their exit statuses."""

import pytest

import riskpolicy as rp


def test_a_new_plugin_is_written_and_nothing_is_overwritten(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run("plugin", "new", "my-venue")
    assert status == 0
    assert out.splitlines() == [
        f"wrote riskpolicy-my-venue/{path}"
        for path in ("pyproject.toml", "riskpolicy_my_venue.py", "README.md", "tests/test_riskpolicy_my_venue.py")
    ]
    assert err == "next: pip install -e 'riskpolicy-my-venue[test]' && pytest riskpolicy-my-venue\n"
    (tmp_path / "riskpolicy-my-venue" / "README.md").unlink()
    (tmp_path / "riskpolicy-my-venue" / "riskpolicy_my_venue.py").write_text("mine = 1\n")
    status, out, err = run("plugin", "new", "my-venue")
    assert (status, out) == (2, "")
    assert err.count("[file_exists]") == 3
    assert not (tmp_path / "riskpolicy-my-venue" / "README.md").exists()
    assert (tmp_path / "riskpolicy-my-venue" / "riskpolicy_my_venue.py").read_text() == "mine = 1\n"


def test_it_goes_to_the_directory_that_is_named(run, tmp_path):
    assert run("plugin", "new", "a1", tmp_path / "deep" / "er")[0] == 0
    assert 'a1 = "riskpolicy_a1:plugin"' in (tmp_path / "deep" / "er" / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", ["My-Venue", "my venue", "my--venue", "-venue", "1venue", "../venue", "venue-", "{x}"])
def test_what_cannot_be_a_name(run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    status, _, err = run("plugin", "new", "--", name)
    assert status == 2
    assert "cannot name a plugin" in err
    assert not list(tmp_path.iterdir())


class Steady:
    @rp.hookimpl
    def rank_adl(self, candidates):
        return [c.unrealized_pnl for c in candidates]


class Short:
    @rp.hookimpl
    def split_fees(self, fees):
        return [{"fees": fee.amount - 1} for fee in fees]


def test_conformance_says_what_holds(run, install):
    install("steady", Steady())
    assert run("plugin", "conformance", "steady", "--examples", 20) == (
        0, "steady: rank_adl keeps `exact and repeatable`\n", ""
    )  # fmt: skip


def test_conformance_shows_what_is_broken(run, install):
    install("short", Short())
    status, out, err = run("plugin", "conformance", "short", "--seed", 7)
    assert (status, err) == (1, "")
    assert "split_fees breaks `exact`" in out
    # The smallest fee that shows it: nothing is due, and one quantum is missing.
    assert [line.split() for line in out.splitlines()[1:]] == [["account", "kind", "amount"], ["A", "maker", "0"]]


def test_conformance_of_nothing(run, install):
    install("steady", Steady())
    status, out, err = run("plugin", "conformance", "stead")
    assert (status, out) == (2, "")
    assert "did you mean `steady`?" in err
