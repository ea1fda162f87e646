// The player on the whole screen: picture, sentence and controls as large as it allows; the code waits outside.

import { find } from "./elements.js";

/** @import { Player } from "./types.d.ts" */

const WIDEST = 1180; // px at which everything has its normal size
const LARGEST = 2.5; // times its normal size
const FLATTEST = 0.76; // of the height of charts
const SMALLEST = 0.6;

/**
 * On the site the whole page fills the screen, and its style sheet leaves only the controls and the picture; a page that
 * holds nothing but the player has no controls to keep.
 * @param {Player} player
 * @param {Element | null} site the element of the page around the player
 */
export function fullScreenOf(player, site) {
  const { root } = player;
  let above = 0; // px of the whole screen that the controls take

  const isFull = () => Boolean(document.fullscreenElement) && player.shown?.options.mode !== "card";

  /** @param {number} factor */
  function zoomTo(factor) {
    player.zoom = factor;
    root.style.zoom = factor === 1 ? "" : String(factor);
    player.redraw();
  }

  /** @param {number} share */
  function squeeze(share) {
    player.flatness = share;
    player.redraw();
  }

  function fit() {
    if (!player.shown) return;
    const full = isFull();
    root.classList.toggle("full", full);
    player.shown.transport.showFull(full);
    squeeze(1);
    zoomTo(full ? Math.min(window.innerWidth / WIDEST, LARGEST) : 1);
    above = site && full ? root.getBoundingClientRect().top : 0;
    if (full) shrink(window.innerHeight - above - (site ? 16 : 0));
  }

  /** Makes picture and dock fit into a height in px: flatter charts first, whose letters stay as large; then all smaller. @param {number} room */
  function shrink(room) {
    const [stage, dock] = [find(root, ".stage"), find(root, ".dock")];
    const fits = () => room / (player.zoom * (stage.offsetHeight + dock.offsetHeight + (site ? 28 : 50)));
    while (fits() < 1 && player.flatness > FLATTEST) squeeze(player.flatness * Math.max(0.9, Math.min(0.98, fits())));
    // What is drawn smaller is wider for its height, and may grow: a few rounds until all of it fits.
    for (let round = 0; round < 5 && fits() < 1; round++) zoomTo(Math.max(SMALLEST, player.zoom * fits()));
  }

  return {
    isFull,
    fit,
    toggle() {
      if (document.fullscreenElement) document.exitFullscreen();
      else (site ? document.documentElement : root).requestFullscreen();
    },
    /** Fits again if it fills the screen. */
    refit() {
      if (isFull()) fit();
    },
    /** Fits again if a row of controls has come or gone above the player. */
    refitIfMoved() {
      if (isFull() && site && Math.abs(root.getBoundingClientRect().top - above) > 2) fit();
    },
  };
}
