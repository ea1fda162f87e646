// The step in the page's address. Neither reading nor writing it makes the page run again.

const A_MOMENT = 250; // milliseconds after a pause

/**
 * The step that a query string asks for; null for none.
 * @param {string} query
 * @param {string} name of the parameter; "" for a player without one
 */
export function stepIn(query, name) {
  const text = name ? new URLSearchParams(query).get(name) : null;
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null;
}

/**
 * The same address with another step; null where it names this step already.
 * @param {string} address
 * @param {string} name
 * @param {number} step
 */
export function withStep(address, name, step) {
  const url = new URL(address);
  if (!name || url.searchParams.get(name) === String(step)) return null;
  url.searchParams.set(name, String(step));
  return url.href;
}

/**
 * Keeps the address of the page in step with a player.
 * @param {{name: () => string, step: () => number, playing: () => boolean}} player
 */
export function addressOf(player) {
  let timer = 0;

  function write() {
    const address = withStep(window.location.href, player.name(), player.step());
    if (address) window.history.replaceState(window.history.state, "", address);
  }

  return {
    read: () => stepIn(window.location.search, player.name()),
    write,
    /** A moment after the reader pauses, the address names the step; no rerun, no new entry in the history. */
    remember() {
      clearTimeout(timer);
      timer = window.setTimeout(() => { if (!player.playing()) write(); }, A_MOMENT);
    },
    forget: () => clearTimeout(timer),
  };
}
