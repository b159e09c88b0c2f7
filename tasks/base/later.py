"""What a verb that answers at once must not wait for is loaded when it is used: site-packages, `inspect`.

`xc` runs Python without `site` (-S). `install` makes both come when something asks for them, so no other
module has to know. And no garbage is looked for while modules are loaded: there is none.
"""

from __future__ import annotations

import gc
import os
import sys
import types

# What `dataclasses` imports for classes without a docstring alone.
LAZY = ("inspect",)
# Modules of other systems, which the standard library tries to import.
NOT_HERE = ("org", "nt", "_winapi", "winreg")


class _Later(types.ModuleType):
    """Stands for a module until something of it is used.

    importlib.util.LazyLoader would do, but before Python 3.12 an import is a use for it.
    """

    def __getattr__(self, name: str) -> object:
        """Anything that is not there yet."""
        if name.startswith("__"):
            raise AttributeError(name)  # the import system asks
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        __import__(self.__name__)
        return getattr(sys.modules[self.__name__], name)


class _Site:
    """The last finder: for a module that nobody has found, it puts site-packages into sys.path."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """The spec of a module that is in site-packages."""
        if path is not None or name in NOT_HERE:
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        import importlib.util
        import site

        site.main()
        return importlib.util.find_spec(name)


def install() -> None:
    """Have it all come when it is asked for."""
    gc.disable()
    # To look for plugins, pydantic reads what every installed package says of itself: we have none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for name in LAZY:
        sys.modules.setdefault(name, _Later(name))
    if sys.flags.no_site:
        sys.meta_path.append(_Site())  # type: ignore[arg-type]


def loaded() -> None:
    """All that is needed is loaded, and work begins: from now on garbage is looked for."""
    gc.freeze()
    gc.enable()
