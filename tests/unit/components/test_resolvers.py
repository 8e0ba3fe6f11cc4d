"""Resolver strategies on a real ML Metadata store with TFX's events."""

import functools
import tempfile
from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.types import standard_artifacts
from tfx.utils import path_utils
from tiny_models import save_doubler

from ordain.components.artifacts.served_model import (
    LookingBack,
    compared_with,
    looking_back,
    resolver_error,
    version_of,
)
from ordain.components.resolvers import BaselineModel, SeenAnalyzerCache, ServedModel
from ordain.errors import InfrastructureError
from ordain.serving.registry.directory import publish
from ordain.serving.registry.labels import record_push, rollback
from ordain.serving.registry.manifest import Manifest


def _store(folder: Path) -> mlmd.MetadataStore:
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(folder / "metadata.sqlite")
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return mlmd.MetadataStore(config)


@pytest.fixture
def store(tmp_path):
    return _store(tmp_path)


@functools.cache
def _files(number: int) -> dict[str, bytes]:
    """A model that a label may be given to, another one for each number."""
    with tempfile.TemporaryDirectory() as folder:
        model = save_doubler(Path(folder, "m"), 2.0 + number)
        files = (path for path in model.rglob("*") if path.is_file())
        return {path.relative_to(model).as_posix(): path.read_bytes() for path in files}


class Chain:
    """Writes artifacts and executions as TFX does."""

    def __init__(self, store, folder):
        self.store, self.folder = store, folder
        self.base = folder / "serving" / "toy"
        self.models, self.blessings, self.pushed, self.caches = [], [], [], []

    def put(self, kind, **properties):
        artifact = kind()
        for name, value in properties.items():
            if isinstance(value, int):
                artifact.set_int_custom_property(name, value)
            else:
                artifact.set_string_custom_property(name, value)
        return self.keep(artifact)

    def keep(self, artifact):
        proto = artifact.mlmd_artifact
        proto.type_id = self.store.put_artifact_type(artifact.artifact_type)
        (artifact.id,) = self.store.put_artifacts([proto])
        return artifact

    def run(self, node: str, inputs: dict, outputs: dict) -> int:
        type_id = self.store.put_execution_type(pb.ExecutionType(name=node))
        (execution,) = self.store.put_executions([pb.Execution(type_id=type_id)])
        events = []
        for kind, artifacts in ((pb.Event.INPUT, inputs), (pb.Event.OUTPUT, outputs)):
            for key, listed in artifacts.items():
                for index, artifact in enumerate(listed):
                    event = pb.Event(artifact_id=artifact.id, execution_id=execution, type=kind)
                    event.path.steps.add().key = key
                    event.path.steps.add().index = index
                    events.append(event)
        self.store.put_events(events)
        return execution

    def train(self, content: bytes | None = None, inputs: dict | None = None):
        """A model, with files of its own content."""
        model = standard_artifacts.Model()
        model.uri = str(self.folder / "models" / str(len(self.models)))
        files = Path(path_utils.serving_model_dir(model.uri))
        (files / "variables").mkdir(parents=True)
        made = {"saved_model.pb": content} if content else _files(len(self.models))
        for name, data in made.items():
            (files / name).write_bytes(data)
        self.keep(model)
        self.run("Trainer", inputs or {}, {"model": [model]})
        self.models.append(model)
        return model

    def evaluate(self, model, is_blessed: bool = True):
        """The Evaluator's blessing of a candidate, compared with the current baseline."""
        against = self.compare(model)
        properties = {"blessed": int(is_blessed), "current_model_id": model.id}
        if against:
            properties["baseline_model_id"] = against[0].id
        blessing = self.put(standard_artifacts.ModelBlessing, **properties)
        taken = {"model": [model], "baseline_model": against}
        self.run("Evaluator", taken, {"blessing": [blessing]})
        self.blessings.append(blessing)
        return blessing

    def push(self, model, promote="auto", is_recorded: bool = True) -> Path:
        """Publishes a model; ML Metadata is not told if the publisher is killed first."""
        about = Manifest("toy", 0, "", run_id=f"run of {model.id}")
        folder = publish(path_utils.serving_model_dir(model.uri), self.base, about)
        record_push(self.base, int(folder.name), "run r", promote)
        if is_recorded:
            pushed = self.put(
                standard_artifacts.PushedModel,
                pushed=1,
                pushed_version=folder.name,
                pushed_destination=str(folder),
            )
            self.run("Pusher", {"model": [model]}, {"pushed_model": [pushed]})
            self.pushed.append(pushed)
        return folder

    def publish(self, **options):
        """A model that passed every gate."""
        model = self.train()
        self.evaluate(model)
        self.push(model, **options)
        return model

    def compare(self, candidate, rule: str = "stable") -> list:
        found = BaselineModel(str(self.base), rule).resolve_artifacts(
            self.store,
            {
                "model": [candidate],
                "model_blessing": list(self.blessings),
                "pushed_model": list(self.pushed),
            },
        )
        assert found.keys() == {"model", "model_blessing", "pushed_model"}
        assert not found["model_blessing"] and not found["pushed_model"]
        return list(found["model"])

    def baseline(self, candidate, rule: str = "stable") -> list[int]:
        """The versions that a candidate is compared with: one or none."""
        found = self.compare(candidate, rule)
        assert [m.uri for m in found] == [f"{self.base}/{version_of(m)}" for m in found]
        return [version_of(m) for m in found]


