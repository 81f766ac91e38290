"""Inputs from URLs, data: URIs and paths: real servers on loopback, and every way they go wrong."""

import base64
import json
import os
import re
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import Canceled, InputError, RequestError, RunnerError
from runner.inputs import Access, fetch, folder_in, net, public_values, sources
from runner.inputs.net import Allowed, Downloads, Patience
from runner.inputs.sources import Failed, Fetched, Limits, Moved, Wanted
from runner.job import Job
from runner.request import Ready, check
from runner.workflow import Workflow

from media_site import HOST, SECRET, Asked, Site, picture, sound
from workflows import document, parameter

HASTY = Patience(connect=1, read=0.4, total=3, tries=3, backoff=0.02)
NAMES = {HOST: ["127.0.0.1"], "inside.test": ["10.0.0.7"], "both.test": ["93.184.216.34", "::1"]}
PNG = picture()


def resolve(host: str, port: int) -> Sequence[str]:
    if host in NAMES:
        return NAMES[host]
    if host.endswith(".test"):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")
    return net.resolve(host, port)  # an address as it stands


@pytest.fixture
def site() -> Iterator[Site]:
    before = threading.active_count()
    with Site() as running:
        yield running
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def downloads(
    patience: Patience = HASTY, allow: Sequence[str] = (HOST,), resolver: net.Resolve = resolve
) -> Downloads:
    return Downloads(Allowed.of(allow), patience, resolver)


def have(
    folder: Path,
    *asked: str,
    kind: str = "image",
    local: bool = False,
    limits: Limits | None = None,
    by: Downloads | None = None,
    **options: Any,
) -> list[Fetched | Failed]:
    wanted = [Wanted(source, kind) for source in asked]
    got = sources.fetch_all(
        wanted,
        folder / "in",
        downloads=by or downloads(),
        local=local,
        limits=limits or Limits(),
        **options,
    )
    answers = [got[item] for item in wanted]
    for answer in answers:
        assert not isinstance(answer, Failed) or SECRET not in answer.reason
    assert not list((folder / "in").glob("*.part"))
    return answers


def reason(folder: Path, source: str, **options: Any) -> str:
    (answer,) = have(folder, source, **options)
    assert isinstance(answer, Failed), answer
    return answer.reason


def content(answer: Fetched | Failed) -> bytes:
    assert isinstance(answer, Fetched), answer
    return answer.path.read_bytes()


# --- what goes well -------------------------------------------------------------------------


def test_files_are_fetched_side_by_side_under_names_of_our_own(tmp_path: Path, site: Site) -> None:
    together = threading.Barrier(2, timeout=5)

    def page(asked: Asked) -> None:
        together.wait()  # neither is answered before both have asked
        asked.answer(PNG, Content_Disposition="attachment; filename=../../evil.sh")

    urls = [site.put(f"/{name}", page) for name in ("..%2f..%2fevil.php", "b.jpg")]
    first, second = have(tmp_path, *urls)
    assert content(first) == content(second) == PNG
    assert {file.name for file in (tmp_path / "in").iterdir()} == {"0.png", "1.png"}
    assert set(site.hosts) == {f"{HOST}:{site.port}"}


def test_the_same_source_is_fetched_once(tmp_path: Path, site: Site) -> None:
    url = site.put("/a", PNG)
    have(tmp_path, url, url, url)
    assert site.seen == {"/a": 1}


def test_a_redirect_is_followed_and_its_host_checked_anew(tmp_path: Path, site: Site) -> None:
    site.put("/c.png", PNG)
    site.put("/b", lambda asked: asked.answer(status=307, Location=f"../c.png?token={SECRET}"))
    url = site.put("/a", lambda asked: asked.answer(status=302, Location=site.url("/b")))
    assert content(*have(tmp_path, url)) == PNG
    asked: list[str] = []

    def counting(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    have(tmp_path / "again", url, by=downloads(resolver=counting))
    assert asked == [HOST] * 3  # once for each connection, which then goes to that address


def test_a_chunked_body_and_one_that_ends_with_the_connection(tmp_path: Path, site: Site) -> None:
    def chunked(asked: Asked) -> None:
        asked.start(Transfer_Encoding="chunked")
        asked.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(PNG), PNG))

    def until_closed(asked: Asked) -> None:
        asked.start()
        asked.wfile.write(PNG)

    urls = [site.put("/chunked", chunked), site.put("/closed", until_closed)]
    assert [content(answer) for answer in have(tmp_path, *urls)] == [PNG, PNG]


