import gzip
import io
import logging
import threading
import time

import pytest
from PIL import Image

from models.errors import PictureError
from resources.outbound import TransferError, UrlRefusedError
from tests.support.faulty_network import closed_port, silent_listener
from tests.support.web_server import certificate, raw, redirect, reply, running_web_server


@pytest.fixture
def web():
    with running_web_server() as server:
        yield server


def header(length: int | str = "") -> bytes:
    announced = f"Content-Length: {length}\r\n" if length != "" else ""
    return f"HTTP/1.1 200 OK\r\n{announced}\r\n".encode()


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_a_picture_is_fetched_as_it_is_whatever_the_server_calls_it(web, client, picture_format):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, picture_format)
    web.answers["/cat?size=1"] = reply(body=file.getvalue(), content_type="text/html")

    assert client(web.netloc).fetch_picture(f"{web.url}/cat?size=1#top") == file.getvalue()
    assert web.calls[0].headers["host"] == web.netloc
    assert web.calls[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "body", [b"<html>secret</html>", b"", b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>"]
)
def test_what_is_no_picture_is_refused_though_the_server_calls_it_one(web, client, body):
    web.answers["/cat.png"] = reply(body=body, content_type="image/png")

    with pytest.raises(PictureError) as refused:
        client(web.netloc).fetch_picture(f"{web.url}/cat.png")

    assert str(refused.value) == (
        f"{web.url}: the picture cannot be read: it is not one of PNG, JPEG, WEBP, BMP, GIF, or it is damaged."
    )


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(web, client):
    file = io.BytesIO()
    Image.new("1", (4_000, 4_000)).save(file, "PNG")
    web.answers["/"] = reply(body=file.getvalue()[:200])  # the pixels themselves are not even there

    with pytest.raises(PictureError, match="4000×4000 px; 16,000,000 pixels are above the maximum of 1,000,000"):
        client(web.netloc, pictures={"max_input_pixels": 1_000_000}).fetch_picture(web.url)


def test_a_private_address_is_refused_without_a_connection(web, client):
    with pytest.raises(UrlRefusedError, match="host '127.0.0.1' is not on the public internet"):
        client().fetch_picture(f"{web.url}/")

    assert web.calls == []


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"], ["fe80::1%eth0"], ["64:ff9b::7f00:1"]]
)
def test_a_name_with_any_private_address_is_refused_and_the_text_does_not_tell_the_address(client, names, addresses):
    names.table["rebind.example"] = [addresses]

    with pytest.raises(UrlRefusedError, match="host 'rebind.example' is not on the public internet") as refused:
        client().fetch_picture("http://rebind.example/")

    assert not any(address in str(refused.value) for address in addresses)


def test_the_connection_goes_to_the_address_that_was_checked_though_the_name_moves_on(web, client, names, picture):
    web.answers["/"] = reply(body=picture)
    names.table["rebind.example"] = [["127.0.0.1"], ["127.0.0.66"]]

    assert client(f"rebind.example:{web.port}").fetch_picture(f"http://rebind.example:{web.port}/") == picture
    assert names.asked == ["rebind.example"]
    assert web.calls[0].headers["host"] == f"rebind.example:{web.port}"


def test_a_redirect_is_looked_up_and_checked_again(web, client, names):
    """The operator allows one port of the host; the redirect to another is judged as the address deserves."""
    names.table["rebind.example"] = [["127.0.0.1"]]
    web.answers["/"] = redirect("http://rebind.example:8080/")

    with pytest.raises(UrlRefusedError, match="host 'rebind.example' is not on the public internet"):
        client(f"rebind.example:{web.port}").fetch_picture(f"http://rebind.example:{web.port}/")

    assert names.asked == ["rebind.example", "rebind.example"]


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("http://169.254.169.254/latest/meta-data", "host '169.254.169.254' is not on the public internet"),
        ("//[::1]:8000/", "host '::1' is not on the public internet"),
        ("file:///etc/passwd", "scheme 'file'"),
        ("http://me:pass@pictures.example/", "user name"),
        ("http://[", "redirects to what is not a URL"),
        ("", "redirects to nowhere"),
    ],
)
def test_a_redirect_to_what_is_not_allowed_is_refused(web, client, target, rule):
    web.answers["/"] = redirect(target)

    with pytest.raises((UrlRefusedError, TransferError), match=rule.replace("[", r"\[")) as refused:
        client(web.netloc).fetch_picture(web.url)

    assert str(refused.value).startswith(f"{web.url} redirects to")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_without_cookies_and_without_reading_its_body(web, client, picture, status):
    endless = reply(status, location="other.png?x=1", set_cookie="session=1", content_length="999999999999")
    web.answers |= {"/a/cat.png": endless, "/a/other.png?x=1": reply(body=picture)}

    assert client(web.netloc).fetch_picture(f"{web.url}/a/cat.png") == picture
    assert "cookie" not in web.calls[1].headers


