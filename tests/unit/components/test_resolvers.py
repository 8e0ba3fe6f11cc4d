"""What a run looks back to, on a real ML Metadata store with the events TFX writes."""

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.types import standard_artifacts

from components.resolvers import BaselineModel, SeenAnalyzerCache, ServedModel


@pytest.fixture
def store(tmp_path):
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return mlmd.MetadataStore(config)


class Chain:
    """Writes artifacts and executions as TFX does."""

    def __init__(self, store):
        self.store = store
        self.models, self.blessings, self.pushed, self.caches = [], [], [], []

    def put(self, kind, **properties):
        artifact = kind()
        for name, value in properties.items():
            if isinstance(value, int):
                artifact.set_int_custom_property(name, value)
            else:
                artifact.set_string_custom_property(name, value)
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

    def train(self):
        """A model."""
        model = self.put(standard_artifacts.Model)
        self.run("Trainer", {}, {"model": [model]})
        self.models.append(model)
        return model

    def bless(self, model, is_blessed: bool = True):
        blessing = self.put(
            standard_artifacts.ModelBlessing,
            blessed=int(is_blessed),
            current_model_id=model.id,
        )
        self.run("Evaluator", {"model": [model]}, {"blessing": [blessing]})
        self.blessings.append(blessing)
        return blessing

    def push(self, model, version: int | None, blessing=None):
        properties = {"pushed": 0}
        if version is not None:
            properties = {"pushed": 1, "pushed_version": str(version)}
        pushed = self.put(standard_artifacts.PushedModel, **properties)
        inputs = {"model": [model], "model_blessing": [blessing] if blessing else []}
        self.run("Pusher", inputs, {"pushed_model": [pushed]})
        self.pushed.append(pushed)
        return pushed

    def publish(self, version: int):
        """A model that passed every gate."""
        model = self.train()
        self.push(model, version, self.bless(model))
        return model

    def baseline(self, candidate, version: int = 0) -> list[int]:
        found = BaselineModel(version).resolve_artifacts(
            self.store,
            {
                "candidate": [candidate],
                "model": list(self.models),
                "model_blessing": list(self.blessings),
                "pushed_model": list(self.pushed),
            },
        )
        assert found.keys() == {"candidate", "model", "model_blessing", "pushed_model"}
        assert all(not found[key] for key in found if key != "model")
        return [m.id for m in found["model"]]


@pytest.fixture
def chain(store):
    return Chain(store)


class TestBaseline:
    def test_a_first_model_has_none(self, chain):
        assert chain.baseline(chain.train()) == []

    def test_it_is_the_latest_blessed(self, chain):
        chain.publish(1)
        second = chain.publish(2)
        assert chain.baseline(chain.train()) == [second.id]

    def test_a_model_that_was_not_blessed_is_passed_over(self, chain):
        good = chain.publish(1)
        bad = chain.train()
        chain.bless(bad, is_blessed=False)
        chain.train()  # never evaluated
        assert chain.baseline(chain.train()) == [good.id]

    def test_a_candidate_is_never_its_own_baseline(self, chain):
        first = chain.publish(1)
        candidate = chain.publish(2)
        # The run is repeated: its model is blessed already, and is the latest.
        assert chain.baseline(candidate) == [first.id]
        assert chain.baseline(first) == [candidate.id]

    def test_a_repeated_first_run_has_none_as_the_first_time(self, chain):
        candidate = chain.publish(1)
        assert chain.baseline(candidate) == []
        assert chain.baseline(candidate, version=1) == []

    def test_the_order_of_the_listing_does_not_matter(self, chain):
        chain.publish(1)
        second = chain.publish(2)
        candidate = chain.train()
        chain.models.reverse()
        chain.blessings.reverse()
        assert chain.baseline(candidate) == [second.id]