def test_names_that_are_not_ascii(tmp_path: Path, site: Site) -> None:
    site.put("/%E5%86%99%E7%9C%9F%20%C3%BC.png", PNG)
    assert content(*have(tmp_path, site.url("/写真%20ü.png"))) == PNG
    file = tmp_path / "写真 ü.png"
    file.write_bytes(PNG)
    (tmp_path / "again").mkdir()
    assert content(*have(tmp_path / "again", str(file), local=True)) == PNG


def test_progress_comes_in_bytes_in_the_callers_thread(tmp_path: Path, site: Site) -> None:
    seen: list[Moved] = []
    threads: set[threading.Thread] = set()

    def see(moved: Moved) -> None:
        seen.append(moved)
        threads.add(threading.current_thread())

    have(tmp_path, site.put("/a", PNG), site.put("/b", PNG), seen=see)
    assert seen[-1] == Moved(2 * len(PNG), 2 * len(PNG), 2)
    assert threads == {threading.current_thread()}


# --- what goes wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said", "tries"),
    [
        (404, "the server answered 404 Not Found", 1),
        (403, "403 Forbidden; give a public URL, or a signed one that has not expired", 1),
        (500, "500 Internal Server Error", 3),
        (503, "503 Service Unavailable", 3),
        (429, "429 Too Many Requests", 3),
        (204, "204 No Content", 1),
        (799, "the server answered 799", 1),
    ],
)
def test_a_refusal_is_told_and_tried_again_where_it_may_help(
    tmp_path: Path, site: Site, status: int, said: str, tries: int
) -> None:
    url = site.put("/a.png", lambda asked: asked.answer(b"<html>", status))
    (answer,) = have(tmp_path, url)
    assert isinstance(answer, Failed)
    assert said in answer.reason
    assert answer.reason.startswith(f"http://{HOST}:{site.port}/a.png: ")
    assert (site.seen["/a.png"], answer.again) == (tries, tries > 1)


def test_a_server_that_fails_at_first(tmp_path: Path, site: Site) -> None:
    def page(asked: Asked) -> None:
        match site.seen["/a"]:
            case 1:
                asked.answer(b"sorry", 500)
            case 2:  # half a file, then nothing: what came is thrown away
                asked.start(Content_Length=str(len(PNG)))
                asked.wfile.write(PNG[:50])
            case _:
                asked.answer(PNG)

    seen: list[Moved] = []
    assert content(*have(tmp_path, site.put("/a", page), seen=seen.append)) == PNG
    assert seen[-1].bytes == len(PNG)


def test_nothing_of_a_longer_first_try_stays(tmp_path: Path, site: Site) -> None:
    def page(asked: Asked) -> None:
        if site.seen["/a"] == 1:
            asked.start(Content_Length=str(len(PNG) + 900))
            asked.wfile.write(b"x" * (len(PNG) + 500))
        else:
            asked.answer(PNG)

    assert content(*have(tmp_path, site.put("/a", page))) == PNG


@pytest.mark.parametrize("how", ["length", "chunked", "bytes of nothing"])
def test_a_body_that_ends_early(tmp_path: Path, site: Site, how: str) -> None:
    def page(asked: Asked) -> None:
        if how == "length":
            asked.start(Content_Length=str(len(PNG) * 2))
            asked.wfile.write(PNG)
        elif how == "chunked":
            asked.start(Transfer_Encoding="chunked")
            asked.wfile.write(b"%x\r\n%s\r\n" % (len(PNG), PNG))

    said = reason(tmp_path, site.put("/a", page))
    assert "before the file did" in said or "connection" in said
    assert site.seen["/a"] == 3


@pytest.mark.parametrize("where", ["headers", "body", "silence", "body without a length"])
def test_a_slow_server_does_not_hold_the_job(tmp_path: Path, site: Site, where: str) -> None:
    def page(asked: Asked) -> None:
        if where == "headers":
            asked.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        elif where == "body":
            asked.start(Content_Length="99999")
        elif where == "body without a length":
            asked.start()
        elif where == "silence":
            site.closing.wait(10)
        asked.drip()

    patience = Patience(connect=1, read=0.3, total=1, tries=2, backoff=0.01)
    started = time.monotonic()
    said = reason(tmp_path, site.put("/a", page), by=downloads(patience))
    expected = "does not answer in time" if where == "silence" else "took longer than 1 s"
    assert expected in said
    assert time.monotonic() - started < 2.5


