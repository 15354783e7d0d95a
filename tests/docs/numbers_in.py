"""The numbers in a text, by which pages are held to what they have from elsewhere."""

import re


def numbers_in(text: str) -> set[str]:
    """Numbers as they are written, such as 1,866 and 0.95."""
    return set(re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text))
