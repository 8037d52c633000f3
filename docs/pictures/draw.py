"""Draws the pictures of the documents: ``python docs/pictures/draw.py`` writes them beside this file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
PLAIN, BROKER, USER, BAD = "#eef2f7", "#fde9c9", "#d9f2df", "#f9d7d7"
INK = "#1f2937"


@dataclass
class Picture:
    """Boxes and arrows on a light ground, so that it can be read on a dark page too."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def frame(self, x: int, y: int, w: int, h: int, name: str) -> None:
        """Draw what holds other boxes, with its name above them."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="8" fill="none" stroke="#9aa5b1" '
            f'stroke-dasharray="5 4"/>'
        )
        self._text(x + 10, y + 18, name, size=12, anchor="start", colour="#52606d")

    def box(self, x: int, y: int, w: int, h: int, *lines: str, fill: str = PLAIN) -> None:
        """Draw a box; its first line is what it is, the others say more."""
        self.parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6" fill="{fill}" stroke="{INK}"/>')
        top = y + h / 2 - (len(lines) - 1) * 8 + 4
        for number, line in enumerate(lines):
            self._text(x + w / 2, top + 16 * number, line, size=13 if number == 0 else 11, bold=number == 0)

    def arrow(
        self, *points: tuple[int, int], says: str = "", at: tuple[int, int] | None = None, dashed: bool = False
    ) -> None:
        """Draw a way through ``points``; what it ``says`` stands ``at`` that place, by default over its middle."""
        way = " ".join(f"{x},{y}" for x, y in points)
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(
            f'<polyline points="{way}" fill="none" stroke="{INK}" stroke-width="1.4"{dash} marker-end="url(#head)"/>'
        )
        if says:
            (x1, y1), (x2, y2) = points[0], points[-1]
            x, y = at or ((x1 + x2) / 2, (y1 + y2) / 2 - 6)
            self._text(x, y, says, size=11)

    def note(self, x: int, y: int, text: str) -> None:
        """Write beside what is drawn."""
        self._text(x, y, text, size=11, anchor="start")

    def _text(
        self, x: float, y: float, text: str, *, size: int, anchor: str = "middle", bold: bool = False, colour: str = INK
    ) -> None:
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"'
            f"{weight}>{escape(text)}</text>"
        )

    def svg(self) -> str:
        """Return the whole file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="Helvetica, Arial, sans-serif" role="img">\n'
            f"<title>{escape(self.title)}</title>\n"
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="{INK}"/></marker></defs>\n'
            f'<rect width="{self.width}" height="{self.height}" rx="10" fill="#ffffff"/>\n'
        )
        return head + "\n".join(self.parts) + "\n</svg>\n"


def way() -> Picture:
    """Draw the way of a message, through processes and rooms."""
    it = Picture(900, 430, "The way of a message: from delay() through the broker and the worker's rooms to a result")
    it.frame(15, 20, 180, 190, "a caller's process")
    it.box(35, 50, 140, 50, "delay(4, 4)", "checks, encodes, routes", fill=USER)
    it.box(35, 140, 140, 50, "AsyncResult", "get() waits here", fill=USER)
    it.frame(250, 20, 150, 390, "the broker")
    it.box(270, 50, 110, 50, "exchange", "routing key", fill=BROKER)
    it.box(270, 140, 110, 50, "queue", "ready", fill=BROKER)
    it.box(270, 240, 110, 50, "delays", "until due", fill=BROKER)
    it.box(270, 335, 110, 55, "dead letters", "<queue>.dead", fill=BAD)
    it.frame(455, 20, 430, 390, "a worker")
    it.box(475, 50, 110, 50, "receive", "leases, pace")
    it.box(615, 50, 110, 50, "admit", "may it run?")
    it.box(755, 50, 110, 50, "run", "hands it to a child")
    it.box(755, 245, 110, 50, "decide", "one policy")
    it.box(475, 245, 250, 50, "settle", "store the result, then acknowledge")
    it.box(755, 145, 110, 55, "child process", "your function", fill=USER)
    it.box(475, 335, 250, 55, "result store", "the broker's own, or another", fill=BROKER)
    it.arrow((175, 75), (268, 75), says="publish")
    it.arrow((270, 92), (177, 92), says="confirm", at=(222, 106), dashed=True)
    it.arrow((325, 100), (325, 138))
    it.arrow((380, 165), (430, 165), (430, 75), (473, 75), says="deliver", at=(430, 182))
    it.arrow((585, 75), (613, 75))
    it.arrow((725, 75), (753, 75))
    it.arrow((810, 100), (810, 143))
    it.arrow((810, 200), (810, 243), says="outcome", at=(842, 226))
    it.arrow((755, 270), (727, 270))
    it.arrow((475, 262), (430, 262), (430, 200), (382, 180), says="2 ack, or back", at=(478, 222))
    it.arrow((475, 280), (382, 272), says="retry", at=(430, 292))
    it.arrow((325, 240), (325, 192), says="due", at=(343, 219))
    it.arrow((490, 295), (382, 355), says="aside", at=(462, 345))
    it.arrow((600, 295), (600, 333), says="1 store", at=(628, 318))
    it.arrow((475, 375), (425, 400), (105, 400), (105, 192), says="result", at=(180, 393))
    return it


