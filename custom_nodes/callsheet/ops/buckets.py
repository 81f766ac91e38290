"""The sizes that MultiTalk was trained at: the one nearest to a picture's shape. Pure."""

from __future__ import annotations

from fractions import Fraction

# MultiTalk, wan/utils/multitalk_utils.py, ASPECT_RATIO_627 and ASPECT_RATIO_960: its rounded ratio
# of height to width, by which it chooses; height and width in pixels.
SIZES_480 = (
    ("0.26", 320, 1216), ("0.38", 384, 1024), ("0.50", 448, 896), ("0.67", 512, 768),
    ("0.82", 576, 704), ("1.00", 640, 640), ("1.22", 704, 576), ("1.50", 768, 512),
    ("1.86", 832, 448), ("2.00", 896, 448), ("2.50", 960, 384), ("2.83", 1088, 384),
    ("3.60", 1152, 320), ("3.80", 1216, 320), ("4.00", 1280, 320),
)  # fmt: skip
SIZES_720 = (
    ("0.22", 448, 2048), ("0.29", 512, 1792), ("0.36", 576, 1600), ("0.45", 640, 1408),
    ("0.55", 704, 1280), ("0.63", 768, 1216), ("0.76", 832, 1088), ("0.88", 896, 1024),
    ("1.00", 960, 960), ("1.14", 1024, 896), ("1.31", 1088, 832), ("1.50", 1152, 768),
    ("1.58", 1216, 768), ("1.82", 1280, 704), ("1.91", 1344, 704), ("2.20", 1408, 640),
    ("2.30", 1472, 640), ("2.67", 1536, 576), ("2.89", 1664, 576), ("3.62", 1856, 512),
    ("3.75", 1920, 512),
)  # fmt: skip
# A quarter of the 480 sizes, for rehearsals and quick looks: still multiples of 16.
SIZES_DRAFT = tuple((ratio, height // 4, width // 4) for ratio, height, width in SIZES_480)

TABLES = {"multitalk-480": SIZES_480, "multitalk-720": SIZES_720, "draft": SIZES_DRAFT}


def check_size(name: str) -> None:
    if name not in TABLES:
        raise ValueError(f"size: {name!r} is not one of {', '.join(TABLES)}")


def nearest(name: str, *, width: int, height: int) -> tuple[int, int]:
    """(width, height) of the bucket for a picture; of two as near, the wider one."""
    check_size(name)
    shape = Fraction(height, width)
    _, bucket_height, bucket_width = min(
        TABLES[name], key=lambda bucket: abs(Fraction(bucket[0]) - shape)
    )
    return bucket_width, bucket_height
