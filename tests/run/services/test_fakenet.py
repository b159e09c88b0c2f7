"""The pretended internet as a setting: what it needs."""

import pytest

from tasks.definitions.settings import Settings
from tasks.run.services import fakenet


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"net": "userspace"}, ""),
        ({"net": "bridge", "dns": "on"}, ""),
        ({"net": "custom"}, "fakenet: it works with --net=bridge or userspace, and not with --net=custom"),
        ({"net": "bridge", "dns": "off"}, "fakenet: it needs a DNS server, and --dns=off is for none"),
    ],
)
def test_what_it_needs(settings: dict[str, str], says: str) -> None:
    assert "".join(fakenet.preflight(Settings.model_validate({"fakenet": "on", **settings}))) == says
    assert fakenet.preflight(Settings.model_validate(settings)) == []
