// Presenting: the player on the whole screen, with letters for the back row.

/** @import { Player } from "./types.d.ts" */

const ENLARGED = 1.5; // times the normal size, at least: letters of 12 px become 18 px
const [WIDE, HIGH] = [1040, 585]; // px of a screen on which that is enough; on larger ones everything grows with the screen
const LESS = 0.96;
const MOST_ROUNDS = 10; // of making everything smaller until it fits

/**
 * On the site the whole page fills the screen, and its style sheet leaves only the controls and the picture; a page that
 * holds nothing but the player has no controls to keep.
 * @param {Player} player
 * @param {Element | null} site the element of the page around the player
 */
export function fullScreenOf(player, site) {
  const { root } = player;

  const isFull = () => Boolean(document.fullscreenElement) && !player.isCard();

  /** @param {number} factor */
  function zoomTo(factor) {
    player.zoom = factor;
    root.style.zoom = factor === 1 ? "" : String(factor);
    root.style.setProperty("--zoom", String(factor));
    player.redraw();
  }

  function fit() {
    if (!player.shown) return;
    const full = isFull();
    root.classList.toggle("full", full);
    player.shown.transport.showFull(full);
    zoomTo(full ? Math.max(ENLARGED, Math.min(window.innerWidth / WIDE, window.innerHeight / HIGH)) : 1);
    for (let round = 0; full && round < MOST_ROUNDS && overflows(); round++) zoomTo(player.zoom * LESS);
  }

  function overflows() {
    const stage = root.querySelector(".stage");
    return stage !== null && stage.scrollHeight > stage.clientHeight + 1;
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
  };
}
