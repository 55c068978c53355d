"""Dagster's web server as `imagegenx dev` starts it, called by the browsers and the programs of others."""

import http.client
import json
import os
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from imagegenx_cli.embedded_dagster import dagster_instance
from tests.support.dagster_web_server import ask, web_server
from tests.support.web_server import reply, running_web_server

MUTATION = 'mutation { setConcurrencyLimit(concurrencyKey: "stolen", limit: 1) }'
LIMITS = "{ instance { concurrencyLimits { concurrencyKey } } }"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with dagster_instance(home):
        pass
    dagster = {"DAGSTER_HOME": str(home / "dagster"), "IMAGEGENX_ALERTS__UI_URL": "https://dagster.example.com/"}
    with web_server(os.environ | {"IMAGEGENX_HOME": str(home)} | dagster) as address:
        yield address
        assert ask(address, LIMITS)["instance"]["concurrencyLimits"] == [], "no attack has changed anything"


def call(server, path="/server_info", method="GET", body=None, host=None, **headers):
    """The status of a call with exactly these headers."""
    address = urlsplit(server)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    for value in [address.netloc] if host is None else host:
        connection.putheader("Host", value)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.putheader("Content-Length", str(len(body or "")))
    connection.endheaders((body or "").encode())
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.parametrize(
    "host",
    [
        ["attacker.example"],
        ["attacker.example:3000"],
        ["localhost.attacker.example"],
        ["127.0.0.1.nip.io"],
        ["localhost@attacker.example"],
        ["127.0.0.1", "attacker.example"],
        ["0.0.0.0"],
        [""],
    ],
)
def test_a_foreign_host_name_is_refused(server, host):
    assert call(server, host=host) in (400, 403)


@pytest.mark.parametrize("host", ["localhost:3000", "LOCALHOST", "localhost.", "[::1]:3000", "dagster.example.com"])
def test_the_names_of_this_machine_and_of_the_configured_page_are_answered(server, host):
    assert call(server, host=[host]) == 200


@pytest.mark.parametrize("accept", ["*/*", "text/html", "image/avif,image/webp"])
@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "//graphql", "/%67raphql"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_address_runs_a_mutation(server, method, path, accept):
    status = call(server, f"{path}?query={quote(MUTATION)}", method, Accept=accept, Sec_Fetch_Site="same-origin")
    assert status == 405


def test_no_form_of_another_page_runs_a_mutation(server):
    body = json.dumps({"query": MUTATION})
    for headers in (
        {"Content_Type": "application/json", "Origin": "https://attacker.example"},
        {"Content_Type": "application/json", "Origin": "null"},
        {"Content_Type": "application/json", "Origin": "http://["},
        {"Content_Type": "application/json", "Origin": "http://127.0.0.1:8000"},
        {"Content_Type": "application/json", "Sec_Fetch_Site": "cross-site"},
        {"Content_Type": "application/json", "Sec_Fetch_Site": "same-site"},
    ):
        assert call(server, "/graphql", "POST", body, **headers) == 403, headers
    for kind in ("text/plain", "application/x-www-form-urlencoded", "text/plain; application/json", ""):
        assert call(server, f"/graphql?query={quote(MUTATION)}", "POST", body, Content_Type=kind) == 415, kind


def test_what_other_sites_embed_is_refused_and_a_link_is_followed(server):
    fetched = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}
    framed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    report = ("/report_asset_materialization/x", "POST", "{}")
    assert [call(server, **headers) for headers in (fetched, framed, link)] == [403, 403, 200]
    assert call(server, *report, Origin="https://attacker.example") == 403
    assert call(server, *report, **link) == 403


@pytest.mark.parametrize("origin", ["https://attacker.example", "null", "http://127.0.0.1:1", "http://localhost"])
def test_a_websocket_of_another_site_is_refused(server, origin):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{server.replace('http', 'ws')}/graphql", origin=origin, subprotocols=["graphql-ws"])
    assert refused.value.response.status_code == 403


def test_a_websocket_of_these_pages_and_of_a_program_is_served(server):
    for origin in (server, None):
        with connect(f"{server.replace('http', 'ws')}/graphql", origin=origin, subprotocols=["graphql-ws"]) as socket:
            socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(socket.recv(timeout=60)) == {"type": "connection_ack"}


def test_these_pages_work_and_no_other_page_reaches_them(server, page):
    """In Chromium: the pages, their GraphQL and WebSocket; a page of another site, a rebound name, a picture."""
    sockets, failed = [], []
    page.on("websocket", lambda socket: sockets.append(socket))
    page.on("response", lambda answer: failed.append(answer.url) if answer.status in (403, 405, 415) else None)
    page.goto(f"{server}/runs")
    expect(page.get_by_text("No runs to display").or_(page.get_by_text("No runs")).first).to_be_visible()
    result = page.evaluate(
        """() => new Promise((done) => {
            const socket = new WebSocket(`ws://${location.host}/graphql`, "graphql-ws");
            socket.onopen = () => socket.send(JSON.stringify({type: "connection_init"}));
            socket.onmessage = (message) => done(JSON.parse(message.data).type);
            socket.onerror = () => done("error");
        })"""
    )
    assert (result, failed) == ("connection_ack", [])
    attack = f"{server}/graphql?query={quote(MUTATION)}"
    page.evaluate("url => new Promise((done) => { const i = new Image(); i.onerror = done; i.src = url; })", attack)
    assert failed == [attack]

    with running_web_server({"/": reply(content_type="text/html", body=b"<p>hello")}) as other:
        page.goto(other.url)
        opened = page.evaluate(
            """url => new Promise((done) => {
                const socket = new WebSocket(url, "graphql-ws");
                socket.onopen = () => done("open");
                socket.onerror = () => done("refused");
            })""",
            f"{server.replace('http', 'ws')}/graphql",
        )
        assert opened == "refused"
        sent = "([url, body]) => fetch(url, {method: 'POST', mode: 'no-cors', body}).then((answer) => answer.type)"
        page.evaluate(sent, [f"{server}/graphql", json.dumps({"query": MUTATION})])
        page.evaluate(sent, [attack, ""])
