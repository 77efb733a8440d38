"""What widgets share whose dials draw one picture anew, at once and without a run that goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from wdlab.checks import known
from wdlab.lab.controls import alarm, bundle


class Instant(ABC):
    """Dials by the names of the fields of `setting`, a picture, and a status line in words.

    A widget makes its `dials`, `status` and `_root` in `_make_widgets`, and in `_redraw` the picture `_png` with its
    words `alt`. The cell that shows it also keeps them, for readers without a kernel.
    """

    setting: Any
    dials: dict[str, Any]
    status: Any
    alt: str
    _root: Any
    _png: bytes
    _following = False  # while the dials follow the setting, their changes are no turns

    def turn(self, **dials: Any) -> None:
        """Turn some dials from code. Raises ValueError, and says so beside the picture, for what is not allowed."""
        try:
            self.setting = self._turned(self.setting, dials)
        except ValueError as error:
            self.status.value = alarm(str(error))
            raise
        self._follow()
        self._redraw()

    def close(self) -> None:
        """Take the widgets away."""
        self._root.close()

    @abstractmethod
    def _redraw(self) -> None:
        """Draw the picture of the setting, and say what it shows."""

    def _turned(self, setting: Any, dials: Mapping[str, Any]) -> Any:
        """Return the setting with some dials turned; raises ValueError for what is not allowed."""
        for dial in dials:
            known("dial", dial, [field.name for field in fields(setting)])
        return replace(setting, **dials)

    def _follow(self) -> None:
        self._following = True
        try:
            self._set_dials()
        finally:
            self._following = False

    def _set_dials(self) -> None:
        """Show the setting on the dials."""
        for key, dial in self.dials.items():
            dial.value = getattr(self.setting, key)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        self._root.shown = self  # what a cell shows stays alive with its widgets
        return bundle(self._root, self._png, self.alt)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self._repr_mimebundle_(), raw=True)  # type: ignore[no-untyped-call]
