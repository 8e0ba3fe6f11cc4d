"""Files that tasks share: through a store where one is named, and where they lie otherwise."""

from pathlib import Path

from ordain.storage import artifact_store


class Store:
    """Notes what it is asked for."""

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
    artifact_store.fetch(str(path))
    artifact_store.keep(str(path))
    artifact_store.pull(path)
    artifact_store.push(path)
    return artifact_store.has(str(path))


def test_without_a_store_a_file_is_where_it_is(tmp_path):
    (tmp_path / "here").write_text("x")
    assert ask(tmp_path / "here")
    assert not ask(tmp_path / "none")
    assert not artifact_store.has("")
    assert not artifact_store.discard(str(tmp_path))
    assert list(artifact_store.outputs_of(tmp_path, 1)) == []
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_store_is_asked_while_it_is_named_and_no_longer():
    store, path = Store(), Path("/none/x")
    with artifact_store.use_store(store):
        assert ask(path)
    assert [what for what, _ in store.asked] == ["fetch", "keep", "pull", "push", "has"]
    assert not ask(path)
    assert len(store.asked) == 5