@pytest.fixture
def chain(store, tmp_path):
    return Chain(store, tmp_path)


class TestBaseline:
    def test_a_first_model_has_none(self, chain):
        assert chain.baseline(chain.train()) == []

    def test_it_is_the_stable_version(self, chain):
        chain.publish()
        chain.publish()
        assert chain.baseline(chain.train()) == [2]
        rollback(chain.base, "me", "worse")
        assert chain.baseline(chain.train()) == [1]

    def test_what_was_never_published_is_none(self, chain):
        chain.evaluate(chain.train())  # the server gate refused it, or the run ended there
        assert chain.baseline(chain.train()) == []
        chain.publish()
        chain.evaluate(chain.train())
        assert chain.baseline(chain.train()) == [1]

    def test_a_repeated_run_compares_with_what_it_was_compared_with(self, chain):
        first, second = chain.publish(), chain.publish()
        assert chain.baseline(second) == [1]
        # As its first time, though there is a newer one now.
        assert chain.baseline(first) == [2]
        rollback(chain.base, "me", "worse")
        assert chain.baseline(first) == []
        assert chain.baseline(second) == [1]

    def test_so_does_one_whose_publisher_was_killed(self, chain):
        chain.publish()
        killed = chain.publish(is_recorded=False)
        assert chain.baseline(killed) == [1]

    def test_the_same_content_trained_again_is_compared_with_what_serves(self, chain):
        chain.publish()
        model = chain.train(b"the same")
        chain.evaluate(model)
        chain.push(model)
        assert chain.baseline(chain.train(b"the same")) == [2]

    def test_one_that_was_compared_with_nothing_for_a_reason_is_so_no_more(self, chain):
        chain.publish()
        model = chain.train()
        chain.blessings.append(
            chain.put(standard_artifacts.ModelBlessing, blessed=1, current_model_id=model.id)
        )
        chain.push(model)
        assert chain.baseline(model) == [2]

    def test_it_is_the_same_artifact_each_time_and_another_for_other_content(self, chain):
        chain.publish()
        (one,), (other,) = (chain.compare(chain.train()) for _ in range(2))
        assert one.mlmd_artifact == other.mlmd_artifact
        manifest = chain.base / "1" / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"run of', '"no run of'))
        (changed,) = chain.compare(chain.train())
        assert changed.id != one.id

    def test_after_a_move_it_is_the_same_artifact_at_its_new_place(self, chain):
        chain.publish()
        (before,) = chain.compare(chain.train())
        chain.base = chain.base.rename(chain.folder / "moved")
        (after,) = chain.compare(chain.train())
        assert (after.id, after.uri) == (before.id, f"{chain.base}/1")

    def test_a_database_that_knows_nothing_makes_no_difference(self, chain, tmp_path):
        chain.publish()
        (tmp_path / "new").mkdir()
        anew = Chain(_store(tmp_path / "new"), tmp_path / "new")
        anew.base = chain.base
        assert anew.baseline(anew.train()) == [1]

    @pytest.mark.parametrize(("rule", "version"), [("latest", 3), ("2", 2), ("stable", 1)])
    def test_each_rule(self, chain, rule, version):
        chain.publish()
        for _ in range(2):
            chain.publish(promote="manual")
        assert chain.baseline(chain.train(), rule) == [version]

    def test_pinned_version_does_not_depend_on_the_candidate(self, chain):
        chain.publish()
        second = chain.publish()
        assert chain.baseline(second, "2") == [2]

    def test_its_error_is_kept_for_whoever_launches_the_node(self, chain):
        chain.publish()
        (chain.base / "1").rename(chain.base / "gone")
        with looking_back(LookingBack(str(chain.base), "stable")):
            with pytest.raises(InfrastructureError, match="version 1 is stable"):
                chain.compare(chain.models[0])
            assert isinstance(resolver_error(), InfrastructureError)
            assert resolver_error() is None