@pytest.mark.parametrize("how", ["declared", "undeclared", "lied"])
def test_a_file_that_is_too_large_is_not_read_to_its_end(
    tmp_path: Path, site: Site, how: str
) -> None:
    sent = 0

    def page(asked: Asked) -> None:
        nonlocal sent
        if how == "declared":
            asked.start(Content_Length="5000000000")
        else:
            asked.start(Transfer_Encoding="chunked")
        while sent < 50_000_000 and not site.closing.is_set():
            sent += asked.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    said = reason(tmp_path, site.put("/a", page), limits=Limits(image=1_000_000))
    expected = "has 5,000 MB; at most 1.00 MB" if how == "declared" else "has more than 1.00 MB"
    assert expected in said
    assert sent < 20_000_000
    assert site.seen["/a"] == 1


def test_all_inputs_together_have_a_limit(tmp_path: Path, site: Site) -> None:
    urls = [site.put(f"/{n}", PNG) for n in range(3)]
    answers = have(tmp_path, *urls, limits=Limits(total=len(PNG) * 2 + 5))
    failed = [answer for answer in answers if isinstance(answer, Failed)]
    assert len(failed) == 1
    assert "all inputs together have more than" in failed[0].reason


def test_a_page_that_is_no_picture(tmp_path: Path, site: Site) -> None:
    url = site.put("/a.png", lambda a: a.answer(b"<!doctype html>hi", Content_Type="image/png"))
    said = reason(tmp_path, url)
    assert said == (
        f"http://{HOST}:{site.port}/a.png is a web page (text/html), not an image; "
        "give a PNG, JPEG or WebP"
    )


def test_a_compressed_body_is_refused(tmp_path: Path, site: Site) -> None:
    url = site.put("/a", lambda asked: asked.answer(PNG, Content_Encoding="gzip"))
    assert "comes compressed" in reason(tmp_path, url)


def test_what_is_no_web_server(tmp_path: Path, site: Site) -> None:
    url = site.put("/a", lambda asked: asked.wfile.write(b"SSH-2.0-OpenSSH\r\n" * 9))
    assert "does not answer as a web server does" in reason(tmp_path, url)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert "refuses the connection" in reason(tmp_path / "b", f"http://{HOST}:{port}/")
    assert "there is no host nosuch.test" in reason(tmp_path / "c", "http://nosuch.test/a.png")


def test_every_file_is_tried_and_one_failure_does_not_hide_another(
    tmp_path: Path, site: Site
) -> None:
    gone = site.url("/gone")
    site.pages["/gone"] = lambda asked: asked.answer(status=404)
    answers = have(tmp_path, gone, site.put("/page", b"<html>"), site.put("/fine", PNG))
    assert [type(answer) for answer in answers] == [Failed, Failed, Fetched]


def test_a_job_that_is_canceled_lets_go_at_once(tmp_path: Path, site: Site) -> None:
    def page(asked: Asked) -> None:
        asked.start(Content_Length="99")
        asked.drip()

    patience = Patience(read=30, total=60)

    def interrupted(moved: Moved) -> None:
        if moved.bytes:
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        have(tmp_path, site.put("/a", page), by=downloads(patience), seen=interrupted)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("how", ["late", "canceled"])
def test_a_lookup_that_hangs_does_not_hold_the_job(tmp_path: Path, site: Site, how: str) -> None:
    freed = threading.Event()

    def hanging(host: str, port: int) -> Sequence[str]:
        freed.wait(30)
        return ["127.0.0.1"]

    canceled = threading.Event()

    def see(moved: Moved) -> None:
        if canceled.is_set():
            raise KeyboardInterrupt
        canceled.set()  # at the second look

    url, started = site.put("/a", PNG), time.monotonic()
    try:
        if how == "late":
            patience = Patience(connect=0.2, total=1, tries=2, backoff=0.01)
            said = reason(tmp_path, url, by=downloads(patience, resolver=hanging))
            assert said.endswith(f"the name of {HOST} is not looked up in time")
        else:
            patience = Patience(connect=30, total=60)
            with pytest.raises(KeyboardInterrupt):
                have(tmp_path, url, by=downloads(patience, resolver=hanging), seen=see)
        assert time.monotonic() - started < 2
        assert not site.seen
    finally:
        freed.set()


# --- where nothing may be fetched from ------------------------------------------------------

