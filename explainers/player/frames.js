// When the picture is drawn: at once, or with the browser's next frame.

import { readTheme, sizeCanvas } from "./drawing.js";
import { fitPanels } from "./fit.js";
import { countText } from "./transport.js";

/** @import { Player, Spec } from "./types.d.ts" */

const MOST_DRAW_TIMES = 600;

/** What a picture without a title is called. @param {Spec} spec */
const nameOf = ({ title, name }) => (title ? "" : name.replaceAll("_", " "));

/**
 * What draws a player.
 * @param {Player} player
 * @param {() => number} origin the step of the whole run with which the scene begins
 * @param {(now: number) => void} drawn called after each drawing
 */
export function framesOf(player, origin, drawn) {
  const { root, playback } = player;
  /** @type {number[]} in milliseconds */
  const drawTimes = [];
  let frame = 0;

  /** Takes the theme and the widths anew. */
  function measure() {
    if (!player.shown) return;
    player.shown.theme = readTheme(root);
    root.style.setProperty("--current", player.shown.theme.inks.current);
    fitPanels(player);
  }

  function redraw() {
    measure();
    render(performance.now());
  }

  function redrawSoon() {
    measure();
    wake();
  }

  /** @param {number} now */
  function render(now) {
    if (!player.shown) return;
    const { scene, theme, words, transport } = player.shown;
    const started = performance.now();
    const state = playback.state(now, player.still.matches);
    for (const panel of player.panels) {
      if ("element" in panel) panel.update(state);
      else if (panel.width > 0) {
        panel.draw(sizeCanvas(panel.canvas, panel.width, panel.height, player.zoom), theme, state);
        panel.canvas.setAttribute("aria-label", nameOf(panel.spec) + panel.describe(state));
      }
    }
    words.update(playback.step);
    transport.showStep(countText(scene, playback, origin(), root.classList.contains("narrow"), now));
    drawn(now);
    if (drawTimes.push(performance.now() - started) > MOST_DRAW_TIMES) drawTimes.shift();
    if (state.mix < 1) wake();
  }

  function wake() {
    if (!frame) frame = requestAnimationFrame(tick);
  }

  /** @param {number} now */
  function tick(now) {
    frame = 0;
    if (playback.playing && playback.advance(now)) player.pause();
    render(now);
    if (playback.playing) wake();
  }

  return { redraw, redrawSoon, wake, drawTimes, stop: () => cancelAnimationFrame(frame) };
}