class TestPinnedVersion:
    def test_it_is_the_model_that_was_pushed_as_it(self, chain):
        first, second = chain.publish(1), chain.publish(2)
        candidate = chain.train()
        assert chain.baseline(candidate, version=1) == [first.id]
        assert chain.baseline(candidate, version=2) == [second.id]

    def test_a_version_that_was_never_pushed_is_none(self, chain):
        chain.publish(1)
        assert chain.baseline(chain.train(), version=3) == []

    def test_a_push_that_was_refused_is_no_version(self, chain):
        model = chain.train()
        chain.push(model, None, chain.bless(model, is_blessed=False))
        assert chain.baseline(chain.train(), version=0) == []
        assert chain.baseline(chain.train(), version=1) == []

    def test_version_ten_is_not_version_one(self, chain):
        chain.publish(10)
        assert chain.baseline(chain.train(), version=1) == []

    def test_a_cached_push_still_names_the_model_it_first_pushed(self, chain):
        model = chain.train()
        pushed = chain.push(model, 1, chain.bless(model))
        # A later run was cached: its execution has the same output, and other inputs.
        chain.run("Pusher", {"model": [chain.publish(2)]}, {"pushed_model": [pushed]})
        assert chain.baseline(chain.train(), version=1) == [model.id]


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
    """What a warm start goes on from."""

    @pytest.fixture
    def data(self, chain):
        """Transformed examples and a transform graph for each of three runs."""
        kinds = (standard_artifacts.Examples, standard_artifacts.TransformGraph)
        return [tuple(chain.put(kind) for kind in kinds) for _ in range(3)]

    @pytest.fixture
    def train(self, chain):
        """A published model of some data, that went on from another or from none."""

        def run(data, base=None, version=None):
            model = chain.put(standard_artifacts.Model)
            inputs = {"examples": [data[0]], "transform_graph": [data[1]]}
            if base is not None:
                inputs["base_model"] = [base]
            chain.run("Trainer", inputs, {"model": [model]})
            chain.models.append(model)
            chain.push(model, version, chain.bless(model, is_blessed=version is not None))
            return model

        return run

    def served(self, chain, data, directory="") -> list[int]:
        found = ServedModel(str(directory)).resolve_artifacts(
            chain.store,
            {
                "examples": [data[0]],
                "transform_graph": [data[1]],
                "model": list(chain.models),
                "model_blessing": list(chain.blessings),
                "pushed_model": list(chain.pushed),
            },
        )
        assert all(not found[key] for key in found if key != "model")
        return [m.id for m in found["model"]]

    @pytest.fixture
    def directory(self, tmp_path):
        """A serving directory whose stable version is 1, although there is a 2."""
        folder = tmp_path / "serving"
        for version in (1, 2):
            (folder / str(version)).mkdir(parents=True)
        text = '{"stable": 1, "canary": null, "pinned": true, "changes": []}'
        (folder / "labels.json").write_text(text)
        return folder

    def test_a_first_run_goes_on_from_none(self, chain, data, directory, tmp_path):
        assert self.served(chain, data[0]) == []
        assert self.served(chain, data[0], tmp_path / "nowhere") == []

    def test_it_is_the_stable_version(self, chain, data, train, directory):
        first = train(data[0], version=1)
        train(data[1], first, version=2)
        assert self.served(chain, data[2], directory) == [first.id]

    def test_without_labels_it_is_the_latest_blessed(self, chain, data, train):
        first = train(data[0], version=1)
        second = train(data[1], first, version=2)
        train(data[1], first)  # not blessed
        assert self.served(chain, data[2]) == [second.id]

    def test_a_repeated_run_goes_on_from_what_it_went_on_from(self, chain, data, train, directory):
        first = train(data[0], version=1)
        train(data[1], first, version=2)
        assert self.served(chain, data[1], directory) == [first.id]
        assert self.served(chain, data[1]) == [first.id]
        assert self.served(chain, data[0], directory) == []

    def test_the_same_examples_transformed_anew_are_others(self, chain, data, train):
        first = train(data[0], version=1)
        assert self.served(chain, (data[0][0], data[1][1])) == [first.id]