REDIRECTS = {
    "http://127.0.0.1:{port}/secret": "private, local or reserved",
    "http://169.254.169.254/latest/meta-data/": "private, local or reserved",
    "http://inside.test/": "private, local or reserved",
    "//127.0.0.1:{port}/secret": "private, local or reserved",
    "http://[::ffff:127.0.0.1]:{port}/secret": "private, local or reserved",
    "http://2130706433:{port}/secret": "odd notation",
    "file:///etc/passwd": "no http or https URL",
    "gopher://127.0.0.1/": "no http or https URL",
    "http://user:pw@files.test/": "user name or password",
    "http://files.test/a b": "space",
    "http://[": "no valid URL",
    "/loop": "redirects more than 5 times",
}


@pytest.mark.parametrize("to", REDIRECTS)
def test_a_redirect_is_checked_like_the_first_url(tmp_path: Path, site: Site, to: str) -> None:
    site.put("/secret", PNG)
    location = to.format(port=site.port)
    url = site.put("/loop", lambda asked: asked.answer(status=302, Location=location))
    said = reason(tmp_path, url)
    assert REDIRECTS[to] in said
    assert "pw" not in said
    assert not site.seen["/secret"]


def test_a_name_that_changes_its_address_gains_nothing(tmp_path: Path, site: Site) -> None:
    site.put("/secret", PNG)
    url = site.put("/a", lambda asked: asked.answer(status=302, Location="/secret"))
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    rebinding = downloads(allow=["127.0.0.1"], resolver=lambda _h, _p: next(answers))
    assert "private, local or reserved" in reason(tmp_path, url, by=rebinding)
    assert not site.seen["/secret"]


HOSTILE = [
    # this machine
    "http://127.0.0.1/", "http://127.1.2.3/", "http://0.0.0.0/", "http://[::1]/", "http://[::]/",
    "http://localhost/", "http://LOCALHOST./",
    # odd notations of it
    "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/",
    "http://127.1/", "http://127.0.1/", "http://017700000001/", "http://0x7F.0x0.0x0.0x1/",
    "http://127.0.0.1./", "http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://0/", "http://00/",
    # IPv4 in IPv6
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::127.0.0.1]/",
    "http://[::ffff:169.254.169.254]/", "http://[64:ff9b::7f00:1]/", "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::a9fe:a9fe]/", "http://[2002:7f00:1::]/", "http://[2002:a9fe:a9fe::1]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "http://[::ffff:0:127.0.0.1]/",
    # private, shared, link-local, reserved, multicast, documentation
    "http://10.0.0.1/", "http://172.16.0.1/", "http://172.31.255.255/", "http://192.168.1.1/",
    "http://100.64.0.1/", "http://100.100.100.200/", "http://169.254.0.1/", "http://192.0.2.1/",
    "http://198.18.0.1/", "http://198.51.100.1/", "http://203.0.113.1/", "http://224.0.0.1/",
    "http://239.255.255.250/", "http://240.0.0.1/", "http://255.255.255.255/",
    "http://192.88.99.1/", "http://[fe80::1]/", "http://[fe80::1%25eth0]/", "http://[fc00::1]/",
    "http://[fd12:3456::1]/", "http://[ff02::1]/", "http://[2001:db8::1]/", "http://[100::1]/",
    "http://[fec0::1]/", "http://[3fff::1]/", "http://[5f00::1]/",
    # metadata services
    "http://169.254.169.254/latest/meta-data/", "http://169.254.170.2/v2/credentials",
    "http://[fd00:ec2::254]/", "http://192.0.0.192/", "http://168.63.129.16/metadata",
    "http://0xA9FEA9FE/", "http://2852039166/", "http://169.254.43518/", "http://0251.0376.0251.0376/",
    # names that lead there
    "http://inside.test/", "http://both.test/", "http://INSIDE.test./", "https://inside.test:8443/",
    # another reading of the host
    "http://files.test@127.0.0.1/", "http://127.0.0.1@files.test/", "http://a:b@files.test/",
    "http://127.0.0.1\\@files.test/", "http://files.test\\.inside.test/", "http:\\\\127.0.0.1/",
    "http://127.0.0.1#@files.test/", "http://127.0.0.1?@files.test/", "http://files.test%2f@127.0.0.1/",
    "http://files.test%00.inside.test/", "http://files.test%0d%0aHost:x/", "http://files test/",
    "http://files.test\r\nHost: x/", "http://files.test/\r\nX: y", "http://files.test/\x00",
    " http://files.test/", "http://files.test/\t", "http:///a.png", "http://", "http:", "http:/a",
    "http://[::1", "http://]/", "http://:80/", "http://.../", "http://-a.test/", "http://*.test/",
    "http://files.test:99999/", "http://files.test:-1/", "http://files.test:x/", "http://" + "a" * 300,
    "http://" + ".".join(["a" * 64] * 2) + "/", "http://files.test/" + "a" * 9000,
    "http://xn--.../", "http://\ud800/", "http://é..test/",
    # ports of a public host that are not the web's
    "http://93.184.216.34:22/", "http://93.184.216.34:6379/", "https://93.184.216.34:25/",
    "http://93.184.216.34:0/",
    # no web address
    "file:///etc/passwd", "file://files.test/etc/passwd", "ftp://files.test/a", "gopher://files.test/",
    "dict://files.test:11211/", "ldap://files.test/", "jar:http://files.test/", "javascript:alert(1)",
    "php://filter/", "netdoc:///etc/passwd", "unix:/var/run/docker.sock", "s3://bucket/key",
    "//files.test/a.png", "/etc/passwd", "../../etc/passwd", "C:\\x", "a.png", "", "\x00", "http",
]  # fmt: skip


