"""Downloads that are kept: used again only when the server says so, never beyond the budget."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.inputs import sources
from runner.inputs.cache import Cache, Version, version
from runner.inputs.net import Allowed, Downloads, Patience
from runner.inputs.sources import Failed, Fetched, Limits, Wanted

from media_site import HOST, SECRET, Asked, Site, picture

HASTY = Patience(connect=1, read=1, total=5, tries=2, backoff=0.01)
PNG, OTHER = picture(), picture()


@dataclass
class Shelf:
    """Serves one file with its ETag, and says 304 to whom has it."""

    body: bytes = PNG
    etag: str = '"v1"'
    more: dict[str, str] = field(default_factory=dict[str, str])
    asked: list[str | None] = field(default_factory=list[str | None])  # If-None-Match
    sent: int = 0  # bytes
    before_304: Callable[[], None] = lambda: None

    def __call__(self, asked: Asked) -> None:
        self.asked.append(asked.headers["If-None-Match"])
        headers = {"ETag": self.etag, **self.more}
        if self.asked[-1] == self.etag:
            self.before_304()
            asked.start(304, **headers)
        else:
            self.sent += len(self.body)
            asked.answer(self.body, **headers)


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 10_000_000)


def have(
    folder: Path, source: str, cache: Cache, *, limits: Limits | None = None
) -> bytes | Failed:
    """What a job of its own gets."""
    downloads = Downloads(Allowed.of([HOST]), HASTY, lambda _h, _p: ["127.0.0.1"], cache)
    wanted = Wanted(source, "image")
    place = folder / f"job{len(list(folder.glob('job*')))}"
    got = sources.fetch_all(
        [wanted], place, downloads=downloads, local=False, limits=limits or Limits()
    )[wanted]
    if isinstance(got, Fetched):
        return got.path.read_bytes()
    assert SECRET not in got.reason
    return got


def kept(cache: Cache) -> list[Path]:
    return sorted(cache.folder.iterdir()) if cache.folder.exists() else []


def test_an_unchanged_file_is_not_sent_again(tmp_path: Path, site: Site, cache: Cache) -> None:
    shelf = Shelf()
    url = site.put("/a", shelf)
    assert [have(tmp_path, url, cache) for _ in range(3)] == [PNG] * 3
    assert shelf.asked == [None, '"v1"', '"v1"']
    assert shelf.sent == len(PNG)


def test_a_changed_file_takes_the_place_of_the_old(
    tmp_path: Path, site: Site, cache: Cache
) -> None:
    shelf = Shelf()
    url = site.put("/a", shelf)
    have(tmp_path, url, cache)
    shelf.body, shelf.etag = OTHER, '"v2"'
    assert [have(tmp_path, url, cache) for _ in range(2)] == [OTHER] * 2
    assert shelf.asked == [None, '"v1"', '"v2"']
    assert [file.read_bytes() for file in kept(cache)] == [OTHER]


@pytest.mark.parametrize(
    ("etag", "more"),
    [
        ('W/"v1"', {}),
        ("v1", {}),
        ('""', {}),
        ('"a"b"', {}),
        ('"' + "x" * 200 + '"', {}),
        ('"v1"', {"Cache-Control": "no-store"}),
        ('"v1"', {"Cache-Control": "max-age=60, No-Store"}),
        ('"v1"', {"Cache-Control": "private"}),
        ('"v1"', {"Cache-Control": 'private="set-cookie"'}),
        ('"v1"', {"Vary": "Accept, *"}),
    ],
)
def test_what_may_not_be_kept(
    tmp_path: Path, site: Site, cache: Cache, etag: str, more: dict[str, str]
) -> None:
    shelf = Shelf(etag=etag, more=more)
    url = site.put("/a", shelf)
    assert [have(tmp_path, url, cache) for _ in range(2)] == [PNG] * 2
    assert shelf.asked == [None, None]
    assert not kept(cache)


def test_what_was_kept_goes_when_the_server_forbids_it(
    tmp_path: Path, site: Site, cache: Cache
) -> None:
    shelf = Shelf()
    url = site.put("/a", shelf)
    have(tmp_path, url, cache)
    shelf.more = {"Cache-Control": "no-store"}
    assert have(tmp_path, url, cache) == PNG
    assert not kept(cache)


def test_errors_and_what_is_no_picture_are_not_kept(
    tmp_path: Path, site: Site, cache: Cache
) -> None:
    gone = site.put("/gone", lambda asked: asked.answer(PNG, 404, ETag='"v1"'))
    page = site.put("/page", Shelf(body=b"<html>"))
    assert isinstance(have(tmp_path, gone, cache), Failed)
    assert isinstance(have(tmp_path, page, cache), Failed)
    assert not kept(cache)


def test_nobody_gets_what_another_callers_address_gave(
    tmp_path: Path, site: Site, cache: Cache
) -> None:
    asked_with: list[str | None] = []

    def page(asked: Asked) -> None:
        asked_with.append(asked.headers["If-None-Match"])
        allowed = asked.path.endswith(SECRET)
        asked.answer(PNG if allowed else b"", 200 if allowed else 403, ETag='"v1"')

    url = site.put("/a", page)
    assert have(tmp_path, url, cache) == PNG
    for other in (f"{url}x", url.partition("?")[0], url.replace("token", "tokem")):
        have(tmp_path, other, cache)
    assert asked_with == [None] * 4
    named = "".join(file.name for file in kept(cache))
    assert SECRET not in named and HOST not in named
    assert cache.folder.stat().st_mode & 0o77 == 0


def test_a_304_that_nobody_asked_for_is_no_file(tmp_path: Path, site: Site, cache: Cache) -> None:
    url = site.put("/a", lambda asked: asked.start(304, ETag='"v1"'))
    failed = have(tmp_path, url, cache)
    assert isinstance(failed, Failed) and "the server answered 304" in failed.reason


def test_an_etag_means_its_own_address_only(tmp_path: Path, site: Site, cache: Cache) -> None:
    old, new, target = Shelf(), Shelf(body=OTHER), ["/old"]
    site.put("/old", old)
    site.put("/new", new)
    url = site.put("/latest", lambda asked: asked.answer(status=302, Location=target[0]))
    assert [have(tmp_path, url, cache) for _ in range(2)] == [PNG] * 2
    assert old.asked == [None, '"v1"']
    target[0] = "/new"  # the same ETag, another file
    assert have(tmp_path, url, cache) == OTHER
    assert new.asked == [None]


def test_a_cached_file_has_the_same_limits(tmp_path: Path, site: Site, cache: Cache) -> None:
    url = site.put("/a", Shelf())
    have(tmp_path, url, cache)
    failed = have(tmp_path, url, cache, limits=Limits(image=len(PNG) - 1))
    assert isinstance(failed, Failed) and "are taken" in failed.reason
    failed = have(tmp_path, url, cache, limits=Limits(total=len(PNG) - 1))
    assert isinstance(failed, Failed) and "all inputs together" in failed.reason


def test_a_file_that_is_removed_meanwhile_is_still_had(
    tmp_path: Path, site: Site, cache: Cache
) -> None:
    shelf = Shelf(before_304=lambda: [file.unlink() for file in kept(cache)] and None)
    url = site.put("/a", shelf)
    assert [have(tmp_path, url, cache) for _ in range(2)] == [PNG] * 2
    assert shelf.sent == len(PNG)


@pytest.mark.parametrize("damage", [b"", PNG[:-9], PNG[:60] + b"?" + PNG[61:]])
def test_a_damaged_file_is_fetched_anew(
    tmp_path: Path, site: Site, cache: Cache, damage: bytes
) -> None:
    shelf = Shelf()
    url = site.put("/a", shelf)
    have(tmp_path, url, cache)
    kept(cache)[0].write_bytes(damage)
    assert have(tmp_path, url, cache) == PNG
    assert shelf.asked == [None, '"v1"', None]
    assert [file.read_bytes() for file in kept(cache)] == [PNG]


def test_the_least_recently_used_goes_first(tmp_path: Path, site: Site) -> None:
    cache = Cache(tmp_path / "cache", int(len(PNG) * 2.5))
    shelves = [Shelf() for _ in range(3)]
    urls = [site.put(f"/{n}", shelf) for n, shelf in enumerate(shelves)]
    for age, n in ((900, 0), (600, 1)):
        have(tmp_path, urls[n], cache)
        newest = max(kept(cache), key=lambda file: file.stat().st_mtime)
        os.utime(newest, times=(newest.stat().st_mtime - age,) * 2)
    have(tmp_path, urls[0], cache)  # used: now 1 is the oldest
    have(tmp_path, urls[2], cache)
    assert len(kept(cache)) == 2
    for url in urls:
        have(tmp_path, url, Cache(cache.folder, cache.budget, spare=1 << 60))
    assert [shelf.asked[-1] for shelf in shelves] == ['"v1"', None, '"v1"']


def test_what_does_not_fit_is_not_kept(tmp_path: Path, site: Site) -> None:
    url = site.put("/a", Shelf())
    for number, cache in enumerate(
        [
            Cache(tmp_path / "off", 0),
            Cache(tmp_path / "small", len(PNG) - 1),
            Cache(tmp_path / "full disk", 1 << 30, spare=1 << 60),
            Cache(tmp_path / "file" / "under", 1 << 30),
        ]
    ):
        (tmp_path / "file").write_bytes(b"")
        assert have(tmp_path, url, cache) == PNG
        assert number or not cache.folder.exists()
        assert number == 3 or not kept(cache)


def test_what_a_dead_process_left_is_swept(tmp_path: Path, cache: Cache) -> None:
    cache.folder.mkdir()
    (tmp_path / "a").write_bytes(PNG)
    old, fresh = cache.folder / "old.part", cache.folder / "fresh.part"
    for part in (old, fresh):
        part.write_bytes(b"x")
    os.utime(old, times=(1, 1))
    cache.keep(tmp_path / "a", Version("here", '"1"'))
    assert not old.exists() and fresh.exists()


def test_only_strong_etags_make_a_version() -> None:
    assert version("here", '"a"') == Version("here", '"a"')
    assert [version("here", tag) for tag in (None, "", "a", '"a', 'W/"a"', '"ä"')] == [None] * 6
    with pytest.raises(ValueError):
        Version("here", 'W/"a"')


BUSY = """
import random, sys
from pathlib import Path
from runner.inputs.cache import Cache, Version
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
rng, cache, hits = random.Random(seed), Cache(folder / "cache", 200_000), 0
for turn in range(400):
    address = f"file {rng.randrange(6)}"
    with cache.entry(address) as entry:
        if entry is not None:
            read = bytearray()
            assert entry.read(lambda piece, size: read.extend(piece)), "damaged"
            mark = entry.etag.strip('"').encode()
            assert set(bytes(read).split(b" ")) == {address.encode().replace(b" ", b"-") + mark, b""}
            hits += 1
    mark = f"{seed}.{turn}"
    file = folder / f"own{seed}"
    file.write_bytes(f"{address.replace(' ', '-')}{mark} ".encode() * rng.randrange(1, 5000))
    cache.keep(file, Version(address, f'"{mark}"'))
print(hits)
"""


def test_several_processes_share_a_cache(tmp_path: Path) -> None:
    busy = [
        subprocess.Popen(
            [sys.executable, "-c", BUSY, str(tmp_path), str(seed)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(3)
    ]
    for process in busy:
        out, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert int(out) > 20
    files = kept(Cache(tmp_path / "cache", 1))
    assert files and not [file for file in files if file.suffix == ".part"]
    assert sum(file.stat().st_size for file in files) <= 200_000
