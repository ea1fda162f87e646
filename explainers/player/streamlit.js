// The player as a Streamlit component: one player for each place on the page, new data loads into it.

const playersByPlace = new WeakMap();

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  let entry = playersByPlace.get(parentElement);
  if (!entry) {
    const player = mountPlayer(parentElement, (event) => setTriggerValue("click", event), (step) => setStateValue("step", step));
    entry = { player, data: null };
    playersByPlace.set(parentElement, entry);
  }
  if (data && data !== entry.data) {
    entry.data = data;
    entry.player.load(data);
  }
  return () => {
    if (parentElement.isConnected) return; // a rerun, not a farewell
    entry.player.destroy();
    playersByPlace.delete(parentElement);
  };
}
