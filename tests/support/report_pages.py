"""A report's page as its tests read it."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Tags with their attributes, and the text, of a page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.parts, self.data = [], [], ""
        self.inside = ""
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside = tag
            self.is_data = dict(attrs).get("id") == "data"

    def handle_endtag(self, tag):
        if tag == self.inside:
            self.inside = ""

    def handle_data(self, data):
        if not self.inside:
            self.parts.append(data)
        elif self.inside == "script" and self.is_data:
            self.data += data

    def of(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in wanted.items())]


GREEN = {"grade-A", "grade-B", "risk-low", "verdict-pass", "trend-better", "yes"}
"""Classes of elements that stand in green (`tokens.css`)."""


def green(page):
    """The elements of a page that stand in green: tags with their classes."""
    return [(tag, a["class"]) for tag, a in page.tags if GREEN & set(a.get("class", "").split())]