def test_three_redirects_are_followed_and_not_a_fourth(web, client, picture):
    web.answers |= {f"/{n}": redirect(f"/{n + 1}") for n in range(4)} | {"/4": reply(body=picture)}

    assert client(web.netloc).fetch_picture(f"{web.url}/1") == picture
    with pytest.raises(TransferError, match="redirects more than 3 times"):
        client(web.netloc).fetch_picture(f"{web.url}/0")


@pytest.mark.parametrize("status", [204, 304, 401, 404, 500])
def test_another_status_is_an_error_that_does_not_repeat_the_answer(web, client, status):
    web.answers["/"] = reply(status, b"" if status in (204, 304) else b"internal detail", x_detail="internal detail")

    with pytest.raises(TransferError) as failed:
        client(web.netloc).fetch_picture(f"{web.url}/")

    assert str(failed.value) == f"{web.url} answered HTTP {status}, not a picture."


@pytest.mark.parametrize("announced", ["", 999_999_999_999])
def test_a_body_beyond_the_maximum_is_cut_off_while_it_streams(web, client, announced):
    sent = []
    web.answers["/"] = raw(header(announced), *[b"x" * 65_536] * 2_000, pause=lambda: sent.append(1))

    with pytest.raises(TransferError, match="sends more than the maximum of 100,000 bytes"):
        client(web.netloc, max_upload_bytes=100_000).fetch_picture(web.url)

    assert len(sent) < 1_000


def test_a_body_shorter_than_announced_is_an_error(web, client, picture):
    web.answers["/"] = raw(header(len(picture) + 1), picture)

    with pytest.raises(TransferError, match="it cut the answer off"):
        client(web.netloc).fetch_picture(web.url)


def test_a_body_longer_than_announced_ends_where_it_was_announced_to(web, client, picture):
    web.answers["/"] = raw(header(len(picture)), picture + b"more")

    assert client(web.netloc).fetch_picture(web.url) == picture


def test_an_encoded_body_is_refused_unread(web, client, picture):
    bomb = gzip.compress(b"\0" * 10_000_000)
    web.answers["/"] = reply(body=bomb, content_encoding="gzip")

    with pytest.raises(TransferError, match="sends 'gzip'-encoded data, though pictures go as they are"):
        client(web.netloc).fetch_picture(web.url)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", header(1_000_000)])
def test_a_server_that_drips_bytes_is_left_when_the_time_for_the_whole_is_over(web, client, start):
    over = threading.Event()
    web.answers["/"] = raw(start, *[b"x"] * 1_000, pause=lambda: over.wait(0.02))
    began = time.monotonic()

    with pytest.raises(TransferError) as failed:
        client(web.netloc, fetch_timeout_s=0.3).fetch_picture(web.url)

    over.set()
    assert str(failed.value) == f"{web.url}: not finished after 0.3 s."
    assert time.monotonic() - began < 15


def test_redirects_share_one_time_limit(web, client):
    over = threading.Event()
    web.answers |= {f"/{n}": lambda h, n=n: (over.wait(0.2), redirect(f"/{n + 1}")(h)) for n in range(4)}

    with pytest.raises(TransferError, match="not finished after 0.5 s"):
        client(web.netloc, fetch_timeout_s=0.5).fetch_picture(f"{web.url}/0")

    over.set()


def test_a_server_that_never_answers_and_one_that_is_not_there_are_told_apart(client):
    with silent_listener() as (endpoint, _), pytest.raises(TransferError, match="not finished after 0.2 s"):
        client(endpoint, fetch_timeout_s=0.2).fetch_picture(f"http://{endpoint}/")
    endpoint = closed_port()
    with pytest.raises(TransferError, match=r"no connection \(Connection refused\)"):
        client(endpoint).fetch_picture(f"http://{endpoint}/")


