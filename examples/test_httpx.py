"""httpx: a backend that fails, hangs, or drips.

Needs httpx and a web server. BACKEND says where: http://localhost:8000/ (python -m http.server) if it is not set.

    pytest examples/test_httpx.py               the naive clients fail as expected, the hardened one passes
    pytest examples/test_httpx.py --runxfail    shows how the naive clients fail
"""

import asyncio
import os

import httpx
import pytest

BACKEND = httpx.URL(os.environ.get("BACKEND", "http://localhost:8000/"))
pytestmark = pytest.mark.vaurien(backend=f"{BACKEND.host}:{BACKEND.port or 80}", protocol="http")

TRY_AGAIN = {502, 503, 504}
ATTEMPTS = 4
PATIENCE = 2.0  # seconds for all attempts together


def fetch(url):
    response = httpx.get(url, timeout=0.5)
    response.raise_for_status()
    return response.content


def fetch_for_certain(url):
    return asyncio.run(fetch_in_time(url))


async def fetch_in_time(url):
    """A time-out for each attempt, a few attempts, and an end to all of it. For what may be asked twice, such as GET.

    httpx's time-outs are for each read: bytes that drip never reach them. So the whole needs one of its own, and what
    asyncio offers for that ends a request wherever it is.
    """
    async with asyncio.timeout(PATIENCE), httpx.AsyncClient(timeout=0.5) as client:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = await client.get(url)
            except httpx.TransportError:
                if attempt == ATTEMPTS:
                    raise
            else:
                if response.status_code not in TRY_AGAIN or attempt == ATTEMPTS:
                    break
            await asyncio.sleep(0.05 * attempt)
    response.raise_for_status()
    return response.content


@pytest.fixture
def url(vaurien_proxy):
    return httpx.URL(vaurien_proxy.url("http")).join(BACKEND.path)


def naive(fails):
    return pytest.param(fetch, marks=pytest.mark.xfail(raises=fails, strict=True))


@pytest.mark.parametrize("fetch", [naive(fails=httpx.HTTPStatusError), fetch_for_certain])
def test_a_backend_that_is_overloaded_for_a_moment(vaurien_proxy, url, fetch):
    with vaurien_proxy.fault("http_status", status=503, scope="exchange", window={"count": 2}):
        assert fetch(url) == httpx.get(str(BACKEND)).content


@pytest.mark.parametrize("fetch", [naive(fails=httpx.ReadTimeout), fetch_for_certain])
def test_a_backend_that_hangs_once(vaurien_proxy, url, fetch):
    with vaurien_proxy.fault("hang", scope="exchange", window={"count": 1}):
        assert fetch(url) == httpx.get(str(BACKEND)).content


@pytest.mark.parametrize("fetch", [naive(fails=pytest.fail.Exception), fetch_for_certain])
def test_a_backend_that_drips(vaurien_proxy, url, fetch):
    # A byte every 15 ms: each read is quick, and the page takes for ever.
    with vaurien_proxy.fault("slicer", average_size=1, delay="15ms", stream="downstream"):
        with pytest.raises((TimeoutError, httpx.TimeoutException)):
            fetch(url)
