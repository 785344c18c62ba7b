"""Pictures in rows and columns, with titles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from quantart.images.arrays import Picture, to_pillow


def picture_grid(
    rows: Sequence[Sequence[Picture]],
    column_titles: Sequence[str] | None = None,
    row_titles: Sequence[str] | None = None,
    cell: int = 192,
) -> Picture:
    """Pictures in rows and columns on white, each fitted into a square of `cell` pixels.

    Titles are above the columns and left of the rows. The ends of shorter rows stay white.

    Raises:
        ValueError: no picture, or the number of titles differs from the number of rows or columns.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise ValueError("a grid needs at least one picture")
    column_titles, row_titles = _titles(column_titles, columns, "column"), _titles(row_titles, len(rows), "row")
    font = ImageFont.load_default(max(13, cell // 11))
    gap = 4
    row_titles = [_shortened(title, font, cell) for title in row_titles]
    left = gap + (int(max(map(font.getlength, row_titles))) + 2 * gap if any(row_titles) else 0)
    top = gap + (round(1.6 * font.getbbox("Ag")[3]) if any(column_titles) else 0)
    step = cell + gap
    sheet = Image.new("RGB", (left + columns * step, top + len(rows) * step), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(column_titles):
        place = (left + column * step + cell // 2, top // 2)
        draw.text(place, _shortened(title, font, cell), fill="black", font=font, anchor="mm")
    for row, title in enumerate(row_titles):
        draw.text((2 * gap, top + row * step + cell // 2), title, fill="black", font=font, anchor="lm")
        for column, array in enumerate(rows[row]):
            picture = ImageOps.contain(to_pillow(array), (cell, cell), Image.Resampling.LANCZOS)
            x, y = left + column * step, top + row * step
            sheet.paste(picture, (x + (cell - picture.width) // 2, y + (cell - picture.height) // 2))
    return np.array(sheet)


def _titles(titles: Sequence[str] | None, count: int, what: str) -> list[str]:
    if titles is None:
        return [""] * count
    if len(titles) != count:
        raise ValueError(f"{len(titles)} {what} titles for {count} {what}s")
    return [" ".join(title.split()) for title in titles]


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