@pytest.mark.parametrize("url", HOSTILE, ids=[ascii(url)[:60] for url in HOSTILE])
def test_hostile_urls_are_refused_before_anybody_is_asked(tmp_path: Path, url: str) -> None:
    answered = have(tmp_path, url, by=downloads(Patience(tries=1, connect=0.01), allow=[]))[0]
    assert isinstance(answered, Failed)
    said = answered.reason
    for network in ("does not answer", "connection", "refuses"):
        assert network not in said, said
    assert "10.0.0.7" not in said  # what the name inside means is nobody's business


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://both.test/", "both.test is a private, local or reserved address"),
        ("http://93.184.216.34:22/", "port 22 is none of 80, 443, 8080, 8443"),
        ("http://files.test/\ud800", "no character"),
    ],
)
def test_what_is_refused_is_told(tmp_path: Path, url: str, said: str) -> None:
    assert said in reason(tmp_path, url, by=downloads(allow=[]))


def test_the_next_address_is_tried(tmp_path: Path, site: Site) -> None:
    url = site.put("/a", PNG)
    by = downloads(allow=["127.0.0.0/8", "::1"], resolver=lambda _h, _p: ["::1", "127.0.0.1"])
    assert content(*have(tmp_path, url, by=by)) == PNG


FRIENDLY = {
    "https://93.184.216.34/a.png": "93.184.216.34",
    "http://8.8.8.8:8080/": "8.8.8.8",
    "https://[2606:4700:4700::1111]/a": "2606:4700:4700::1111",
    "http://[64:ff9b::808:808]/": "64:ff9b::808:808",  # a public IPv4 host on an IPv6-only machine
    "HTTPS://Public.Example./ü?q=写": "93.184.216.34",
    "https://bücher.example/@user/a:b;c,d'(e)?x=%20&y=[1]": "93.184.216.34",
    "http://a_b.example:443/": "93.184.216.34",
    "http://172.32.0.1/": "172.32.0.1",
    "http://100.128.0.1/": "100.128.0.1",
    "http://11.0.0.1/": "11.0.0.1",
}


@pytest.mark.parametrize("url", FRIENDLY)
def test_their_friendly_twins_pass(url: str) -> None:
    def public(host: str, port: int) -> Sequence[str]:
        return ["93.184.216.34"] if host.endswith(".example") else net.resolve(host, port)

    by = downloads(allow=[], resolver=public)
    assert by.checked(net.parse(url)) == [ip_address(FRIENDLY[url])]
    assert net.parse(net.parse(url).text) == net.parse(url)


def test_the_operator_allows_hosts_by_name_address_and_network(tmp_path: Path, site: Site) -> None:
    url = site.put("/a", PNG)
    for number, allowed in enumerate([HOST, f"{HOST.upper()}.", "127.0.0.1", "127.0.0.0/8"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert content(*have(folder, url, by=downloads(allow=[allowed]))) == PNG
    for number, other in enumerate(["10.0.0.0/8", "::1", f"x.{HOST}", "test"]):
        by = downloads(allow=[other])
        assert "private, local or reserved" in reason(tmp_path / f"n{number}", url, by=by)


def test_every_address_of_an_allowed_network_s_host_must_lie_in_it(tmp_path: Path) -> None:
    """The one that is asked is the first that answers: one of them in the network is not enough."""
    by = downloads(allow=["127.0.0.0/8"], resolver=lambda _h, _p: ["127.0.0.1", "10.0.0.1"])
    assert "private, local or reserved" in reason(tmp_path, "http://two.test/a", by=by)
    with pytest.raises(net.Unfetched):
        by.checked(net.parse("http://two.test/a"))


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "http://a.b", "*.internal", "a b", "", "10.0.0"])
def test_an_allowance_that_means_nothing_is_told(entry: str) -> None:
    with pytest.raises(RequestError, match="CALLSHEET_ALLOW_HOSTS"):
        Allowed.of([entry])


