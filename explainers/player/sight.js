// What a player does while it is in sight of the reader, and what it does not do out of sight.

/** @import { Player } from "./types.d.ts" */

const SHARE = 0.4; // of the player that must be in sight

/**
 * Watches a player. A card, or a player that plays by itself, pauses out of sight; the latter goes on when it is in sight
 * again, until a reader touches its controls.
 * @param {Player} player
 */
export function sightOf(player) {
  const { root, playback } = player;
  let inSight = false;
  let alone = false; // plays by itself
  let due = false; // is to play as soon as it is in sight
  const observer = new IntersectionObserver((entries) => {
    inSight = entries[entries.length - 1].intersectionRatio >= SHARE;
    follow();
  }, { threshold: SHARE });
  observer.observe(root);
  root.addEventListener("pointerdown", (event) => { if (event.target instanceof Element && event.target.closest(".controls")) touched(); }, { capture: true });
  root.addEventListener("keydown", touched, { capture: true });

  function touched() {
    alone = due = false;
  }

  function follow() {
    if (inSight) {
      if (due && !player.still.matches) player.play();
      due = false;
    } else if (playback.playing && (player.isCard() || player.shown?.options.plays)) {
      due = alone; // not where a reader had paused it
      player.pause();
    }
  }

  return {
    /** A first scene is on the screen. @param {boolean} plays whether it plays by itself */
    opened(plays) {
      alone = due = plays;
      follow();
    },
    stop: () => observer.disconnect(),
  };
}
