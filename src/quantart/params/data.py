"""`data`: where the pictures are and how they are prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from quantart.params.section import Count, Fraction, Section
from quantart.vocabulary.filters import parse_where
from quantart.vocabulary.names import DOMAINS, Domain
from quantart.vocabulary.pictures import is_picture


class TableParams(Section):
    """How a table (`.csv`) or a list (`.txt`) names pictures."""

    column: str | None = Field(None, min_length=1)
    """column of a table with the names; null: `filename`"""
    where: str | None = None
    """filter on a table's rows: `genre == landscape and year != 1900`"""
    root: str | None = None
    """folder that the names are relative to and must lead into, `/` for absolute paths anywhere; itself relative to the
    project's root or absolute; null: the folder of the table or list"""

    @model_validator(mode="after")
    def _check_filter(self) -> TableParams:
        if self.where is not None:
            parse_where(self.where)
        return self


class DataParams(Section):
    content: str
    """photographs: a folder, list (.txt), table (.csv), shard (.tar) or single picture, relative to the project's root
    or absolute"""
    style: str
    """paintings, in the same forms"""
    content_table: TableParams | None = None
    """how to read `content` if it is a list or table"""
    style_table: TableParams | None = None
    """how to read `style` if it is a list or table"""
    paired: bool = False
    """whether pictures with the same name in both domains form pairs"""
    resolution: int = Field(ge=32)
    """side in pixels of the square that the networks see"""
    short_side: int = Field(ge=32)
    """short side in pixels of the stored pictures"""
    resize: Literal["short_side", "squash"] = "short_side"
    """short_side: keep the aspect ratio; squash: resize to a square of short_side, as the reference"""
    max_aspect: float = Field(2.0, ge=1.0)
    """longer pictures are cropped at both ends to this aspect ratio"""
    val_share: Fraction = 0.08
    """fraction of the pictures used for validation during training"""
    test_share: Fraction = 0.14
    """fraction of the pictures held out for the evaluation"""
    max_pixels: Count = 250_000_000
    """pictures with more pixels are rejected without decoding them; each process needs memory for one (docs/data.md)"""
    max_rejected_share: float = Field(0.05, ge=0.0, le=1.0)
    """the stage fails if a larger fraction of the pictures is rejected"""

    @model_validator(mode="after")
    def _check_together(self) -> DataParams:
        if self.short_side < self.resolution:
            raise ValueError(f"short_side {self.short_side} is smaller than resolution {self.resolution}")
        if self.val_share + self.test_share >= 1.0:
            raise ValueError(f"val_share {self.val_share} and test_share {self.test_share}: their sum must be below 1")
        for domain in DOMAINS:
            source, table = self.folder(domain), self.table(domain)
            kind = Path(source).suffix.lower()
            if table is not None and kind not in {".csv", ".txt"}:
                raise ValueError(f"{domain}_table must be null: {domain} is {source!r}, no table (.csv) or list (.txt)")
            if table is not None and kind == ".txt" and (table.column is not None or table.where is not None):
                raise ValueError(f"{domain}_table has a column or a filter, but {domain} is a list; set only its root")
            if self.paired and is_picture(source):
                raise ValueError(f"paired must be false: {domain} is a single picture")
        return self

    def folder(self, domain: Domain) -> str:
        """The source of a domain's pictures as it was given; usually a folder."""
        return self.content if domain == "content" else self.style

    def table(self, domain: Domain) -> TableParams | None:
        return self.content_table if domain == "content" else self.style_table
