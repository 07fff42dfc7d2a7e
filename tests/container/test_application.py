"""An application of one's own in the image: built on it, or mounted into it."""

import json
import urllib.request
from collections.abc import Iterator

import pytest

from tests.container.engine import IMAGE, ROOT, Container, engine

SHOP = ROOT / "examples" / "shop"
SHOP_IMAGE = "whalefall-test-shop"


@pytest.fixture(scope="module")
def shop_image(image: str) -> Iterator[str]:
    engine("build", "--tag", SHOP_IMAGE, "--build-arg", f"BASE={image}", str(SHOP), timeout_s=300)
    yield SHOP_IMAGE
    engine("rmi", "--force", SHOP_IMAGE)


def jobs(container: Container) -> set[str]:
    url = f"http://127.0.0.1:{container.ports.http}/api/v1/scheduler/jobs"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return {job["id"] for job in json.load(answer)["data"]}


def test_an_image_built_on_ours_runs_its_procfile(shop_image: str) -> None:
    with Container(image=shop_image) as container:
        container.until_ready()
        assert container.get("/") == 200
        assert {"close-unpaid", "turnover"} <= jobs(container)


def test_an_application_that_is_mounted_runs_too(image: str) -> None:
    with Container("--volume", f"{SHOP}:/app:ro", image=IMAGE) as container:
        container.until_ready()
        assert container.get("/") == 200
        assert {"close-unpaid", "turnover"} <= jobs(container)
