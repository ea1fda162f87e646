"""A scene as one HTML file that plays without a server and without a network. Knows no Streamlit."""

from __future__ import annotations

import base64
import html

from explainers.drawing.scene import Scene
from explainers.player.source import Options, blob, javascript, stylesheet

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
body {{ margin: 0; background: Canvas; color-scheme: light dark; }}
main {{ max-width: 1600px; margin: 8px auto; padding: 0 8px; }}
</style>
</head>
<body class="player-page">
<main id="stage"></main>
<script type="text/plain" id="scene">{scene}</script>
<script type="module">
{script}
</script>
</body>
</html>
"""


def page(scene: Scene) -> str:
    """`scene` as a self-contained HTML document: the player's code, its style and the data."""
    return page_of_bytes(scene.to_bytes(), scene.title)


def page_of_bytes(scene: bytes, title: str) -> str:
    """As `page`, for a scene that is already packed (`Scene.to_bytes`)."""
    packed = base64.b64encode(blob(scene, Options(address="step"))).decode()
    return PAGE.format(
        title=html.escape(title), style=stylesheet(), scene=packed, script=javascript("offline.js")
    )
