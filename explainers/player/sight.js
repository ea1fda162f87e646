// A player that plays by itself while it is in sight, until a reader touches it.

/** @import { Player } from "./types.d.ts" */

const SHARE = 0.4; // of the player that must be in sight

/**
 * Watches a player. Returns what tells it that a scene came, and what ends the watch.
 * @param {Player} player
 */
export function sightOf(player) {
  const { root, playback } = player;
  let inSight = false;
  let alone = false; // plays by itself
  const observer = new IntersectionObserver((entries) => {
    inSight = entries[entries.length - 1].isIntersecting;
    follow();
  }, { threshold: SHARE });
  observer.observe(root);
  for (const type of ["pointerdown", "keydown"]) root.addEventListener(type, () => { alone = false; }, { capture: true });

  function follow() {
    if (!alone) return;
    if (inSight && !player.still.matches) player.play();
    else if (playback.playing) player.pause();
  }

  return {
    /** A first scene is on the screen. @param {boolean} plays whether it plays by itself */
    opened(plays) {
      alone = plays;
      follow();
    },
    stop: () => observer.disconnect(),
  };
}
