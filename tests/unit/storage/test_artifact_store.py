"""The current store: the local default, and another one inside `use_store`."""

from pathlib import Path

from ordain.storage import artifact_store


class Store:
    """Records its calls."""

    def __init__(self):
        self.asked = []

    def fetch(self, uri):
        self.asked.append(("fetch", uri))

    def has(self, uri):
        self.asked.append(("has", uri))
        return True

    def keep(self, uri):
        self.asked.append(("keep", uri))

    def discard(self, uri):
        self.asked.append(("discard", uri))
        return True

    def outputs_of(self, node, execution_id):
        self.asked.append(("outputs_of", node))
        return [node / str(execution_id)]

    def pull(self, path):
        self.asked.append(("pull", path))

    def push(self, path):
        self.asked.append(("push", path))


def ask(path):
    artifact_store.current().fetch(str(path))
    artifact_store.current().keep(str(path))
    artifact_store.current().pull(path)
    artifact_store.current().push(path)
    return artifact_store.current().has(str(path))


def test_default_store_copies_nothing(tmp_path):
    (tmp_path / "here").write_text("x")
    assert ask(tmp_path / "here")
    assert not ask(tmp_path / "none")
    assert not artifact_store.current().has("")
    assert not artifact_store.current().discard(str(tmp_path))
    assert list(artifact_store.current().outputs_of(tmp_path, 1)) == []
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_store_is_current_inside_the_context_only():
    store, path = Store(), Path("/none/x")
    with artifact_store.use_store(store):
        assert ask(path)
    assert [what for what, _ in store.asked] == ["fetch", "keep", "pull", "push", "has"]
    assert not ask(path)
    assert len(store.asked) == 5
