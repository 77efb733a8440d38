from __future__ import annotations

import base64
import io

import ipywidgets as widgets
import numpy as np
import pytest
from PIL import Image

from wdlab.figures.style import BACKGROUND, INK
from wdlab.lab import controls
from wdlab.lab.controls import ALARM, DASHES, PALE, PALETTE, QUIET, SHADE, figure_png, new_figure

# How linear RGB looks without one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1).
BLIND = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio, 1 to 21."""
    low, high = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b*: distances of 10 and more are plain to see."""
    xyz = XYZ @ np.clip(rgb, 0, 1) / XYZ.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_contrast_is_wcags() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21, abs=0.01)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("ground", [BACKGROUND, SHADE])
def test_lines_and_text_stand_out(ground: str) -> None:
    assert min(contrast(colour, ground) for colour in PALETTE) >= 3
    assert min(contrast(colour, ground) for colour in (INK, QUIET, ALARM)) >= 4.5


@pytest.mark.parametrize(("ground", "ink"), [(255, 0.13 * 255), (17, 255)])  # JupyterLab's text: 87% black, and white
def test_pale_text_can_be_read(ground: float, ink: float) -> None:
    grey = round(ground + PALE * (ink - ground))
    assert contrast(f"#{grey:02x}{grey:02x}{grey:02x}", f"#{ground:02x}{ground:02x}{ground:02x}") >= 4.5


@pytest.mark.parametrize("kind", BLIND)
def test_lines_differ_in_colour_whatever_the_eye(kind: str) -> None:
    seen = [lab(np.array(BLIND[kind]) @ linear(colour)) for colour in PALETTE]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(apart) > 15


def test_lines_differ_in_grey_and_in_dashes() -> None:
    lightness = sorted(lab(linear(colour))[0] for colour in PALETTE)
    assert min(np.diff(lightness)) > 5
    assert len(set(DASHES)) == len(DASHES) == len(PALETTE)


def test_a_figure_becomes_an_opaque_picture_of_fixed_size() -> None:
    figure = new_figure(2, 1)
    empty = Image.open(io.BytesIO(figure_png(figure)))
    figure.subplots().set_xlabel("a long label that reaches over the edge " * 5)
    full = Image.open(io.BytesIO(figure_png(figure)))
    assert empty.size == full.size == (2 * controls.DPI, controls.DPI)
    assert set(np.asarray(empty.convert("RGBA"))[..., 3].flat) == {255}


def test_a_figure_takes_nothing_from_the_users_style() -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 40, "axes.facecolor": "black"}):
        axes = new_figure(2, 1).subplots()
    assert axes.figure.get_facecolor() == (1, 1, 1, 1)


def test_labels_are_seen_and_escaped() -> None:
    shown = controls.labelled(widgets.IntSlider(), "λ < 1", "& more")
    assert "<b>λ &lt; 1</b>" in shown.children[0].value
    assert "&amp; more" in shown.children[0].value


@pytest.mark.parametrize("make", [widgets.Text, widgets.Dropdown])
def test_a_field_and_a_list_have_a_name_that_takes_no_room(make) -> None:
    control = make()
    controls.labelled(control, "Plus or minus")
    assert control.description == "Plus or minus" and control.style.description_width == "0px"


@pytest.mark.parametrize("make", [controls.line, controls.alarm, controls.unseen, controls.label])
def test_html_is_escaped(make) -> None:
    assert "<script>" not in make("<script>alert(1)</script>")
    assert "&lt;script&gt;" in make("<script>alert(1)</script>")


def test_a_cell_stores_the_view_and_the_picture_with_its_words() -> None:
    root = widgets.HTML()
    stored = controls.bundle(root, b"a picture", 'w < "2"')
    assert stored[controls.VIEW] == {"version_major": 2, "version_minor": 0, "model_id": root.model_id}
    assert base64.b64decode(str(stored["image/png"])) == b"a picture" and stored["text/plain"] == 'w < "2"'
    shown = f'<img alt="w &lt; &quot;2&quot;" src="data:image/png;base64,{stored["image/png"]}"'
    assert str(stored["text/html"]).startswith(shown)
    root.close()


def test_a_log_slider_has_four_stops_a_decade() -> None:
    slider = controls.log_slider(0.01, -4, -1)
    assert (slider.min, slider.max, slider.step, slider.value) == (-4, -1, 0.25, 0.01)
    assert not slider.continuous_update
