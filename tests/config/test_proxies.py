"""The proxy for requests to the issuer."""

from __future__ import annotations

import pytest

from taskapi.config.proxies import Proxy, proxy_for
from taskapi.config.settings import Config, ConfigError

KEYS = "https://app.example.com/api/auth/jwks"
BASIC = "Basic dXNlcjpwQHNzOncvcmQ="

PROXIES: dict[str, tuple[str, dict[str, str], Proxy | None]] = {
    "none": (KEYS, {}, None),
    "empty": (KEYS, {"HTTPS_PROXY": " "}, None),
    "for https": (KEYS, {"HTTPS_PROXY": "http://proxy:3128"}, Proxy("proxy", 3128)),
    "in small letters": (KEYS, {"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2"}, Proxy("a", 1)),
    "without a scheme": (KEYS, {"HTTPS_PROXY": "proxy:3128"}, Proxy("proxy", 3128)),
    "without a port": (KEYS, {"HTTPS_PROXY": "http://proxy/"}, Proxy("proxy", 80)),
    "on IPv6": (KEYS, {"HTTPS_PROXY": "http://[::1]:3128"}, Proxy("::1", 3128)),
    "with credentials": (KEYS, {"HTTPS_PROXY": "http://user:p%40ss%3Aw%2Frd@p:1"}, Proxy("p", 1, BASIC)),
    "for http": ("http://app/jwks", {"HTTP_PROXY": "http://proxy:1"}, Proxy("proxy", 1)),
    "of this host": ("http://localhost:3000/jwks", {"HTTP_PROXY": "http://proxy:1"}, None),
    "of the address of this host": ("http://127.0.0.1:3000/jwks", {"HTTP_PROXY": "http://proxy:1"}, None),
    "of the IPv6 address of this host": ("http://[::1]:3000/jwks", {"HTTP_PROXY": "http://proxy:1"}, None),
    "of the other scheme": (KEYS, {"HTTP_PROXY": "http://proxy:1"}, None),
    "of the other scheme, unused and of another kind": (KEYS, {"HTTP_PROXY": "socks5://proxy:1"}, None),
}


@pytest.mark.parametrize(("url", "environ", "proxy"), PROXIES.values(), ids=PROXIES)
def test_the_environment_names_the_proxy(url: str, environ: dict[str, str], proxy: Proxy | None):
    assert proxy_for(url, environ) == proxy


EXEMPT = {
    "app.example.com": True,
    "APP.example.com": True,
    "example.com": True,
    ".example.com": True,
    "*.example.com": True,
    "localhost, app.example.com": True,
    "localhost app.example.com": True,
    "app.example.com:443": True,
    "*": True,
    "": False,
    " , ": False,
    "example.org": False,
    "p.example.com": False,
    "ample.com": False,
    "app.example.com:8443": False,
    "10.0.0.0/8": False,
}


@pytest.mark.parametrize(("entries", "is_exempt"), EXEMPT.items())
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_has_hosts_domains_and_ports(name: str, entries: str, *, is_exempt: bool):
    proxy = proxy_for(KEYS, {"HTTPS_PROXY": "http://proxy:1", name: entries})
    assert (proxy is None) == is_exempt


@pytest.mark.parametrize(
    ("url", "entries", "is_exempt"),
    [
        ("https://10.1.2.3/jwks", "10.0.0.0/8", True),
        ("https://10.1.2.3/jwks", "10.1.2.3", True),
        ("https://11.1.2.3/jwks", "10.0.0.0/8,nonsense/8", False),
        ("https://[fd00::1]:8443/jwks", "fd00::/8", True),
        ("https://[fd00::1]:8443/jwks", "[fd00::1]:8443", True),
    ],
)
def test_no_proxy_has_networks_and_addresses(url: str, entries: str, *, is_exempt: bool):
    assert (proxy_for(url, {"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": entries}) is None) == is_exempt


@pytest.mark.parametrize(
    "value",
    [
        "socks5://hunter2:1",
        "https://hunter2:1",
        "http://",
        "http://u:hunter2@p:x",
        "http://p/hunter2",
        "http://p:1?hunter2",
    ],
)
def test_a_proxy_of_another_kind_is_a_start_up_error_without_its_value(value: str):
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"BETTER_AUTH_URL": "https://app.example.com", "HTTPS_PROXY": value})
    assert caught.value.problems == ["HTTPS_PROXY is not http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"]


def test_the_proxy_of_the_key_set_is_a_setting_and_shows_no_credentials():
    environ = {"BETTER_AUTH_URL": "https://app.example.com", "HTTPS_PROXY": "http://user:hunter2@proxy:3128"}
    config = Config.from_env(environ)
    assert config.jwks_proxy == Proxy("proxy", 3128, "Basic dXNlcjpodW50ZXIy")
    assert "hunter2" not in repr(config)
    assert "dXNlcjpodW50ZXIy" not in repr(config)
