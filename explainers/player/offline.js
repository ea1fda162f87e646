// The player as one file: the scene is in the document as base64.

import { mountPlayer } from "./shell.js";

const packed = atob(document.getElementById("scene").textContent.trim());
const page = { onEvent: () => {}, onStep: () => {}, site: null, content: null };
const offline = mountPlayer(document.getElementById("stage"), page);
offline.load(Uint8Array.from(packed, (character) => character.charCodeAt(0)));
