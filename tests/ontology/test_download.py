"""Downloads against a server of this machine: whole, checked, once, and gone on with when cut."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ontology.serving import Page, serving, tagged
from vnn._errors import OntologyError
from vnn.ontology.download import UnreachableError, cache_folder, fetch

LINES = "".join(f"SET{i}\t\t" + "\t".join(f"G{i * 7 % 900 + j}" for j in range(30)) + "\n" for i in range(3_000))
BODY = LINES.encode()
ROOT = Path(__file__).parents[2]
QUICK = {"pauses": (0.01, 0.01), "patience": 5.0}

FETCH = """
import sys
from pathlib import Path
from vnn.ontology.download import fetch
found = fetch(sys.argv[1], Path(sys.argv[2]), role="gmt", patience=20)
print(found.state)
"""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def visible(folder: Path) -> set[str]:
    """Everything that carries a name a reader would look for."""
    return {path.name for path in folder.iterdir() if path.is_file()}


def start(address: str, path: Path) -> subprocess.Popen[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, address, str(path)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(true: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_a_file_is_fetched_once_and_what_came_is_written_down(tmp_path):
    path = tmp_path / "sets.gmt"
    with serving(sets__gmt=tagged(BODY, last_modified="Sat, 01 Aug 2026 10:00:00 GMT")) as site:
        first = fetch(f"{site.address}/sets.gmt", path, role="gmt")
        again = fetch(f"{site.address}/sets.gmt", path, role="gmt", sha256=digest(BODY))
        assert len(site.requests) == 1
    assert path.read_bytes() == BODY
    assert (first.state, again.state) == ("fetched", "there")
    assert first.origin == again.origin
    (record,) = json.loads((tmp_path / "sets.gmt.origin.json").read_text())
    assert record["sha256"] == digest(BODY)
    assert record["size"] == len(BODY)
    assert record["last_modified"] == "Sat, 01 Aug 2026 10:00:00 GMT"
    assert record["etag"].strip('"') == digest(BODY)[:16]
    assert record["address"] == f"{site.address}/sets.gmt"
    assert record["retrieved"][:4].isdecimal()
    assert visible(tmp_path) == {"sets.gmt", "sets.gmt.origin.json"}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, len(BODY) - 1), max_size=4), st.booleans(), st.booleans())
def test_wherever_the_connection_is_cut_the_same_bytes_arrive(tmp_path_factory, cuts, ranges, known):
    path = tmp_path_factory.mktemp("cut") / "sets.gmt"
    page = tagged(BODY, ranges=ranges, faults=list(cuts)) if known else Page(BODY, ranges=ranges, faults=list(cuts))
    with serving(sets__gmt=page) as site:
        fetch(f"{site.address}/sets.gmt", path, role="gmt", pauses=(0.0,) * 6, patience=5.0)
        assert len(site.requests) <= 1 + len(cuts)
    assert path.read_bytes() == BODY


def test_a_cut_download_goes_on_where_it_was_in_the_next_call(tmp_path):
    path = tmp_path / "sets.gmt"
    with serving(sets__gmt=tagged(BODY, faults=[100_000, 0, 0])) as site:
        with pytest.raises(UnreachableError, match=r"cut after 100,000 of [\d,]+ bytes.* 100,000 bytes are kept"):
            fetch(f"{site.address}/sets.gmt", path, role="gmt", pauses=(0.0, 0.0), patience=5.0)
        assert visible(tmp_path) == set()
        sent = site.sent
        assert fetch(f"{site.address}/sets.gmt", path, role="gmt", **QUICK).state == "fetched"
        assert site.requests[-1] == ("/sets.gmt", "bytes=100000-", 206)
        assert site.sent - sent == len(BODY) - 100_000
    assert path.read_bytes() == BODY


def test_a_file_that_changed_meanwhile_is_never_glued_to_the_old_beginning(tmp_path):
    path, fresh = tmp_path / "sets.gmt", BODY.replace(b"SET", b"NEW")
    with serving(sets__gmt=tagged(BODY, faults=[100_000])) as site:
        with pytest.raises(UnreachableError):
            fetch(f"{site.address}/sets.gmt", path, role="gmt", pauses=())
        site.pages["sets.gmt"] = tagged(fresh)
        fetch(f"{site.address}/sets.gmt", path, role="gmt", pauses=())
    assert path.read_bytes() == fresh


def test_without_a_validator_of_the_server_nothing_is_gone_on_with(tmp_path):
    path, fresh = tmp_path / "sets.gmt", BODY.replace(b"SET", b"NEW")
    with serving(sets__gmt=Page(BODY, faults=[100_000])) as site:
        with pytest.raises(UnreachableError):
            fetch(f"{site.address}/sets.gmt", path, role="gmt", pauses=())
        site.pages["sets.gmt"] = Page(fresh)
        fetch(f"{site.address}/sets.gmt", path, role="gmt", pauses=())
        assert [asked for _, asked, _ in site.requests] == ["", ""]
    assert path.read_bytes() == fresh


def test_a_part_longer_than_the_servers_file_starts_again(tmp_path):
    path = tmp_path / "sets.gmt"
    with serving(sets__gmt=Page(BODY, last_modified="Sat, 01 Aug 2026 10:00:00 GMT", faults=[100_000])) as site:
        with pytest.raises(UnreachableError):
            fetch(f"{site.address}/sets.gmt", path, role="gmt", pauses=())
        short = BODY[: BODY.index(b"\n", 5_000) + 1]
        site.pages["sets.gmt"] = Page(short, last_modified="Sat, 01 Aug 2026 10:00:00 GMT")
        fetch(f"{site.address}/sets.gmt", path, role="gmt", **QUICK)
        assert [status for *_, status in site.requests] == [200, 416, 200]
    assert path.read_bytes() == short


def test_a_wrong_hash_shows_both_and_the_file_is_set_aside(tmp_path):
    path, wanted = tmp_path / "sets.gmt", digest(b"something else")
    with serving(sets__gmt=tagged(BODY)) as site:
        with pytest.raises(OntologyError, match=rf"SHA-256 is {digest(BODY)}, the recipe says {wanted}.*set aside"):
            fetch(f"{site.address}/sets.gmt", path, role="gmt", sha256=wanted)
        assert visible(tmp_path) == set()
        assert (tmp_path / "unchecked" / "sets.gmt").read_bytes() == BODY
        fetch(f"{site.address}/sets.gmt", path, role="gmt", sha256=digest(BODY))
    assert path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"<!DOCTYPE html><title>Sign in to the hospital's network</title>", "is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "is a Git-LFS pointer"),
        (gzip.compress(BODY)[:-50], "is a truncated or damaged gzip"),
        (b"", "is empty"),
        (b"SET1\t\t\xff\xfe\n", "is not UTF-8 text"),
    ],
)
def test_what_cannot_be_the_file_is_refused(tmp_path, body, what):
    with serving(sets__gmt=tagged(body)) as site, pytest.raises(OntologyError, match=what) as caught:
        fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt")
    assert any(f"from {site.address}/sets.gmt" in note and "not used" in note for note in caught.value.__notes__)
    assert visible(tmp_path) == set()


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_refusal_is_told_at_once(tmp_path, status):
    with serving(sets__gmt=Page(b"", status=status)) as site:
        with pytest.raises(OntologyError, match=rf"/sets.gmt answered {status} .*in a browser"):
            fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt")
        assert len(site.requests) == 1
    assert visible(tmp_path) == set()


def test_a_busy_server_is_asked_again(tmp_path):
    told = []
    with serving(sets__gmt=tagged(BODY, faults=[-503, -429])) as site:
        fetch(
            f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt", tell=lambda *said: told.append(said), **QUICK
        )
        assert [status for *_, status in site.requests] == [503, 429, 200]
    assert any("answered 503" in what for what, *_ in told)
    assert told[-1] == ("sets.gmt", len(BODY), len(BODY))


def test_a_server_that_says_nothing_is_given_up(tmp_path):
    began = time.monotonic()
    with serving(sets__gmt=Page(BODY, stall=5.0)) as site, pytest.raises(UnreachableError, match=r"0\.3 s"):
        fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt", patience=0.3, pauses=(0.0,))
    assert time.monotonic() - began < 4.5


def test_a_server_that_drips_is_given_up_and_its_drops_are_kept(tmp_path):
    page = tagged(BODY, piece=5, pace=0.2)
    with serving(sets__gmt=page) as site:
        with pytest.raises(UnreachableError, match=r"only \d+ bytes came in 1 s.* bytes are kept"):
            fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt", patience=1.0, pauses=())
        page.piece, page.pace = 1 << 16, 0.0
        fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt", pauses=())
        assert site.requests[-1][2] == 206
    assert (tmp_path / "sets.gmt").read_bytes() == BODY


def test_an_address_that_cannot_be_reached(tmp_path):
    with serving() as site:
        nobody = site.address
    with pytest.raises(UnreachableError, match=r"cannot be reached: .*refused"):
        fetch(f"{nobody}/sets.gmt", tmp_path / "sets.gmt", role="gmt")
    with pytest.raises(OntologyError, match="no http or https address"):
        fetch("file:///etc/passwd", tmp_path / "sets.gmt", role="gmt")


def test_through_a_proxy(tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(sets__gmt=tagged(BODY)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address)
        fetch("http://files.invalid/release/sets.gmt", tmp_path / "sets.gmt", role="gmt")
        assert proxy.requests == [("http://files.invalid/release/sets.gmt", "", 200)]
    assert (tmp_path / "sets.gmt").read_bytes() == BODY


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name.replace("__", "."), body)
    return packed.getvalue()


class TestZip:
    def test_is_unpacked_and_both_hashes_are_kept(self, tmp_path):
        packed = zipped(sets__gmt=BODY, readme__txt=b"read me")
        with serving(sets__zip=tagged(packed, faults=[1_000])) as site:
            found = fetch(f"{site.address}/sets.zip", tmp_path / "sets.gmt", role="gmt", sha256=digest(BODY), **QUICK)
        assert (tmp_path / "sets.gmt").read_bytes() == BODY
        assert (found.origin.sha256, found.origin.archive_sha256) == (digest(BODY), digest(packed))
        assert visible(tmp_path) == {"sets.gmt", "sets.gmt.origin.json"}

    def test_one_member_may_have_any_name_but_of_several_one_must_fit(self, tmp_path):
        with serving(
            one__zip=tagged(zipped(other__gmt=BODY)), two__zip=tagged(zipped(a__gmt=BODY, b__gmt=BODY))
        ) as site:
            fetch(f"{site.address}/one.zip", tmp_path / "sets.gmt", role="gmt")
            with pytest.raises(OntologyError, match=r"has 2 members, 'a.gmt', 'b.gmt'"):
                fetch(f"{site.address}/two.zip", tmp_path / "more.gmt", role="gmt")
        assert not (tmp_path / "more.gmt").exists()

    def test_a_damaged_one_is_refused_and_then_fetched_anew(self, tmp_path):
        whole = zipped(sets__gmt=BODY)
        broken = whole[:500] + b"\x00" * 40 + whole[540:]
        with serving(sets__zip=tagged(broken)) as site:
            with pytest.raises(OntologyError, match="damaged zip"):
                fetch(f"{site.address}/sets.zip", tmp_path / "sets.gmt", role="gmt")
            assert visible(tmp_path) == set()
            site.pages["sets.zip"] = tagged(whole)
            fetch(f"{site.address}/sets.zip", tmp_path / "sets.gmt", role="gmt")
        assert (tmp_path / "sets.gmt").read_bytes() == BODY


class TestRefresh:
    def test_an_unchanged_file_is_not_sent_again(self, tmp_path):
        with serving(sets__gmt=tagged(BODY)) as site:
            first = fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt")
            sent = site.sent
            again = fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt", refresh=True)
            assert site.requests[-1][2] == 304
            assert site.sent == sent
        assert (again.state, again.origin) == ("unchanged", first.origin)

    def test_a_new_file_takes_its_place_and_the_old_one_is_kept(self, tmp_path):
        fresh = BODY.replace(b"SET", b"NEW")
        with serving(sets__gmt=tagged(BODY)) as site:
            fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt")
            site.pages["sets.gmt"] = tagged(fresh)
            found = fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt", refresh=True)
        assert found.state == "fetched"
        assert (tmp_path / "sets.gmt").read_bytes() == fresh
        assert (tmp_path / "previous" / digest(BODY)[:12] / "sets.gmt").read_bytes() == BODY
        records = json.loads((tmp_path / "sets.gmt.origin.json").read_text())
        assert [record["sha256"] for record in records] == [digest(BODY), digest(fresh)]

    def test_a_failure_leaves_the_old_file(self, tmp_path):
        with serving(sets__gmt=tagged(BODY)) as site:
            fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt")
            site.pages["sets.gmt"] = Page(b"<html>sorry</html>")
            with pytest.raises(OntologyError, match="HTML"):
                fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt", refresh=True)
        assert (tmp_path / "sets.gmt").read_bytes() == BODY

    def test_a_fixed_release_is_not_asked_for_again(self, tmp_path):
        with serving(sets__gmt=tagged(BODY)) as site:
            for _ in range(2):
                fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt", sha256=digest(BODY), refresh=True)
            assert len(site.requests) == 1


class TestByHand:
    def test_a_file_put_in_place_is_checked_and_taken(self, tmp_path):
        (tmp_path / "sets.gmt.gz").write_bytes(gzip.compress(BODY))
        found = fetch("http://127.0.0.1:9/sets.gmt", tmp_path / "sets.gmt", role="gmt", sha256=digest(BODY))
        assert (found.state, found.path) == ("by hand", tmp_path / "sets.gmt.gz")
        assert found.origin.address == ""
        assert fetch("http://127.0.0.1:9/sets.gmt", tmp_path / "sets.gmt", role="gmt").state == "there"

    def test_a_wrong_one_is_set_aside(self, tmp_path):
        (tmp_path / "sets.gmt").write_bytes(b"<html>sorry</html>")
        with pytest.raises(OntologyError, match="HTML"):
            fetch("http://127.0.0.1:9/sets.gmt", tmp_path / "sets.gmt", role="gmt")
        (tmp_path / "sets.gmt").write_bytes(BODY)
        with pytest.raises(OntologyError, match=rf"came by hand.*{digest(BODY)}.*{digest(b'')}"):
            fetch("http://127.0.0.1:9/sets.gmt", tmp_path / "sets.gmt", role="gmt", sha256=digest(b""))
        assert visible(tmp_path) == set()

    def test_a_file_changed_after_it_came_is_an_error(self, tmp_path):
        with serving(sets__gmt=tagged(BODY)) as site:
            fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt")
        (tmp_path / "sets.gmt").write_bytes(BODY + b"MINE\t\tA\n")
        with pytest.raises(OntologyError, match="was changed after it came"):
            fetch("http://127.0.0.1:9/sets.gmt", tmp_path / "sets.gmt", role="gmt")


def test_two_processes_at_once_fetch_it_once(tmp_path):
    with serving(sets__gmt=tagged(BODY, pace=0.2)) as site:
        both = [start(f"{site.address}/sets.gmt", tmp_path / "sets.gmt") for _ in range(2)]
        states = sorted(process.communicate(timeout=120)[0].strip() for process in both)
        assert states == ["fetched", "there"]
        assert len(site.requests) == 1
    assert (tmp_path / "sets.gmt").read_bytes() == BODY


def test_a_kill_loses_nothing(tmp_path):
    page = tagged(BODY, piece=20_000, pace=0.1)
    with serving(sets__gmt=page) as site:
        process = start(f"{site.address}/sets.gmt", tmp_path / "sets.gmt")
        part = tmp_path / "unchecked" / "sets.gmt.part"
        until(lambda: part.exists() and part.stat().st_size > 0)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert visible(tmp_path) == set()
        came = part.stat().st_size
        assert 0 < came < len(BODY)
        page.pace = 0.0
        fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt")
        assert site.requests[-1] == ("/sets.gmt", f"bytes={came}-", 206)
    assert (tmp_path / "sets.gmt").read_bytes() == BODY


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_loses_nothing(tmp_path):
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n" + FETCH
    with serving(sets__gmt=tagged(BODY)) as site:
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        full = subprocess.run(
            [sys.executable, "-c", limited, f"{site.address}/sets.gmt", str(tmp_path / "sets.gmt")],
            env=env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert full.returncode == 1
        assert "File too large" in full.stderr
        assert "Make room; the same command goes on from there" in full.stderr
        assert visible(tmp_path) == set()
        fetch(f"{site.address}/sets.gmt", tmp_path / "sets.gmt", role="gmt")
        assert site.requests[-1][2] == 206
    assert (tmp_path / "sets.gmt").read_bytes() == BODY


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("VNN_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("VNN_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "vnn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "vnn"
