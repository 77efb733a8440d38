"""What lies around the dials of a Lab: buttons, progress, status, the picture, the curves to choose, the table."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets

from wdlab.lab.controls import button, picture, row, stack, switch, weakly
from wdlab.lab.panel import Panel
from wdlab.lab.quantities import QUANTITIES, quantity
from wdlab.lab.table import Table
from wdlab.tasks import Task

Handlers = Mapping[str, Callable[[Any], None]]
STOP = "ends the run; a closed tab keeps the kernel and its run"
HINT = "Fork copies the run; the copy goes on under the dials, or with its decay switched."


class Moving(threading.local):
    """Whether this thread moves the switch, which is no press; one may come in another thread at the same moment."""

    now = False


class Desk:
    """The widgets of a Lab around its `panel`; `handlers` are called, by name, when one is touched."""

    def __init__(self, panel: Panel, handlers: Handlers, curves: Sequence[str], link: str) -> None:
        self.run = button("Run", icon="play", button_style="primary")
        self.pause = button("Pause", icon="pause", disabled=True)
        self.step = button("Step", icon="step-forward", tooltip="take one step of the run, then rest")
        self.stop = button("Stop", icon="stop", disabled=True, tooltip=STOP)
        self.reset = button("Reset", icon="refresh", tooltip="forget all runs, put the dials back")
        self.fork = button("Fork", icon="code-fork", disabled=True, tooltip=HINT)
        self.clear = button("Clear runs", icon="eraser", tooltip="take earlier runs out of picture and table")
        self.decay = switch("Decay now", disabled=True, tooltip="acts on the run that goes on, within one step")
        self.progress = widgets.IntProgress(min=0, max=1, layout=widgets.Layout(width="auto"))
        self.status, self.words = widgets.HTML(), widgets.HTML()
        self.image = picture(b"", "700px")
        self.curves = {name: switch(one.short, name in curves) for name, one in QUANTITIES.items()}
        self.table = Table(self.clear)
        self.link = widgets.Text(value=link, description="Setting", layout=widgets.Layout(width="auto"))
        self._moving = Moving()
        self.root = self._lay_out(panel)
        self._listen(handlers)

    def _lay_out(self, panel: Panel) -> Any:
        buttons = [row([self.run, self.pause, self.step, self.stop]), row([self.decay, self.fork, self.reset])]
        controls = [*buttons, self.progress, self.status]  # the status grows, so it comes last
        left = stack(
            controls if panel.columns else [panel.box, *controls], flex="1 1 270px", max_width="700px", min_width="0"
        )
        choice = row([widgets.HTML("<b>Curves</b>"), *self.curves.values()], align_items="center", grid_gap="0 6px")
        right = stack(
            [choice, self.image, self.words], flex="3 1 460px", max_width="700px", min_width="0", overflow="auto"
        )
        both = row([left, right], align_items="flex-start", width="100%", grid_gap="12px", margin="6px 0 0 0")
        told = widgets.HTML("Hand this text on: <code>Lab.from_link('...')</code> opens a Lab at this setting.")
        self.folded = {  # an Accordion could not be opened by keyboard
            switch("Table of runs", icon="table"): self.table.box,
            switch("This setting as text", icon="link"): stack([told, self.link]),
        }
        for box in self.folded.values():
            box.layout.display = "none"
        more = stack([row(list(self.folded)), *self.folded.values()], min_width="0")
        return stack([*([panel.box] if panel.columns else []), both, more], width="100%")

    def _listen(self, handlers: Handlers) -> None:
        for name in ("run", "pause", "step", "stop", "reset", "clear", "fork"):
            getattr(self, name).on_click(weakly(handlers[name]))
        self.decay.observe(weakly(self._on_decay), "value")
        self._switched = weakly(handlers["decay"])
        for one in self.curves.values():
            one.observe(weakly(handlers["curves"]), "value")
        for one in self.folded:
            one.observe(weakly(self._on_fold), "value")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The curves that are switched on."""
        return tuple(name for name, one in self.curves.items() if one.value)

    def _on_decay(self, change: dict[str, Any]) -> None:
        if not self._moving.now:
            self._switched(change["new"])

    def _on_fold(self, change: dict[str, Any]) -> None:
        self.folded[change["owner"]].layout.display = None if change["new"] else "none"

    def name_curves(self, task: Task) -> None:
        """Call the curves on their buttons as `task` calls them."""
        for name, one in self.curves.items():
            one.description = quantity(name, task).short

    def follow(self, running: bool, paused: bool, decays: bool) -> None:
        """Let the buttons show where the run is, and the switch whether decay acts in it."""
        self.pause.disabled = self.stop.disabled = self.fork.disabled = self.decay.disabled = not running
        self.pause.description, self.pause.icon = ("Go on", "play") if running and paused else ("Pause", "pause")
        self._moving.now = True
        try:
            self.decay.value = running and decays
        finally:
            self._moving.now = False
        self.decay.description = f"Decay now: {'on' if decays else 'off'}" if running else "Decay now"
