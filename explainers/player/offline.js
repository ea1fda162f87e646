// The player as one file: the scene stands in the document as base64.

const packed = atob(document.getElementById("scene").textContent.trim());
const offline = mountPlayer(document.getElementById("stage"), () => {});
offline.load(Uint8Array.from(packed, (character) => character.charCodeAt(0)));
