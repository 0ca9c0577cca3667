"""The endpoints for programs and the MCP server, through real clients over the loopback."""

import asyncio
import base64
import json
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from tiny import picture

from app import tools
from app.page import build
from app.registry import Registry
from app.scenes import examples
from app.server import launch

ROOT = Path(__file__).parents[2]
PICTURES = [example.path for example in examples()]
ENDPOINTS = {"/compare", "/answer", "/report", "/report_open"} | {
    f"/inspect_{name}" for name in ("start", "run", "pause", "cancel", "results", "pair", "vote", "export", "delete")
}


@pytest.fixture(scope="module")
def address(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page as ``python app.py --mcp`` serves it, on a tiny model."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RESPRUNE_JOBS", str(tmp_path_factory.mktemp("jobs")))
        demo = build(registry)
        tools.add(demo, registry)
        yield launch(demo, quiet=True, mcp=True)
        demo.close(verbose=False)


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, verbose=False)


def started(client: Client, pictures: list[Path], **options: Any) -> str:
    files = [handle_file(picture) for picture in pictures]
    key, problems = client.predict(
        files, question="What is it?", keep="9", max_new_tokens=4, api_name="/inspect_start", **options
    )
    assert problems == []
    return key


def test_every_action_is_public_with_named_typed_values_and_nothing_else_is(client: Client) -> None:
    api = client.view_api(return_format="dict", print_info=False)
    names = {name for name in api["named_endpoints"] if not name.startswith("/tool_")}
    assert names >= ENDPOINTS
    assert names <= ENDPOINTS | {"/sweep"}
    for name in ENDPOINTS:
        endpoint = api["named_endpoints"][name]
        assert len(endpoint["description"]) > 20, name
        for value in (*endpoint["parameters"], *endpoint["returns"]):
            assert len(value["label"]) > 3 and not value["label"].startswith(("value_", "parameter_")), (name, value)
        for value in endpoint["parameters"]:
            assert not value["parameter_name"].startswith("param_"), (name, value)


def test_one_answer_is_that_of_the_pruned_side(client: Client) -> None:
    given = {"image": handle_file(PICTURES[0]), "question": "What animal is it?", "keep": "25%", "max_new_tokens": 4}
    text, figures = client.predict(**given, method="uniform", mass=True, api_name="/answer")
    full, pruned, both = client.predict(**given, method="uniform", mass=True, api_name="/compare")
    assert text == pruned == figures["answer"] == both["pruned"]["answer"]
    assert (figures["method"], figures["mass"], figures["tokens_kept"]) == ("uniform", True, 9)
    assert full == client.predict(**given | {"keep": "100%"}, api_name="/answer")[0]


def test_a_job_is_begun_run_voted_on_exported_and_deleted(client: Client) -> None:
    key = started(client, PICTURES[:3])
    job = client.submit(key, api_name="/inspect_run")
    assert job.result(timeout=60) == {
        "state": "done",
        "done": 3,
        "total": 3,
        "different": job.result()["different"],
        "errors": 0,
    }
    assert [step["done"] for step in job.outputs()][:2] == [0, 1]
    rows = client.predict(key, api_name="/inspect_results")
    assert [row["image"] for row in rows] == [path.name for path in PICTURES[:3]]
    while pair := client.predict(key, api_name="/inspect_pair"):
        assert set(pair) == {"item", "a", "b", "question"}
        tally = client.predict(key, pair["item"], "a", api_name="/inspect_vote")
    different = sum(not row["same"] for row in rows)
    assert different == 0 or tally["full"] + tally["pruned"] == different
    lines = Path(client.predict(key, "jsonl", api_name="/inspect_export")).read_text().splitlines()
    assert [json.loads(line)["full"] for line in lines] == [row["full"] for row in rows]
    assert client.predict(key, api_name="/inspect_delete") == "deleted"
    with pytest.raises(AppError, match="no job with this key"):
        client.predict(key, api_name="/inspect_results")


def test_a_job_is_paused_goes_on_and_lets_others_in_between(client: Client, address: str, registry: Registry) -> None:
    key = started(client, PICTURES)
    slow = registry.loaded.model.model.language_model.register_forward_pre_hook(lambda *_: time.sleep(0.03))
    try:
        job = client.submit(key, api_name="/inspect_run")
        question = {"image": handle_file(PICTURES[0]), "question": "What?", "keep": "9", "max_new_tokens": 2}
        Client(address, verbose=False).predict(**question, api_name="/answer")
        assert not job.done(), "a question does not wait for the whole job"
        with pytest.raises(AppError, match="running already"):
            Client(address, verbose=False).predict(key, api_name="/inspect_run")
        paused = client.predict(key, api_name="/inspect_pause")
        assert paused["state"] == "paused"
        assert job.result(timeout=30)["state"] == "paused"
    finally:
        slow.remove()
    assert client.predict(key, api_name="/inspect_run")["state"] == "done"


