"""Open pages of a studio in the browser, signed in."""

from browser import Browser, Page

SCREENS = {
    "home": "/",
    "images": "/images",
    "judge": "/judge",
    "generate": "/generate",
    "train": "/train",
    "compare": "/compare",
    "blind": "/blind",
    "export": "/export",
    "settings": "/settings",
}


def signed_in(browser: Browser, link: str, path: str = "/", width: int = 1100, dark: bool = False) -> Page:
    """A page at a path, after the person of the link has signed in."""
    page = browser.page(width, 844 if width < 600 else 800, dark)
    base = link.split("/welcome", maxsplit=1)[0]
    page.wait_for("true")
    page.browser.call("Page.navigate", page.session, url=link)
    page.wait_for(f"location.href.startsWith('{base}') && location.pathname !== '/welcome'")
    page.open(f"{base}{path}")
    return page
