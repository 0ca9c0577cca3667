"""Where the page is served: odd settings get one true sentence before the page is up, or work, behind any proxy."""

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from serving import served

from app.address import Address, directly, reached_directly, root_path
from app.model_choice import first_model
from app.registry import Registry

ROOT = Path(__file__).parents[2]
NOWHERE = "127.0.0.1:9"  # where nothing listens


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without a proxy, an address or a model, as it is again afterwards."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("HOST", "PORT", "GRADIO_ROOT_PATH", "RESPRUNE_MODEL"):
            monkeypatch.delenv(name)
    for name in ("no_proxy", "NO_PROXY"):  # which the program itself may set
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("", "abc", r"^PORT is 'abc'; give a number such as 7860\.$"),
        ("", "-1", r"^PORT is '-1'; give a number"),
        ("", "99999", r"^PORT is '99999'; give a number from 1 to 65535 such as 7860, or 0 for a free one\.$"),
        ("", "9" * 5000, r"^PORT is '9{40}'; give a number from 1 to 65535"),
        (
            "no.such.host.invalid",
            "",
            r"^HOST is 'no\.such\.host\.invalid', a name or address that this machine does not",
        ),
        ("a" * 300, "", r"^HOST is 'a{40}', a name or address that this machine does not know; give 127\.0\.0\.1 for"),
        ("127.0.0.1:80", "", "^HOST is '127.0.0.1:80', a name or address that this machine does not know"),
        (
            "192.0.2.1",
            "",
            r"^HOST is '192\.0\.2\.1', which is no address of this machine \(.*\); give 127\.0\.0\.1 for",
        ),
        ("192.0.2.1", "7860", r"^HOST is '192\.0\.2\.1', which is no address of this machine"),
    ],
)
def test_an_address_that_is_none_is_named(clean: pytest.MonkeyPatch, host: str, port: str, says: str) -> None:
    clean.setenv("HOST", host)
    clean.setenv("PORT", port)
    with pytest.raises(SystemExit, match=says):
        Address.of_environment()


