"""What tests of the Lab know of a projector, here and in the browser, where nothing else of them is loaded."""

WIDTH = 670
"""How wide the Lab's picture is, in CSS pixels, where a projector of 1280 x 720 pixels shows the page at 150%."""
