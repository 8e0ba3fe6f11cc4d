"""What goes wrong between a command and a server, injected: each has an error of its own."""

import json
import os
import socket
import subprocess
import sys

import pytest
from kubeflow_api import Fault, KubeflowApi, serving
from kubeflow_forms import Refused
from kubeflow_store import Store

from ordain.errors import ConfigError, InfrastructureError


def runs(ordain, url, *words):
    return ordain("cluster", "runs", "--host", url, *words)


class TestConnection:
    def test_nobody_listens(self, ordain):
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{held.getsockname()[1]}"
            with pytest.raises(InfrastructureError, match=f"no connection to {url}") as caught:
                runs(ordain, url)
        assert "refused" in caught.value.message
        assert caught.value.hint.startswith("kubectl -n kubeflow port-forward svc/ml-pipeline 8888")

    def test_a_host_that_is_not(self, ordain):
        with pytest.raises(InfrastructureError, match="no connection to http://nowhere.invalid"):
            runs(ordain, "http://nowhere.invalid")

    def test_a_connection_that_breaks_is_tried_again(self, api, ordain):
        api.faults.append(Fault("drop", path="/runs", times=2))
        assert runs(ordain, api.url).exit_code == 0
        assert len(api.sent("GET", "/runs")) == 3

    def test_one_that_breaks_while_a_run_is_started_is_not(self, api, project, ordain):
        api.faults.append(Fault("drop", path="/v2beta1/runs"))
        folder = project()
        with pytest.raises(InfrastructureError, match="may have been carried out") as caught:
            ordain("submit", folder, "--host", api.url)
        assert len(api.sent("POST", "/runs")) == 1
        assert caught.value.hint == f"ordain cluster runs {folder} --host {api.url}"

    def test_no_answer_in_time(self, api, ordain, monkeypatch):
        monkeypatch.setattr("ordain.kubeflow.client.server.READ_S", 0.2)
        api.faults.append(Fault("hang", path="/runs"))
        with pytest.raises(InfrastructureError, match=r"timed out"):
            runs(ordain, api.url)

    def test_a_gateway_that_recovers(self, api, ordain):
        api.faults.append(Fault("no healthy upstream", path="/runs", times=3))
        assert runs(ordain, api.url).exit_code == 0

    def test_a_gateway_that_does_not(self, api, ordain):
        api.faults.append(Fault("no healthy upstream", path="/runs"))
        with pytest.raises(InfrastructureError, match=r"failed \(503\): no healthy upstream"):
            runs(ordain, api.url)
        assert len(api.sent("GET", "/runs")) == 4


class TestTls:
    def test_an_authority_nobody_knows(self, tls, ordain):
        with serving(KubeflowApi(), tls) as api:
            with pytest.raises(InfrastructureError, match="no TLS connection") as caught:
                runs(ordain, api.url)
        assert "certificate verify failed" in caught.value.message
        assert caught.value.hint.startswith("kubeflow.ca_file in pipeline.yaml")

    def test_the_authority_of_the_configuration(self, tls, certificate, project, told):
        with serving(KubeflowApi(), tls) as api:
            folder = project(ca_file=str(certificate), host=api.url)
            assert told("submit", folder)["run_id"] in api.store.runs

    def test_a_server_without_tls(self, api, ordain):
        with pytest.raises(InfrastructureError, match="no TLS connection") as caught:
            runs(ordain, api.url.replace("http://", "https://"))
        assert caught.value.hint.startswith("http:// instead of https://")

    def test_a_file_that_is_not_there(self, api, project, ordain):
        folder = project(ca_file="missing.pem", host=api.url)
        with pytest.raises(ConfigError, match=r"kubeflow.ca_file: .*missing.pem cannot be read"):
            ordain("submit", folder)