def test_a_port_that_is_taken_is_named_and_one_of_the_host_that_is_asked_for(clean: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        clean.setenv("PORT", str(taken.getsockname()[1]))
        with pytest.raises(SystemExit, match=r"^Port \d+ is taken or may not be used"):
            Address.of_environment()


def test_addresses_that_work(clean: pytest.MonkeyPatch) -> None:
    assert Address.of_environment() == Address(None, None)
    clean.setenv("PORT", "0")
    chosen = Address.of_environment()
    assert chosen.host is None and chosen.port > 1023
    clean.setenv("HOST", "0.0.0.0")
    assert Address.of_environment().host == "0.0.0.0"
    clean.setenv("PORT", f" 0{chosen.port} ")
    assert Address.of_environment().port == chosen.port


@pytest.mark.skipif(not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists(), reason="there is no IPv6 here")
@pytest.mark.parametrize("host", ["::", "[::]", "::1"])
def test_an_address_of_ipv6_works(clean: pytest.MonkeyPatch, host: str) -> None:
    clean.setenv("HOST", host)
    assert Address.of_environment() == Address(f"[{host.strip('[]')}]", None)


@pytest.mark.parametrize(
    ("given", "path"),
    [("", ""), ("/", ""), ("app", "/app"), ("/app/", "/app"), ("https://x.org/app/", "https://x.org/app")],
)
def test_a_path_behind_a_proxy_is_taken_as_people_write_it(clean: pytest.MonkeyPatch, given: str, path: str) -> None:
    clean.setenv("GRADIO_ROOT_PATH", given)
    assert root_path() == path


@pytest.mark.parametrize(
    ("model", "quantization", "says"),
    [
        (
            "nope",
            "",
            r"^RESPRUNE_MODEL: There is no model 'nope'; choose one of bundled, .* or give a folder that holds",
        ),
        (str(ROOT), "", r"^RESPRUNE_MODEL is '.*', a folder without config\.json; give one that holds a model\.$"),
        ("", "nope", r"^RESPRUNE_QUANTIZATION is 'nope'; give 8bit or 4bit, or leave it out\.$"),
    ],
)
def test_a_first_model_that_is_none_is_named(
    clean: pytest.MonkeyPatch, model: str, quantization: str, says: str
) -> None:
    clean.setenv("RESPRUNE_MODEL", model)
    clean.setenv("RESPRUNE_QUANTIZATION", quantization)
    with pytest.raises(SystemExit, match=says):
        first_model()


def test_a_first_model_that_there_is(clean: pytest.MonkeyPatch) -> None:
    assert first_model() == ("bundled", None)
    clean.setenv("RESPRUNE_MODEL", "llava-hf/llava-1.5-7b-hf")
    clean.setenv("RESPRUNE_QUANTIZATION", "4bit")
    assert first_model() == ("llava-hf/llava-1.5-7b-hf", "4bit")
    clean.setenv("RESPRUNE_MODEL", str(ROOT / "assets" / "bundled"))
    assert first_model()[0] == str(ROOT / "assets" / "bundled")


def test_all_that_the_operator_set_is_there_again(clean: pytest.MonkeyPatch) -> None:
    theirs = {"http_proxy": f"http://{NOWHERE}", "ALL_PROXY": f"socks5://{NOWHERE}", "FTP_PROXY": "x"}
    for name, value in (theirs | {"NO_PROXY": "example.org, 127.0.0.1"}).items():
        clean.setenv(name, value)
    with directly("[::]"):
        assert httpx.Client()._mounts == {}, "whatever this system itself names"
    assert {name: os.environ[name] for name in theirs} == theirs
    assert os.environ["NO_PROXY"] == "example.org,127.0.0.1,localhost,::1,::"
    assert "no_proxy" not in os.environ


def test_without_a_proxy_nothing_is_set(clean: pytest.MonkeyPatch) -> None:
    with directly("127.0.0.1"):
        pass
    reached_directly()
    assert not [name for name in os.environ if name.lower().endswith("_proxy")]


@pytest.mark.parametrize(
    "proxies",
    [
        {"http_proxy": f"http://{NOWHERE}", "HTTP_PROXY": f"http://{NOWHERE}", "no_proxy": "example.org"},
        {"HTTP_PROXY": f"http://{NOWHERE}"},
        {"ALL_PROXY": f"http://{NOWHERE}", "NO_PROXY": ""},
        {"ALL_PROXY": f"socks5://{NOWHERE}"},
        {"all_proxy": f"socks://{NOWHERE}"},
    ],
    ids=lambda proxies: "-".join(proxies),
)
def test_the_page_is_served_whatever_proxy_the_environment_names(
    clean: pytest.MonkeyPatch, registry: Registry, proxies: dict[str, str]
) -> None:
    for name, value in proxies.items():
        clean.setenv(name, value)
    with served(registry) as address:
        with httpx.Client(trust_env=False) as alone:
            assert "ResPrune" in alone.get(address).text
        if "socks" not in str(proxies):  # for which a client may lack a package
            assert "/answer" in Client(address, verbose=False).view_api(return_format="dict")["named_endpoints"]
    assert {name: os.environ[name] for name in proxies if name.lower() != "no_proxy"}.items() <= proxies.items()


class _Proxy(BaseHTTPRequestHandler):
    """Notes who asks it for anything."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(503)

    do_HEAD = do_POST = do_CONNECT = do_GET

    def log_message(self, *_: object) -> None:
        pass


def test_a_proxy_that_answers_is_not_asked_for_the_page(clean: pytest.MonkeyPatch, registry: Registry) -> None:
    _Proxy.asked = []
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    clean.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
    with served(registry) as address:
        assert httpx.get(address).status_code == 200
        assert httpx.get("http://elsewhere.invalid/").status_code == 503, "and it still is for others"
    proxy.shutdown()
    assert _Proxy.asked == ["http://elsewhere.invalid/"]


def test_below_a_path_the_page_is_served_and_logging_out_keeps_it(
    clean: pytest.MonkeyPatch, registry: Registry
) -> None:
    clean.setenv("GRADIO_ROOT_PATH", "demo/")
    clean.setenv("RESPRUNE_AUTH", "ann:secret")
    with served(registry) as address, httpx.Client(trust_env=False) as visitor:
        visitor.post(f"{address}login", data={"username": "ann", "password": "secret"}).raise_for_status()
        assert f'"root":"{address}demo"' in visitor.get(address).text
        behind = {"x-forwarded-host": "example.org", "x-forwarded-proto": "https"}
        assert visitor.get(f"{address}logout", headers=behind).headers["location"] == "https://example.org/demo"
        assert visitor.get(f"{address}config").status_code == 401, "and it is a logout"


def test_the_program_starts_though_gradio_could_not_be_imported_behind_this_proxy(tmp_path: Path) -> None:
    """And what is wrong with its settings is one sentence then too."""
    environment = os.environ | {"ALL_PROXY": f"socks://{NOWHERE}", "HOST": "192.0.2.1"}
    command = [sys.executable, str(ROOT / "app.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("HOST is '192.0.2.1', which is no address of this machine")
