"""The tags and the text of a page."""

from __future__ import annotations

from html.parser import HTMLParser


class Tags(HTMLParser):
    """`tags` are pairs of name and attributes, `text` is what stands between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data
