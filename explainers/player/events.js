// What a player hears: keys, pointers, sizes and themes, and the page's address and screen.

import { blur, changesControl, listensTo, makeActive, meaningOf, pageControl, takeKeys } from "./keys.js";

/** @import { FullScreen, Player } from "./types.d.ts" */

const NARROW = 600; // below this width in px the columns are one below the other
const WIDE = 1280; // from this width in px on the code has room beside the picture

/**
 * Connects a player to the document. Returns what disconnects it again.
 * @param {Player} player
 * @param {FullScreen} fullScreen
 * @param {() => void} follow follows the link of the box around a card
 * @returns {() => void}
 */
export function connect(player, fullScreen, follow) {
  const { root } = player;
  const leaving = new AbortController();
  const capture = { capture: true, signal: leaving.signal };
  const { onPointer, onKey } = controlEvents(player);
  document.addEventListener("keydown", onKey, capture);
  for (const type of ["pointerdown", "pointerup"]) document.addEventListener(type, onPointer, capture);
  document.addEventListener("fullscreenchange", fullScreen.fit, { signal: leaving.signal });
  window.addEventListener("resize", fullScreen.refit, { signal: leaving.signal });
  window.addEventListener("popstate", player.followAddress, { signal: leaving.signal });
  ownEvents(player, follow);
  const sizes = sizesOf(player);
  sizes.observe(root);
  return () => {
    sizes.disconnect();
    leaving.abort();
  };
}

/** The keys of the player, and what the reader does with the controls of the page. @param {Player} player */
function controlEvents(player) {
  let pressed = false; // a control of the page

  /** @param {Event} event */
  function onPointer(event) {
    if (event.type === "pointerdown") {
      pressed = pageControl(event.composedPath()[0], player.root);
      if (pressed && player.playback.playing && !player.isCard()) player.address.write(); // a link that is copied while it plays
    } else if (pressed) player.reportStep();
  }

  /** Does what a key asks the player for; whether it asks for anything. @param {KeyboardEvent} event */
  function obeys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !player.shown) return false;
    if (event.key === "Escape") blur(document.activeElement); // gives the keys back to the player
    const meaning = listensTo(event, player.root, player.isCard()) ? meaningOf(event.key, player.playback.step, player.shown.scene) : null;
    if (meaning === null) return false;
    player.act(meaning);
    return true;
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (obeys(event)) {
      event.preventDefault();
      event.stopImmediatePropagation();
    } else if (changesControl(event.key) && pageControl(event.composedPath()[0], player.root)) player.reportStep();
  }

  return { onPointer, onKey };
}

/** A card moves under the pointer or the focus, rests at its start without, and leads to its page. @param {Player} player @param {() => void} follow */
function ownEvents(player, follow) {
  const { root } = player;
  const enter = () => { if (player.isCard() && !player.still.matches) player.play(); };
  const leave = () => { if (player.shown && player.isCard()) player.goTo(player.shown.scene.start); };
  root.addEventListener("pointerenter", () => { if (!player.isCard()) takeKeys(root); enter(); });
  root.addEventListener("pointerleave", () => { player.tip.hide(); leave(); });
  root.addEventListener("focusin", () => { if (!player.isCard()) makeActive(root); enter(); });
  root.addEventListener("focusout", leave);
  root.addEventListener("click", () => { if (player.isCard()) follow(); });
  // A change of theme changes inherited colours; the transition on `color` (player.css) reports it.
  root.addEventListener("transitionend", (event) => { if (event.target === root && player.themeChanged()) player.redrawSoon(); });
}

/** @param {Player} player */
function sizesOf(player) {
  let last = "";
  return new ResizeObserver((entries) => {
    const entry = entries.find((each) => each.target === player.root);
    if (!entry) return;
    const width = Math.round(entry.contentRect.width);
    const narrow = width < NARROW && !player.isCard();
    player.root.classList.toggle("narrow", narrow);
    player.root.classList.toggle("beside", !narrow && (player.codeBeside ?? width >= WIDE));
    const size = narrow ? `${width}` : `${width} ${window.innerHeight}`; // on a phone the window grows while one scrolls
    if (size === last || !player.shown) return;
    last = size;
    player.redrawSoon();
  });
}