def states() -> Picture:
    """Draw the states of a task."""
    it = Picture(820, 300, "The states of a task, and what leads from one to the next")
    it.box(20, 110, 110, 45, "PENDING", "sent")
    it.box(185, 110, 110, 45, "RECEIVED", "a worker has it")
    it.box(350, 110, 110, 45, "STARTED", "it runs")
    it.box(350, 20, 110, 45, "PROGRESS", "it tells")
    it.box(350, 215, 110, 45, "RETRY", "will run again")
    it.box(670, 20, 125, 45, "SUCCESS", fill=USER)
    it.box(670, 110, 125, 45, "FAILURE", "it raised", fill=BAD)
    it.box(670, 215, 125, 45, "REVOKED", "cancelled, expired", fill=BAD)
    it.arrow((130, 132), (183, 132))
    it.arrow((295, 132), (348, 132))
    it.arrow((395, 110), (395, 67))
    it.arrow((415, 65), (415, 108))
    it.arrow((460, 122), (560, 122), (560, 42), (668, 42), says="returns", at=(612, 36))
    it.arrow((460, 132), (668, 132), says="raises; attempts used up", at=(592, 148))
    it.arrow((395, 155), (395, 213), says="raises", at=(372, 188))
    it.arrow((350, 240), (240, 240), (240, 157), says="when due", at=(290, 255))
    it.arrow((75, 155), (75, 285), (732, 285), (732, 262), says="revoked or expired before it begins", at=(400, 280))
    it.arrow((460, 148), (520, 148), (520, 238), (668, 238), says="cancelled while it runs", at=(595, 230))
    return it


def ladder() -> Picture:
    """Draw how RabbitMQ keeps delays."""
    it = Picture(860, 300, "RabbitMQ: a delay of 5 seconds walks down the ladder of queues")
    it.box(20, 30, 150, 50, "countdown=5", "key 0...101.mail", fill=USER)
    for number, (name, seconds, bit) in enumerate(
        (("level 2", "4 s", "1"), ("level 1", "2 s", "0"), ("level 0", "1 s", "1"))
    ):
        x = 230 + 200 * number
        it.box(x, 30, 130, 50, f"exchange {name}", f"this bit is {bit}", fill=BROKER)
        it.box(x, 150, 130, 50, f"queue {name}", f"expires after {seconds}", fill=BROKER if bit == "1" else PLAIN)
        if bit == "1":
            it.arrow((x + 65, 80), (x + 65, 148), says="wait", at=(x + 85, 118))
    it.arrow((170, 55), (228, 55))
    it.arrow((360, 175), (395, 175), (395, 62), (428, 62), says="after 4 s", at=(395, 195))
    it.arrow((560, 55), (628, 55), says="pass by")
    it.arrow((760, 175), (800, 175), (800, 255), (562, 255), says="after 1 s more", at=(700, 248))
    it.box(430, 230, 130, 50, "exchange due", "by the last word", fill=BROKER)
    it.arrow((430, 255), (292, 255))
    it.box(160, 230, 130, 50, "queue mail", "ready after 5 s", fill=USER)
    return it


PICTURES = {"way.svg": way, "states.svg": states, "ladder.svg": ladder}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (HERE / name).write_text(draw().svg(), encoding="utf-8")
