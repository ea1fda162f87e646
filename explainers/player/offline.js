// The player as one file: the scene is in the document as base64.

import { find } from "./elements.js";
import { mountPlayer } from "./shell.js";

const packed = atob(find(document, "#scene").textContent.trim());
const page = { onEvent: () => {}, onStep: () => {}, site: null, follow: () => {} };
const offline = mountPlayer(find(document, "#stage"), page);
offline.load(Uint8Array.from(packed, (character) => character.charCodeAt(0)));