class TestWhoAsks:
    def test_a_token_of_the_environment(self, project, told, monkeypatch):
        with serving(KubeflowApi(tokens={"right"})) as api:
            folder = project(host=api.url, auth={"token_env": "KFP_TOKEN"})
            monkeypatch.setenv("KFP_TOKEN", "right")
            told("cluster", "schedule", "list", folder)
            assert {r.headers["authorization"] for r in api.requests} == {"Bearer right"}

    def test_a_token_that_expired(self, project, ordain, monkeypatch):
        with serving(KubeflowApi(tokens={"right"})) as api:
            folder = project(host=api.url, auth={"token_env": "KFP_TOKEN"})
            monkeypatch.setenv("KFP_TOKEN", "wr0ng-secret")
            with pytest.raises(ConfigError, match=r"authentication failed \(401\)") as caught:
                ordain("cluster", "runs", folder)
        assert "the token in the environment variable KFP_TOKEN" in caught.value.message
        assert "wr0ng-secret" not in str(caught.value)

    def test_no_credentials(self, ordain):
        with serving(KubeflowApi(tokens={"right"})) as api:
            with pytest.raises(ConfigError, match="sent: no credentials") as caught:
                runs(ordain, api.url)
        assert "kubeflow.auth" in caught.value.hint

    def test_a_token_that_is_not_set(self, api, project, ordain):
        folder = project(host=api.url, auth={"token_env": "KFP_TOKEN"})
        with pytest.raises(ConfigError, match="environment variable KFP_TOKEN is not set"):
            ordain("cluster", "runs", folder)
        assert api.requests == []

    def test_a_token_that_no_header_can_carry(self, api, project, ordain, monkeypatch):
        folder = project(host=api.url, auth={"token_env": "KFP_TOKEN"})
        monkeypatch.setenv("KFP_TOKEN", "one\nHost: evil")
        with pytest.raises(ConfigError, match="cannot be sent in a header") as caught:
            ordain("cluster", "runs", folder)
        assert "evil" not in str(caught.value)

    def test_a_token_file_is_read_for_each_request(self, project, ordain, tmp_path, monkeypatch):
        token = tmp_path / "token"
        token.write_text("first\n")
        server = KubeflowApi(tokens={"first"})
        with serving(server) as api:
            folder = project(host=api.url, auth={"token_file": str(token)})
            real = api.store.create_pipeline

            def renewed(body):
                # Kubernetes renews the token while the command runs.
                token.write_text("second\n")
                server.tokens = {"second"}
                return real(body)

            monkeypatch.setattr(api.store, "create_pipeline", renewed)
            assert ordain("submit", folder).exit_code == 0
            sent = [r.headers["authorization"] for r in api.requests]
            assert (sent[0], sent[-1]) == ("Bearer first", "Bearer second")

    def test_a_token_file_that_vanishes(self, project, ordain, tmp_path, monkeypatch):
        token = tmp_path / "token"
        token.write_text("first\n")
        with serving(KubeflowApi(tokens={"first"})) as api:
            real = api.store.list_experiments

            def vanish(query):
                token.unlink()
                return real(query)

            monkeypatch.setattr(api.store, "list_experiments", vanish)
            folder = project(host=api.url, auth={"token_file": str(token)})
            with pytest.raises(ConfigError, match="No such file or directory") as caught:
                ordain("submit", folder)
        assert str(token) in caught.value.message

    def test_a_token_file_that_is_empty(self, api, project, ordain, tmp_path):
        (tmp_path / "token").write_text("\n")
        folder = project(host=api.url, auth={"token_file": str(tmp_path / "token")})
        with pytest.raises(ConfigError, match=r"auth.token_file: .* is empty"):
            ordain("cluster", "runs", folder)

    def test_cookies(self, project, told, monkeypatch):
        monkeypatch.setenv("KFP_COOKIES", "authservice_session=abc")
        with serving(KubeflowApi(cookies={"authservice_session=abc"})) as api:
            folder = project(host=api.url, auth={"cookies_env": "KFP_COOKIES"})
            assert told("submit", folder)["uploaded"] is True
            assert all("authorization" not in r.headers for r in api.requests)

    def test_what_another_program_left_is_not_sent(self, api, tmp_path):
        context = tmp_path / ".config" / "kfp" / "context.json"
        context.parent.mkdir(parents=True)
        left = {
            "namespace": "theirs",
            "client_authentication_cookie": "session=theirs",
            "client_authentication_header_name": "x-left",
            "client_authentication_header_value": "theirs",
        }
        context.write_text(json.dumps(left))
        # A process of its own: the SDK looks for that file when it is imported.
        words = ["cluster", "runs", "--host", api.url]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "ordain.cli.main", *words],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"HOME": str(tmp_path)},
        )
        assert (done.returncode, done.stdout) == (0, "no runs\n")
        assert api.requests
        assert "theirs" not in json.dumps([[r.headers, r.query] for r in api.requests])
        assert json.loads(context.read_text()) == left

    @pytest.mark.parametrize("kind", ["login", "page"])
    def test_a_login_page(self, api, ordain, kind):
        api.faults.append(Fault(kind))
        with pytest.raises(ConfigError, match="returned a web page") as caught:
            runs(ordain, api.url)
        assert ("dex.example" in caught.value.message) == (kind == "login")
        assert "ends in /pipeline" in caught.value.hint

    def test_a_login_page_half_way(self, api, ordain):
        api.faults.append(Fault("page", path="/runs"))
        with pytest.raises(ConfigError, match="returned a web page"):
            runs(ordain, api.url)


