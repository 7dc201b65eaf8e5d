"""Colours: told apart by people who see red and green alike, on light and on dark, in print by marker and dash.

The seven of the series follow Okabe and Ito, "Color Universal Design" (2008), darkened until each has a contrast of
three to one to white; those for dark pages are lightened in the same way. No meaning is carried by colour alone.
"""

from __future__ import annotations

from ..results import Kind

__all__ = ["DASHES", "GRID", "INK", "KINDS", "MARKERS", "MUTED", "PAPER", "SERIES", "VARIABLES"]

INK, MUTED, GRID, PAPER = "#1b1b1d", "#55565c", "#d8d9de", "#ffffff"
SERIES = ("#0072b2", "#c4500a", "#007f5f", "#a0468c", "#8a6a00", "#2b2f9e", "#6b4a3a")
KINDS: dict[Kind, str] = {"sessiondb": SERIES[0], "peer": SERIES[1], "floor": MUTED}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: dict[Kind, tuple[float, ...]] = {"sessiondb": (), "peer": (5, 2), "floor": (1, 1.5)}
_DARK = {
    INK: "#ececf0", MUTED: "#a9abb4", GRID: "#3d4048", PAPER: "#16171a",
    **dict(zip(SERIES, ("#5bb4ee", "#ff9a5c", "#3fcb9f", "#e79ad6", "#e0c14a", "#9aa0ff", "#cfa48f"), strict=True)),
}  # fmt: skip
VARIABLES = {light: (f"--c{number}", light, dark) for number, (light, dark) in enumerate(_DARK.items())}
"""Name of the page's variable, and its value on light and on dark pages, by the colour in pictures."""