class TestWords:
    """The baseline as named in a verdict."""

    @pytest.mark.parametrize(
        ("rule", "words"),
        [
            ("stable", "version 2 (stable)"),
            ("latest", "version 3 (newest published)"),
            ("1", "version 1 (pinned)"),
        ],
    )
    def test_by_version(self, chain, rule, words):
        for promote in ("auto", "auto", "manual"):
            chain.publish(promote=promote)
        inputs = {"baseline_model": chain.compare(chain.train(), rule)}
        told = LookingBack(str(chain.base), int(rule) if rule.isdecimal() else rule)
        with looking_back(told):
            assert compared_with(inputs, "baseline_model") == words

    def test_of_a_run_that_is_repeated(self, chain):
        chain.publish()
        inputs = {"baseline_model": chain.compare(chain.publish())}
        with looking_back(LookingBack(str(chain.base), "stable")):
            assert compared_with(inputs, "baseline_model") == (
                "version 1 (stable when this run looked it up)"
            )

    @pytest.mark.parametrize(
        ("inputs", "words"),
        [
            ({}, "nothing: metrics changed"),
            ({"baseline_model": []}, "nothing: this is the first model, no version"),
        ],
    )
    def test_of_nothing(self, inputs, words):
        with looking_back(LookingBack("/srv/toy", "stable", none="metrics changed")):
            assert compared_with(inputs, "baseline_model").startswith(words)