@given(st.ip_addresses(v=4))
def test_no_form_of_a_private_address_is_public(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert not net.is_public(address)
        assert not net.is_public(IPv6Address((0x64FF9B << 96) + int(address)))
    for prefix in (0xFFFF << 32, 0, 0x2002 << 112):
        shift = 80 if prefix >> 112 else 0
        assert not net.is_public(IPv6Address(prefix + (int(address) << shift)))


@given(st.ip_addresses(v=6))
def test_only_global_unicast_is_public_in_ipv6(address: IPv6Address) -> None:
    if net.is_public(address):
        assert address.is_global or address in net._NAT64  # pyright: ignore[reportPrivateUsage]
        assert not address.is_private


# --- encrypted ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    both = folder / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x",
         "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", folder / "key", "-out", folder / "cert"],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return both


def test_tls_asks_and_checks_the_name_though_it_connects_to_the_address(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Site(certificate=certificate) as site:
        url = site.put("/a", PNG)
        said = reason(tmp_path / "a", url)
        assert f"the certificate of {HOST} is not valid" in said
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert content(*have(tmp_path / "b", url)) == PNG
        assert site.asked_names[-1] == HOST
        by = downloads(allow=["127.0.0.1"], resolver=lambda _h, _p: ["127.0.0.1"])
        said = reason(tmp_path / "c", site.url("/a", "other.test"), by=by)
        assert "the certificate of other.test is not valid" in said
        assert site.seen["/a"] == 1


def test_no_encryption_where_it_is_expected(tmp_path: Path, site: Site) -> None:
    url = site.put("/a", PNG).replace("http:", "https:")
    assert "there is no encrypted connection" in reason(tmp_path, url)


def test_the_environments_proxy_is_not_asked(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert content(*have(tmp_path, site.put("/a", PNG))) == PNG


# --- data and files -------------------------------------------------------------------------


def test_data_uris(tmp_path: Path) -> None:
    text = base64.b64encode(PNG).decode()
    percent = "".join(f"%{byte:02x}" for byte in PNG)
    same = [f"data:image/png;base64,{text}", f"data:;base64,{text[:9]}\n{text[9:]}",
            f"DATA:text/html;base64,{text}", f"data:image/png,{percent}",
            f"data:image/png;base64,{text.replace('=', '%3D')}"]  # fmt: skip
    assert [content(answer) for answer in have(tmp_path, *same)] == [PNG] * 5


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("data:image/png;base64,!!!!", "is no valid base64"),
        ("data:image/png;base64,AAA", "is no valid base64"),
        ("data:image/png", "is no data: URI"),
        ("data:,", "is empty"),
        ("data:text/html,<html>hi", "is a web page"),
        ("data:image/png;base64," + "A" * 4000, "3,000 bytes; at most 2,000 bytes"),
        ("data:image/png," + "A" * 9000, "has more than 2,000 bytes"),
    ],
)
def test_wrong_data_uris(tmp_path: Path, uri: str, said: str) -> None:
    told = reason(tmp_path, uri, limits=Limits(data=2000))
    assert said in told
    assert len(told) < 200


def test_local_files_are_for_callers_on_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "a b.png"
    file.write_bytes(PNG)
    for number, path in enumerate([str(file), file.as_uri(), f"file://localhost{file.as_posix()}"]):
        path = path.replace(" ", "%20") if path.startswith("file") else path
        assert content(*have(tmp_path / f"y{number}", path, local=True)) == PNG
        said = reason(tmp_path / f"n{number}", path)
        assert "is no URL; give an http or https URL, or a data: URI" in said
    assert file.read_bytes() == PNG


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nosuch.png", "No such file"),
        ("a\0.png", "NUL"),
        ("file:///a%00.png", "NUL"),
        ("/", "is no file"),
        ("/dev/zero", "is no file"),
        ("file://elsewhere/a.png", "another machine"),
        ("~nosuchuser/a.png", "No such file"),
        ("a" * 5000, "too long"),
    ],
)
def test_wrong_paths(tmp_path: Path, path: str, said: str) -> None:
    assert said in reason(tmp_path, path, local=True)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is no file" in reason(tmp_path, str(tmp_path / "pipe"), local=True)


