"""Debian packages that a recipe takes; lock, fetch, the cache and the bill of materials read them there."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PackageRequest:
    """What a recipe asks of one suite, in the words in which it asks apt."""

    suite: str
    names: tuple[str, ...]
    exclude: tuple[str, ...] = ()  # never taken as a dependency
    alone: bool = False  # without what they depend on
    base: "BaseImage | None" = None  # its packages are there already


@dataclass(frozen=True)
class BaseImage:
    """An image whose packages are left out, because every node has them."""

    name: str
    packages: PackageRequest | None  # None: a disk made elsewhere, of which nothing is known