class TestAnalyzerCache:
    @pytest.fixture
    def transform(self, chain):
        """Runs a Transform on examples; returns the cache it left."""

        def run(examples, given=()):
            cache = chain.put(standard_artifacts.TransformCache)
            chain.run(
                "Transform",
                {"examples": list(examples), "analyzer_cache": list(given)},
                {"updated_analyzer_cache": [cache]},
            )
            chain.caches.append(cache)
            return cache

        return run

    @pytest.fixture
    def examples(self, chain):
        return [chain.put(standard_artifacts.Examples) for _ in range(4)]

    def seen(self, chain, examples) -> list[int]:
        found = SeenAnalyzerCache().resolve_artifacts(
            chain.store, {"examples": list(examples), "analyzer_cache": list(chain.caches)}
        )
        assert found["examples"] == []
        return [c.id for c in found["analyzer_cache"]]

    def test_a_first_transform_has_none(self, chain, examples):
        assert self.seen(chain, examples[:2]) == []

    def test_new_examples_start_from_the_newest(self, chain, examples, transform):
        first = transform(examples[:2])
        second = transform(examples[1:3], [first])
        assert self.seen(chain, examples[2:4]) == [second.id]

    def test_the_same_examples_are_given_what_they_were_given_before(
        self, chain, examples, transform
    ):
        first = transform(examples[:2])
        transform(examples[1:3], [first])
        transform(examples[2:4], [first])
        # Nothing the first time, though there are caches now; then it is CACHED as a whole.
        assert self.seen(chain, examples[:2]) == []
        assert self.seen(chain, examples[1:3]) == [first.id]
        assert self.seen(chain, examples[2:4]) == [first.id]

    def test_the_order_of_spans_does_not_matter(self, chain, examples, transform):
        first = transform(examples[:2])
        transform(examples[1:3], [first])
        assert self.seen(chain, examples[1:3][::-1]) == [first.id]
        assert self.seen(chain, examples[:2][::-1]) == []

    def test_part_of_the_examples_is_not_the_same_examples(self, chain, examples, transform):
        transform(examples[:1])
        second = transform(examples[:3])
        assert self.seen(chain, examples[:2]) == [second.id]

    def test_the_last_time_counts_if_there_were_several(self, chain, examples, transform):
        first = transform(examples[:2])
        transform(examples[:2], [first])  # run with --no-cache, for example
        assert self.seen(chain, examples[:2]) == [first.id]
        chain.caches.reverse()
        assert self.seen(chain, examples[:2]) == [first.id]

    def test_a_cached_execution_does_not_hide_the_one_that_wrote(self, chain, examples, transform):
        first = transform(examples[:2])
        second = transform(examples[1:3], [first])
        chain.run(
            "Transform",
            {"examples": examples[1:3], "analyzer_cache": [first]},
            {"updated_analyzer_cache": [second]},
        )
        assert self.seen(chain, examples[1:3]) == [first.id]

    def test_a_cache_that_is_gone_is_not_given_again(self, chain, examples, transform):
        first = transform(examples[:2])
        transform(examples[1:3], [first])
        chain.caches.remove(first)
        assert self.seen(chain, examples[1:3]) == []


class TestServedModel:
    """The model that a warm start begins from."""

    @pytest.fixture
    def data(self, chain):
        """Transformed examples and a transform graph for each of three runs."""
        kinds = (standard_artifacts.Examples, standard_artifacts.TransformGraph)
        return [tuple(chain.put(kind) for kind in kinds) for _ in range(3)]

    @pytest.fixture
    def train(self, chain):
        """A published model of some data, that went on from another or from none."""

        def run(data):
            base = self.served(chain, data)
            inputs = {"examples": [data[0]], "transform_graph": [data[1]], "base_model": base}
            model = chain.train(inputs=inputs)
            chain.push(model)
            return model

        return run

    def served(self, chain, data) -> list:
        found = ServedModel(str(chain.base)).resolve_artifacts(
            chain.store,
            {"examples": [data[0]], "transform_graph": [data[1]], "model": list(chain.models)},
        )
        assert not found["examples"] and not found["transform_graph"]
        return list(found["model"])

    def versions(self, chain, data) -> list[int]:
        return [version_of(model) for model in self.served(chain, data)]

    def test_a_first_run_goes_on_from_none(self, chain, data):
        assert self.versions(chain, data[0]) == []

    def test_it_is_the_stable_version(self, chain, data, train):
        train(data[0])
        train(data[1])
        assert self.versions(chain, data[2]) == [2]
        rollback(chain.base, "me", "worse")
        assert self.versions(chain, data[2]) == [1]

    def test_a_repeated_run_goes_on_from_what_it_went_on_from(self, chain, data, train):
        train(data[0])
        train(data[1])
        assert self.versions(chain, data[1]) == [1]
        assert self.versions(chain, data[0]) == []

    def test_the_same_examples_transformed_anew_are_others(self, chain, data, train):
        train(data[0])
        assert self.versions(chain, (data[0][0], data[1][1])) == [1]