class TestNamespaces:
    @pytest.fixture
    def shared(self):
        with serving(KubeflowApi(Store(is_multi_user=True))) as server:
            yield server

    def test_none_is_named(self, shared, ordain):
        with pytest.raises(ConfigError, match="a namespace is required") as caught:
            runs(ordain, shared.url)
        assert caught.value.hint.startswith("--namespace")

    def test_somebody_elses(self, shared, ordain):
        with pytest.raises(ConfigError, match="permission denied in namespace 'prod'") as caught:
            runs(ordain, shared.url, "--namespace", "prod")
        assert "is not authorized" in caught.value.message
        assert "kubeflow-edit" in caught.value.hint

    def test_what_cannot_be_one(self, shared, ordain):
        with pytest.raises(ConfigError, match="is not a namespace"):
            runs(ordain, shared.url, "--namespace", "My Team")
        assert shared.requests == []

    def test_a_server_of_one_user_is_sent_none(self, api, ordain):
        assert runs(ordain, api.url, "--namespace", "team").exit_code == 0
        assert all("namespace" not in r.query for r in api.requests)

    def test_an_upload_that_is_not_allowed(self, shared, project, ordain, monkeypatch):
        shared.store.add_experiment("Default", "team")

        def refuse(*_):
            raise Refused(400, "pipeline upload denied: permission to create is required")

        # The upload paths answer 400 to everything.
        monkeypatch.setattr(shared.store, "upload_version", refuse)
        with pytest.raises(ConfigError, match=r"permission denied in namespace 'team' \(400\)"):
            ordain("submit", project(), "--host", shared.url, "--namespace", "team")


class TestServers:
    def test_one_of_version_1(self, ordain):
        with serving(KubeflowApi(version="1.8.5", paths=("v1beta1",))) as api:
            with pytest.raises(ConfigError, match=r"not .* of version 2: found 1.8.5"):
                runs(ordain, api.url)

    def test_one_of_version_3(self, ordain):
        with serving(KubeflowApi(version="3.0.0")) as api:
            with pytest.raises(ConfigError, match=r"not .* of version 2: found 3.0.0"):
                runs(ordain, api.url)

    def test_its_404_is_no_missing_run(self, ordain):
        with serving(KubeflowApi(paths=())) as api:
            with pytest.raises(ConfigError, match="found nothing of Kubeflow Pipelines"):
                ordain("cluster", "cancel", "r1", "--host", api.url)

    def test_one_that_does_not_tell(self, ordain):
        with serving(KubeflowApi(version="unknown")) as api:
            assert runs(ordain, api.url).exit_code == 0

    def test_another_program(self, ordain):
        with serving(KubeflowApi(paths=())) as api:
            with pytest.raises(ConfigError, match="found nothing of Kubeflow Pipelines") as caught:
                runs(ordain, api.url)
        assert "/pipeline" in caught.value.hint

    def test_an_answer_that_is_not_of_the_api(self, api, project, told, ordain):
        sent = told("submit", project(), "--host", api.url)
        api.store.runs[sent["run_id"]].created_at = "yesterday"
        with pytest.raises(InfrastructureError, match="returned an unexpected response"):
            runs(ordain, api.url)


class TestAddresses:
    @pytest.mark.parametrize("host", ["kubeflow.example", "ftp://kubeflow.example", "http://"])
    def test_what_is_none(self, ordain, host):
        with pytest.raises(ConfigError, match="must begin with http:// or https://"):
            runs(ordain, host)

    def test_a_password_in_it(self, ordain):
        with pytest.raises(ConfigError, match="credentials do not belong") as caught:
            runs(ordain, "https://ada:s3cret@kubeflow.example")
        assert "s3cret" not in str(caught.value)

    def test_there_is_none(self, ordain, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match="no Kubeflow Pipelines server: neither") as caught:
            ordain("cluster", "runs")
        assert "port-forward" in caught.value.hint

    def test_the_project_of_this_folder(self, api, project, told, monkeypatch):
        monkeypatch.chdir(project(host=api.url))
        assert told("cluster", "runs") == []

    def test_a_path_and_a_slash_at_the_end(self, api, ordain):
        assert runs(ordain, f"{api.url}/").exit_code == 0
        with pytest.raises(ConfigError, match="found nothing of Kubeflow Pipelines"):
            runs(ordain, f"{api.url}/pipeline/")
        assert api.requests[-1].path.startswith("/pipeline/apis/")
