"""
The demo's ``index.html``: one file without scripts, for light and dark.
"""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from apimodels_async.cli.demo_board import Board, Item

STYLE: Final = """
:root { color-scheme: light dark; --ground: #f6f5f2; --card: #fff; --ink: #1d1d1f;
  --soft: #6b6b70; --line: #e2e0da; --bad: #b3261e; --accent: #0b6e4f; }
@media (prefers-color-scheme: dark) { :root { --ground: #131416; --card: #1d1f22;
  --ink: #ececee; --soft: #9a9aa2; --line: #2c2e33; --bad: #ff8a80;
  --accent: #5fd3a8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1500px; padding: 2.5rem 1.5rem 4rem;
  background: var(--ground); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .8rem; }
p { color: var(--soft); margin: 0; max-width: 70ch; }
dl.sums { display: flex; flex-wrap: wrap; gap: .8rem 2.4rem; margin: 1.4rem 0 2rem; }
dl.sums dt { color: var(--soft); font-size: .8rem; }
dl.sums dd { margin: 0; font-size: 1.45rem; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.grid { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); }
figure { margin: 0; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; overflow: hidden; }
figure img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: cover;
  background: var(--line); }
figure a:hover img { opacity: .9; }
figcaption { padding: .6rem .8rem .75rem; }
figcaption b { display: block; font-weight: 500; }
.facts { display: flex; justify-content: space-between; gap: .5rem;
  color: var(--soft); font-size: .8rem; margin-top: .25rem;
  font-variant-numeric: tabular-nums; }
.facts span:last-child { white-space: nowrap; }
.facts span:first-child { overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
.failed { border-left: 3px solid var(--bad); background: var(--card);
  padding: .7rem 1rem; border-radius: 4px; margin-bottom: .6rem; }
.failed strong { color: var(--bad); }
"""

PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<h1>$title</h1>
<p>Drawn by the emulator inside apimodels-async: no key, no network, no real money.</p>
<dl class="sums">$sums</dl>
<main class="grid">
$cards
</main>
$failures
</body>
</html>
""")

CARD: Final = Template("""\
<figure>
<a href="$file"><img src="$file" alt="$prompt" loading="lazy"></a>
<figcaption><b>$number. $prompt</b>
<div class="facts"><span title="$model">$model</span>
<span>$seconds s &middot; $$$cost</span></div>
</figcaption>
</figure>
""")


def page(board: Board, wall_s: float) -> str:
    """
    Return the page about *board*; pictures are named relative to it.
    """
    saved, failed = board.saved, board.failed
    sums = {
        "pictures": str(len(saved)),
        "wall time": f"{wall_s:.1f} s",
        "one after another": f"{board.service_s:.0f} s",
        "spent": f"${board.cost:.2f}",
        "failed, not charged": str(len(failed)),
    }
    return PAGE.substitute(
        title=f"{len(saved)} pictures in {wall_s:.1f} seconds",
        style=STYLE,
        sums="".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
            for name, value in sums.items()
        ),
        cards="".join(map(_card, saved)),
        failures=_failures(failed),
    )


def _card(item: Item) -> str:
    name = item.path.name if item.path else ""
    return CARD.substitute(
        number=item.number,
        file=quote(name),
        prompt=escape(item.order.title),
        model=escape(item.order.model),
        seconds=f"{item.service_s:.2f}",
        cost=f"{item.cost:.3f}",
    )


def _failures(failed: list[Item]) -> str:
    if not failed:
        return ""
    told = "".join(
        f'<p class="failed"><strong>{escape(str(item.error))}</strong><br>'
        f"{item.number}. {escape(item.order.title)} ({escape(item.order.model)})</p>\n"
        for item in failed
    )
    return f"<h2>Failed, with the reason the API gave</h2>\n{told}"
