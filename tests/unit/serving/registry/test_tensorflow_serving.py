"""TensorFlow Serving's configuration, parsed by its own protos."""

import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from ordain.serving.registry import manifests
from ordain.serving.registry.label_file import Labels
from ordain.serving.registry.labels import promote, rollback, set_canary
from ordain.serving.registry.tensorflow_serving import BATCHING, models_config


def read(path):
    parsed = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    (config,) = parsed.model_config_list.config
    return config


def served(base):
    config = read(base / "tensorflow_serving" / "models.config")
    return list(config.model_version_policy.specific.versions), dict(config.version_labels)


def test_follows_every_change(push, base):
    push()
    assert served(base) == ([1], {"stable": 1})
    push()
    # The version before stays loaded: it serves until the new one is.
    assert served(base) == ([1, 2], {"stable": 2})
    push()
    assert served(base) == ([2, 3], {"stable": 3})
    set_canary(base, 1, 0.1, "ada", "")
    assert served(base) == ([1, 2, 3], {"stable": 3, "canary": 1})
    rollback(base, "ada", "")
    assert served(base) == ([1, 2, 3], {"stable": 2, "canary": 1})
    promote(base, 3, "ada", "")
    assert served(base) == ([1, 2, 3], {"stable": 3, "canary": 1})


def test_names_the_directory_as_each_server_sees_it(push, base):
    push()
    folder = base / "tensorflow_serving"
    here, container = read(folder / "models.config"), read(folder / "container.config")
    assert (here.name, here.base_path) == ("toy", str(base))
    assert (container.name, container.base_path) == ("toy", "/mnt/models")
    assert here.model_platform == "tensorflow"
    assert "max_batch_size" in (folder / "batching.config").read_text()


def test_a_label_on_a_missing_version_is_left_out():
    text = models_config("toy", "/x", [2], Labels(stable=1))
    parsed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    assert not parsed.model_config_list.config[0].version_labels


def test_an_empty_directory_takes_what_comes():
    text = models_config("toy", '/with "quotes" and \\', [], Labels())
    parsed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    config = parsed.model_config_list.config[0]
    assert config.model_version_policy.latest.num_versions == 1
    assert config.base_path == '/with "quotes" and \\'


def test_batch_sizes_end_with_the_largest():
    sizes = [int(line.split()[1]) for line in BATCHING.splitlines() if "allowed" in line]
    assert sizes == sorted(sizes)
    assert f"max_batch_size {{ value: {sizes[-1]} }}" in BATCHING


class TestEmit:
    def test_compose_mounts_the_directory_where_the_configuration_says(self, base):
        service = yaml.safe_load(manifests.compose_file("toy", base))["services"][
            "tensorflow-serving"
        ]
        (volume,) = service["volumes"]
        assert (volume["source"], volume["target"]) == (str(base), "/mnt/models")
        assert volume["read_only"] is True
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        folder = "/mnt/models/tensorflow_serving"
        assert f"--model_config_file={folder}/container.config" in service["command"]
        assert "--model_config_file_poll_wait_seconds=1" in service["command"]

    def test_a_deployment_and_its_service_belong_together(self):
        text = manifests.kubernetes_manifest("toy", "models-claim")
        deployment, service = yaml.safe_load_all(text)
        assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
        spec = deployment["spec"]
        assert spec["replicas"] == 2
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
        assert service["spec"]["selector"] == spec["selector"]["matchLabels"]
        (container,) = spec["template"]["spec"]["containers"]
        (mount,) = container["volumeMounts"]
        assert (mount["mountPath"], mount["readOnly"]) == ("/mnt/models", True)
        (volume,) = spec["template"]["spec"]["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == "models-claim"
        names = {port["name"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} == names
        assert container["readinessProbe"]["httpGet"]["path"] == "/v1/models/toy/labels/stable"

    def test_an_inference_service_follows_the_labels(self):
        text = manifests.kserve_manifest("toy", "claim/serving/toy")
        service = yaml.safe_load(text)
        assert service["kind"] == "InferenceService"
        model = service["spec"]["predictor"]["model"]
        assert model["storageUri"] == "pvc://claim/serving/toy"
        assert any(argument.startswith("--model_config_file=") for argument in model["args"])
        assert not any(argument.startswith("--port=") for argument in model["args"])
