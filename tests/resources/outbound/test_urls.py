import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.outbound import UrlRefusedError
from resources.outbound.addresses import is_public, literal_address
from resources.outbound.urls import PUBLIC_PORTS, UrlRules, host_of, origin_of, port_of


def url_problem(url: str) -> str:
    """The text of the refusal, or nothing if there is none."""
    try:
        UrlRules().check(url)
    except UrlRefusedError as exc:
        return str(exc) or "no text"
    return ""


@pytest.mark.parametrize(
    "url",
    [
        "http://pictures.example/cat.png",
        "https://pictures.example:8443/a?b=c#d",
        "HTTPS://Pictures.Example./x",
        "http://8.8.8.8:80/",
        "http://[2606:4700::1111]/cat.png",
        "http://bücher.example/ä.png",
    ],
)
def test_a_public_url_is_allowed(url):
    assert url_problem(url) == ""


@pytest.mark.parametrize(
    "host", ["xn--a", "xn--", "a" * 64, "xn--ls8h=", "a..b", "[::1%25eth0]", "[v1.a]", "[", "ß" * 70]
)
def test_a_host_that_is_no_name_and_no_address_is_refused(host):
    assert url_problem(f"http://{host}/")


@given(st.text("xn-.[]:%@/0é\u0660。１٣", max_size=30))
def test_no_odd_host_raises_anything_else(host):
    url_problem(f"http://{host}/")
    url_problem(f"http://xn--{host}")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "192.0.0.192",
        "198.18.0.1",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "192.88.99.1",
        "[::]",
        "[::1]",
        "[::7f00:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::808:808]",
        "[64:ff9b:1::1]",
        "[2001::1]",
        "[2001:db8::1]",
        "[2002:7f00:1::]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fec0::1]",
        "[ff02::1]",
        "localhost",
        "LOCALHOST.",
        "db.localhost",
        "printer.local",
        "metadata.google.internal",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
    ],
)
def test_a_host_that_is_not_on_the_public_internet_is_refused_however_it_is_spelled(host):
    assert "is not on the public internet" in url_problem(f"http://{host}/")


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("file:///etc/passwd", "scheme 'file', but a URL must be http:// or https://."),
        ("ftp://pictures.example/", "scheme 'ftp', but a URL must be http:// or https://."),
        ("cat.png", "scheme '', but a URL must be http:// or https://."),
        ("http:///cat.png", "the URL names no host."),
        ("http://me:pass@pictures.example/", "the URL holds a user name or password. Leave them out."),
        ("http://8.8.8.8&@127.0.0.1/", "the URL holds a user name or password. Leave them out."),
        ("http://pictures.example\\@127.0.0.1/", "the URL holds a space, a backslash or a control character."),
        ("http://pictures.example/\r\nHost:x", "the URL holds a space, a backslash or a control character."),
        ("http://[::1/", "it is not a URL"),
        ("http://0177.0.0.01/", "it is not a URL"),
        ("http://①②⑦.⓪.⓪.①/", "it is not a URL"),
        ("http://pictures.example:22/", "port 22 of host 'pictures.example' is not one of 80, 443 and 8000 to 8999."),
        ("http://pictures.example:0/", "port 0 of host 'pictures.example' is not one of"),
        ("http://pictures.example/" + "a" * 4_096, "4,120 characters are above the maximum of 4,096 for a URL."),
    ],
)
def test_a_refusal_says_which_rule_is_broken(url, rule):
    assert url_problem(url).startswith(rule)


def test_the_text_of_a_refusal_is_short_however_long_the_url():
    assert all(len(url_problem(f"http://{'a' * 4_000}{rest}")) < 600 for rest in ("%", ":22/", ".local", "ſ.①"))


@pytest.mark.parametrize("entry", ["Intern.Example", "intern.example:9000"])
def test_the_operator_can_allow_a_private_host(entry):
    rules = UrlRules([entry])

    assert rules.check("http://intern.example:9000/").host == "intern.example"
    assert rules.allows_private("intern.example", 9000)
    assert rules.allows_private("intern.example", 80) == (":" not in entry)
    assert not rules.allows_private("other.example", 9000)


@pytest.mark.parametrize("entry", ["[::1]", "::1", "[::1]:9000"])
def test_an_allowed_ipv6_address_may_be_written_with_brackets_or_without(entry):
    assert UrlRules([entry]).check("http://[::1]:9000/").port == 9000


def test_an_allowed_host_must_still_keep_the_other_rules():
    with pytest.raises(UrlRefusedError, match="user name"):
        UrlRules(["127.0.0.1"]).check("http://me@127.0.0.1/")


def test_the_parts_of_a_url_are_the_ones_that_are_looked_up_and_shown():
    url = UrlRules().check("HTTPS://BÜCHER.example./geheim?token=1")

    assert (host_of(url), port_of(url)) == ("xn--bcher-kva.example", 443)
    assert origin_of(url) == "https://xn--bcher-kva.example."


URL_PARTS = st.lists(
    st.sampled_from([*"/:@?#[].%\\", "http", "//", "127.0.0.1", "::1", "a.example", "80", "٣", "ß", "。"])
)


@given(st.text() | st.text().map("http://{}".format) | URL_PARTS.map("".join) | URL_PARTS.map("http://".join))
def test_whatever_the_text_it_is_allowed_or_refused_in_words(text):
    if problem := url_problem(text):
        assert len(problem) < 600
        return
    url = UrlRules().check(text)
    assert url.scheme in ("http", "https")
    assert port_of(url) in PUBLIC_PORTS
    assert not (literal_address(host_of(url)) and not is_public(host_of(url)))