def test_two_users_at_once_get_each_their_own(address: str) -> None:
    found: dict[int, Any] = {}

    def visit(number: int) -> None:
        mine = Client(address, verbose=False)
        key = started(mine, [PICTURES[number]])
        mine.predict(key, api_name="/inspect_run")
        found[number] = key, mine.predict(key, api_name="/inspect_results")

    visitors = [threading.Thread(target=visit, args=(number,)) for number in (0, 1)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(60)
    assert [found[n][1][0]["image"] for n in (0, 1)] == [PICTURES[0].name, PICTURES[1].name]
    assert found[0][0] != found[1][0]


def test_a_folder_of_the_server_is_closed_to_programs_too(client: Client) -> None:
    with pytest.raises(AppError, match="closed to visitors"):
        client.predict([], str(PICTURES[0].parent), "What?", api_name="/inspect_start")


def test_a_report_comes_as_two_files_and_is_opened_again(client: Client, tmp_path: Path) -> None:
    given = {"image": handle_file(PICTURES[0]), "question": "What <b>is</b> it?", "keep": "9", "max_new_tokens": 4}
    html, data = client.predict(**given, api_name="/report")
    assert "What &lt;b&gt;is&lt;/b&gt; it?" in Path(html).read_text()
    record = client.predict(handle_file(data), api_name="/report_open")
    assert record["question"] == given["question"]
    assert record["pruned"]["tokens_kept"] == 9
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(AppError, match="no report of ResPrune"):
        client.predict(handle_file(tmp_path / "no.json"), api_name="/report_open")


@pytest.mark.parametrize(
    ("header", "status"),
    [("Content-Length: 2000000000", 413), ("Transfer-Encoding: chunked", 411)],
)
def test_two_gigabytes_are_refused_by_their_first_lines(address: str, header: str, status: int) -> None:
    host, port = re.fullmatch(r"http://([\d.]+):(\d+)/", address).groups()
    lines = [
        "POST /gradio_api/upload HTTP/1.1",
        f"Host: {host}:{port}",
        "Content-Type: multipart/form-data; boundary=x",
    ]
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, header, "", ""]).encode())
        answer = connection.recv(1000)  # not a byte of the file has been sent
    assert answer.startswith(f"HTTP/1.1 {status}".encode())


def test_uploads_and_downloads_are_deleted(registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    monkeypatch.setenv("RESPRUNE_JOBS", str(tmp_path / "jobs"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    demo = build(registry)
    assert demo.delete_cache == (600, 3600), "every ten minutes, what is older than an hour"
    demo.delete_cache = (5, 1)  # for who has no hour
    address = launch(demo, quiet=True)
    try:
        mine = Client(address, verbose=False)
        picture(7).save(tmp_path / "mine.png")  # not one that the page keeps for itself
        key = started(mine, [tmp_path / "mine.png"])
        mine.predict(key, "csv", api_name="/inspect_export")

        def kept() -> list[str]:
            ours = ("mine.png", "resprune-results.csv")
            return [
                path.name for place in ("gradio", "tmp") for path in (tmp_path / place).rglob("*") if path.name in ours
            ]

        assert sorted(kept()) == ["mine.png", "resprune-results.csv", "resprune-results.csv"], "Gradio makes a copy"
        until = time.monotonic() + 30
        while kept() and time.monotonic() < until:
            time.sleep(0.2)
        assert kept() == []
        assert [path.name for path in (tmp_path / "jobs").rglob("0000")] == ["0000"], "the job has its own copy"
        mine.predict(key, api_name="/inspect_delete")
        assert list((tmp_path / "jobs").iterdir()) == []
    finally:
        demo.close(verbose=False)


def test_the_documents_client_runs_as_it_stands(address: str, capsys: pytest.CaptureFixture) -> None:
    page = (ROOT / "docs" / "use.md").read_text()
    code = re.search(r"```python\n(from gradio_client.*?)```", page, flags=re.DOTALL)[1]
    assert "http://127.0.0.1:7860" in code
    exec(code.replace("http://127.0.0.1:7860", address).replace("assets/", f"{ROOT}/assets/"), {})
    assert "visual tokens" in capsys.readouterr().out


def call(address: str, tool: str, arguments: dict[str, Any]) -> tuple[list[Any], Any]:
    """The tools that an MCP client is offered, and what one of them says."""

    async def session() -> tuple[list[Any], Any]:
        where = f"{address}gradio_api/mcp/"
        async with streamable_http_client(where) as (read, write, _), ClientSession(read, write) as opened:
            await opened.initialize()
            offered = (await opened.list_tools()).tools
            return offered, await opened.call_tool(tool, arguments)

    return asyncio.run(session())


def test_an_mcp_client_is_offered_two_tools_and_uses_them(address: str) -> None:
    image = "data:image/png;base64," + base64.b64encode(PICTURES[0].read_bytes()).decode()
    given = {"image": image, "question": "What animal is it?", "keep": "9"}
    offered, said = call(address, "compare", given)
    assert {tool.name for tool in offered} == {"answer", "compare"}
    for tool in offered:
        assert "visual tokens" in tool.description
        assert set(tool.inputSchema["required"]) == {"image", "question"}
        assert all(about["description"] for about in tool.inputSchema["properties"].values())
    assert not said.isError
    both = json.loads(said.content[0].text)
    assert (both["full"]["tokens_kept"], both["pruned"]["tokens_kept"]) == (36, 9)
    _, one = call(address, "answer", given)
    assert json.loads(one.content[0].text)["answer"] == both["pruned"]["answer"]


@pytest.mark.parametrize(
    ("tool", "change", "said"),
    [
        ("answer", {"keep": "0"}, "budget"),
        ("compare", {"question": " "}, "empty"),
        ("inspect_start", {}, "Unknown tool"),
    ],
)
def test_an_mcp_client_is_told_what_was_wrong(address: str, tool: str, change: dict[str, Any], said: str) -> None:
    image = "data:image/png;base64," + base64.b64encode(PICTURES[0].read_bytes()).decode()
    _, answer = call(address, tool, {"image": image, "question": "What?", **change})
    assert answer.isError
    assert said in answer.content[0].text
