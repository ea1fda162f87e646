// The step as a PNG: panels, titles and the sentence, without controls and code.

import { contextOf, css } from "./drawing.js";
import { find, make } from "./elements.js";

/** @import { Context, Player, Shown } from "./types.d.ts" */
/** @typedef {ReturnType<typeof placeOf>} Place */

const SHARPNESS = 2; // pixels of the picture for one of the screen

/** Saves the step on the screen. @param {Player} player */
export async function savePicture(player) {
  const { root, shown, playback, zoom } = player;
  if (!shown) return;
  const { scene, theme, words } = shown;
  const stage = find(root, ".stage");
  const height = placeOf(words.element, player).bottom + 12;
  const width = root.getBoundingClientRect().width / zoom;
  const canvas = make("canvas", { width: SHARPNESS * width, height: SHARPNESS * height });
  const context = contextOf(canvas);
  context.scale(SHARPNESS, SHARPNESS);
  context.fillStyle = css(theme.ground);
  context.fillRect(0, 0, width, height);
  const { step } = playback;
  for (const panel of player.panels) {
    if (!("canvas" in panel) || !stage.contains(panel.canvas)) continue;
    const at = placeOf(panel.canvas, player);
    context.save();
    context.translate(at.left, at.top);
    panel.draw(context, theme, { step, previous: step, mix: 1 });
    context.restore();
  }
  for (const title of stage.querySelectorAll(".title b, .title small")) paintText(context, title, placeOf(title, player));
  await paintWords(context, shown, placeOf(words.element, player));
  canvas.toBlob((blob) => {
    if (!blob) return; // more pixels than the browser can save
    const link = make("a", { href: URL.createObjectURL(blob), download: `${scene.name}-step-${step + 1}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

/** The place of an element in the player, in its own unzoomed pixels. @param {Element} element @param {Player} player */
function placeOf(element, { root, zoom }) {
  const box = root.getBoundingClientRect();
  const at = element.getBoundingClientRect();
  const [left, top] = [(at.left - box.left) / zoom, (at.top - box.top) / zoom];
  return { left, top, right: left + at.width / zoom, bottom: top + at.height / zoom, width: at.width / zoom, height: at.height / zoom };
}

/** @param {Context} context @param {Element} element @param {Place} at */
function paintText(context, element, at) {
  const style = getComputedStyle(element);
  context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  context.fillStyle = style.color;
  context.textBaseline = "top";
  context.textAlign = "left";
  const line = Number.parseFloat(style.fontSize) * 1.4;
  let [x, y] = [at.left, at.top + line * 0.1];
  for (const word of element.textContent.split(/(?<=\s)/)) {
    const width = context.measureText(word.trimEnd()).width;
    if (x + width > at.right + 1 && x > at.left) [x, y] = [at.left, y + line];
    context.fillText(word, x, y);
    x += context.measureText(word).width;
  }
}

/**
 * The sentence and its formula: only the browser can draw MathML, so it does, as an SVG image.
 * @param {Context} context @param {Shown} shown @param {Place} at
 */
async function paintWords(context, { words, theme }, at) {
  const style = getComputedStyle(words.element);
  const look = `font:${style.fontSize}/${style.lineHeight} ${style.fontFamily.replace(/"/g, "'")};color:${style.color}`;
  const rules = `p{margin:0}strong{color:${theme.inks.current}}.formula{margin-left:10px;font-size:17px}`;
  const serializer = new XMLSerializer();
  const text = [...words.live.childNodes].map((node) => serializer.serializeToString(node)).join("");
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${at.width}" height="${at.height}"><style>${rules}</style>` +
    `<foreignObject width="100%" height="100%"><div xmlns="http://www.w3.org/1999/xhtml" style="${look}">${text}</div></foreignObject></svg>`;
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  context.drawImage(image, at.left, at.top, at.width, at.height);
}