def test_a_slow_name_server_counts_against_the_time_limit(client, names, monkeypatch):
    over = threading.Event()
    slow = client(fetch_timeout_s=0.2)
    monkeypatch.setattr(slow, "_resolve", lambda host, port: over.wait(30))

    with pytest.raises(TransferError, match="not finished after 0.2 s"):
        slow.fetch_picture("http://slow.example/")

    over.set()


def test_an_unknown_name_is_said_to_be_unknown(client):
    with pytest.raises(TransferError, match="the name 'unknown.example' does not resolve"):
        client().fetch_picture("http://unknown.example/")


def test_of_several_addresses_the_next_is_tried_when_one_does_not_answer(web, client, names, picture):
    web.answers["/"] = reply(body=picture)
    names.table["two.example"] = [["127.0.0.66", "127.0.0.1"]]

    assert client("two.example").fetch_picture(f"http://two.example:{web.port}/") == picture


def test_what_does_not_speak_http_is_an_error(web, client):
    web.answers["/"] = raw(b"220 mail.example ESMTP\r\n")

    with pytest.raises(TransferError, match="it cut the answer off or does not speak HTTP"):
        client(web.netloc).fetch_picture(web.url)


def test_endless_headers_are_an_error(web, client):
    web.answers["/"] = raw(b"HTTP/1.1 200 OK\r\n", *[b"X-More: " + b"x" * 8_000 + b"\r\n"] * 1_000)

    with pytest.raises(TransferError, match="does not speak HTTP"):
        client(web.netloc).fetch_picture(web.url)


def test_proxies_of_the_environment_are_not_used(web, client, picture, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{closed_port()}")
    web.answers["/"] = reply(body=picture)

    assert client(web.netloc).fetch_picture(web.url) == picture


def test_nothing_of_a_url_but_its_host_is_logged(web, client, picture, caplog):
    caplog.set_level(logging.INFO)
    web.answers["/geheim?token=geheim"] = reply(body=picture)
    web.answers["/geheim"] = reply(500)

    client(web.netloc).fetch_picture(f"{web.url}/geheim?token=geheim")
    with pytest.raises(TransferError) as failed:
        client(web.netloc).fetch_picture(f"{web.url}/geheim")

    assert "geheim" not in caplog.text + str(failed.value)


class TestTls:
    @pytest.fixture
    def trusted(self, tmp_path, monkeypatch):
        context, file = certificate(tmp_path, "pictures.example")
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        return context

    def test_the_certificate_is_checked_against_the_name_though_the_connection_goes_to_an_address(
        self, client, names, picture, trusted
    ):
        names.table["pictures.example"] = [["127.0.0.1"]]
        with running_web_server({"/": reply(body=picture)}, tls=trusted) as web:
            url = f"https://pictures.example:{web.port}/"
            assert client("pictures.example").fetch_picture(url) == picture
        assert web.calls[0].server_name == "pictures.example"
        assert web.calls[0].headers["host"] == f"pictures.example:{web.port}"

    def test_a_certificate_for_another_name_is_refused(self, client, names, picture, trusted):
        names.table["other.example"] = [["127.0.0.1"]]
        refusal = pytest.raises(TransferError, match="its TLS certificate is not good .*[Hh]ostname mismatch")
        with running_web_server({"/": reply(body=picture)}, tls=trusted) as web, refusal:
            client("other.example").fetch_picture(f"https://other.example:{web.port}/")
        assert web.calls == []

    def test_a_certificate_that_nobody_vouches_for_is_refused(self, client, names, tmp_path):
        context, _ = certificate(tmp_path, "pictures.example")
        names.table["pictures.example"] = [["127.0.0.1"]]
        refusal = pytest.raises(TransferError, match=r"its TLS certificate is not good \(self.signed certificate\)")
        with running_web_server(tls=context) as web, refusal:
            client("pictures.example").fetch_picture(f"https://pictures.example:{web.port}/")
        assert web.calls == []

    def test_a_server_without_tls_is_an_error(self, client, web):
        with pytest.raises(TransferError, match="TLS failed"):
            client(web.netloc).fetch_picture(f"https://{web.netloc}/")