def test_a_local_file_has_the_same_limits(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(sound())
    path = str(tmp_path / "a.wav")
    said = reason(tmp_path, path, kind="audio", local=True, limits=Limits(audio=100))
    assert "has 8,044 bytes; at most 100 bytes" in said


# --- a whole request ------------------------------------------------------------------------

ROWS = '[{"image": "own.png", "position": "last"}]'


def workflow(folder: Path, *, image: str = "", rows: str = "[]") -> Workflow:
    folder.mkdir(exist_ok=True)
    file = document(
        parameter("Image", 1, image, "image_url", "", False),
        parameter("Audio", 2, "", "audio_url", "", False, 1.0),
        parameter("Keyframes", 3, rows, "keyframes", "", False, 1, 9),
        parameter("Text", 4, "", "prompt", "", False, 0, 0),
    )
    return Workflow(file, folder / "1.0.0.json", "w", "1.0.0")


def access(**options: Any) -> Access:
    return Access(hosts=Allowed.of([HOST]), patience=HASTY, resolve=resolve, **options)


def asked_of(found: Workflow, **params: Any) -> Ready:
    return check(Job("job", "w", params), found)


def test_a_request_is_filled_with_names_of_local_files(tmp_path: Path, site: Site) -> None:
    a, b = site.put("/a", PNG), site.put("/b", picture("JPEG"))
    rows = [{"image_url": b, "frame_position": "first"}, {"image_url": a, "strength": 0.5},
            {"image_url": "data:;base64," + base64.b64encode(PNG).decode()}]  # fmt: skip
    ready = asked_of(workflow(tmp_path / "w"), image_url=a, audio_url=site.put("/s", sound()),
                     keyframes=rows, prompt="https://x.example/?not=an-input")  # fmt: skip
    root, told = tmp_path / "input", []
    with folder_in(root) as folder:
        done = fetch(ready, folder, root=root, access=access(), report=told.append)
        name = folder.relative_to(root).as_posix()
        stored = [node["widgets_values"][0] for node in done.document["nodes"]]
        assert stored[:2] == [f"{name}/0.png", f"{name}/1.wav"]
        assert json.loads(stored[2]) == [
            {"image": f"{name}/2.jpg", "position": "first"},
            {"image": f"{name}/0.png", "strength": 0.5},
            {"image": f"{name}/3.png"},
        ]
        assert re.fullmatch("callsheet/[0-9a-f]{32}", name)
        assert (root / stored[0]).read_bytes() == PNG
        assert SECRET not in json.dumps(done.document)
        assert stored[3] == "https://x.example/?not=an-input"
    assert not folder.exists()
    assert site.seen == {"/a": 1, "/b": 1, "/s": 1}
    assert {(progress.stage, progress.fraction) for progress in told} == {("fetching inputs", 0.0)}
    assert (told[-1].step, told[-1].steps) == (4, 4)
    shown = public_values(ready)
    assert SECRET not in json.dumps(shown)
    assert shown["image_url"] == f"http://{HOST}:{site.port}/a"
    assert shown["keyframes"][0] == {
        "image_url": f"http://{HOST}:{site.port}/b", "frame_position": "first"
    }  # fmt: skip
    assert "data:… (" in shown["keyframes"][2]["image_url"]


def test_a_request_without_files_leaves_no_trace(tmp_path: Path) -> None:
    ready = asked_of(workflow(tmp_path / "w"), prompt="x")
    with folder_in(tmp_path / "input") as folder:
        assert fetch(ready, folder, root=tmp_path / "input", access=access()) is ready
    assert not (tmp_path / "input").exists()


def test_a_job_that_is_canceled_meanwhile_ends_its_downloads(tmp_path: Path, site: Site) -> None:
    started = threading.Event()

    def page(asked: Asked) -> None:
        asked.start(Content_Length="99")
        started.set()
        asked.drip()

    def look() -> None:
        if started.is_set():
            raise Canceled("the job was canceled")

    ready = asked_of(workflow(tmp_path / "w"), image_url=site.put("/a", page))
    begun, root = time.monotonic(), tmp_path / "input"
    with pytest.raises(Canceled), folder_in(root) as folder:
        fetch(ready, folder, root=root, access=access(), look=look)
    assert time.monotonic() - begun < 2
    assert not list((root / "callsheet").iterdir())


def test_every_problem_of_a_request_is_told_at_once(tmp_path: Path, site: Site) -> None:
    site.pages["/gone"] = lambda asked: asked.answer(status=404)
    site.pages["/down"] = lambda asked: asked.answer(status=503)
    params: dict[str, Any] = {
        "image_url": site.url("/gone"),
        "audio_url": site.put("/long", sound(2)),
        "keyframes": [
            {"image_url": site.put("/a", PNG)},
            {"image_url": site.url("/down")},
            {"image_url": f"http://me:{SECRET}@{HOST}/"},
        ],
    }
    ready = asked_of(workflow(tmp_path / "w"), **params)
    with pytest.raises(InputError) as caught, folder_in(tmp_path / "input") as folder:
        fetch(ready, folder, root=tmp_path / "input", access=access())
    here = f"http://{HOST}:{site.port}"
    problems = caught.value.details["problems"]
    assert [(p["parameter"], p["message"], p["retryable"]) for p in problems] == [
        ("image_url", f"{here}/gone: the server answered 404 Not Found", False),
        ("audio_url", f"{here}/long lasts 2.00 s; at most 1 s are taken", False),
        ("keyframes[1].image_url", f"{here}/down: the server answered 503 Service Unavailable", True),
        ("keyframes[2].image_url", f"http://{HOST}/: the URL holds a user name or password; "
         "give a signed URL instead", False),
    ]  # fmt: skip
    assert caught.value.code == "input_error"
    assert (
        SECRET
        not in f"{caught.value.to_dict()} {''.join(traceback.format_exception(caught.value))}"
    )
    assert not list((tmp_path / "input" / "callsheet").iterdir())


def test_the_workflows_own_files_lie_beside_it(tmp_path: Path) -> None:
    found = workflow(tmp_path / "w", image="own.png", rows=ROWS)
    (tmp_path / "secret.png").write_bytes(PNG)
    root = tmp_path / "input"
    with folder_in(root) as folder, pytest.raises(InputError, match="own file is not here; give"):
        fetch(asked_of(found), folder, root=root, access=access())
    (tmp_path / "w" / "own.png").write_bytes(PNG)
    with folder_in(root) as folder:
        done = fetch(asked_of(found), folder, root=root, access=access())
        assert (root / done.values["image_url"]).read_bytes() == PNG
        assert done.values["keyframes"][0]["image_url"] == done.values["image_url"]
    (root / "own.png").write_bytes(PNG)  # the engine has it already
    with folder_in(root) as folder:
        done = fetch(asked_of(found), folder, root=root, access=access())
        assert done.values["image_url"] == "own.png"
    outside = workflow(tmp_path / "w", image="../secret.png")
    with folder_in(root) as folder, pytest.raises(InputError, match="own file is not here"):
        fetch(asked_of(outside), folder, root=root, access=access())


def test_a_caller_cannot_name_the_workflows_files_nor_this_machines(tmp_path: Path) -> None:
    found = workflow(tmp_path / "w", image="own.png")
    (tmp_path / "w" / "own.png").write_bytes(PNG)
    root = tmp_path / "input"
    with folder_in(root) as folder, pytest.raises(InputError, match="is no URL"):
        fetch(asked_of(found, image_url="own.png"), folder, root=root, access=access())
    with folder_in(root) as folder:
        path = str(tmp_path / "w" / "own.png")
        done = fetch(asked_of(found, image_url=path), folder, root=root, access=access(local=True))
        assert (root / done.values["image_url"]).read_bytes() == PNG


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"")  # a folder cannot be made here
    ready = asked_of(workflow(tmp_path / "w"), image_url="data:,x")
    with pytest.raises(RunnerError, match="cannot be written to the input folder"):
        fetch(ready, tmp_path / "input" / "a", root=tmp_path / "input", access=access())


# --- what people get to see -----------------------------------------------------------------


@given(
    st.sampled_from(["http", "https", "ftp", "HTTP"]),
    st.sampled_from(["", f"{SECRET}@", f"u:{SECRET}@", f"{SECRET}:@", f"a@{SECRET}@"]),
    st.text(st.characters(exclude_characters="?#"), max_size=20),
    st.sampled_from(
        [f"?{SECRET}", f"#{SECRET}", f"?a=b#{SECRET}", f"?x={SECRET}&@/?", f";{SECRET}"]
    ),
)
def test_no_secret_of_a_url_is_shown(scheme: str, user: str, path: str, tail: str) -> None:
    assert SECRET not in sources.shown(f"{scheme}://{user}host.example/{path}{tail}")


def test_a_token_in_the_path_is_not_shown() -> None:
    token = "AAE0x9" * 7
    url = f"https://api.example/file/bot123:{token}/a-picture-of-our-most-beautiful-product.png"
    assert sources.shown(url) == (
        "https://api.example/file/bot123:…/a-picture-of-our-most-beautiful-product.png"
    )
