// The one tooltip of the page.
const tip = /** @type {HTMLElement} */ (document.getElementById("tip"));
const MARGIN = 12;

/** Shows lines of text beside a point of the window. @param {number} x @param {number} y @param {readonly string[]} lines */
export function showTip(x, y, lines) {
  tip.replaceChildren(...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = x + MARGIN + width > window.innerWidth ? x - MARGIN - width : x + MARGIN;
  const top = y + MARGIN + height > window.innerHeight ? y - MARGIN - height : y + MARGIN;
  tip.style.left = `${Math.max(0, left)}px`;
  tip.style.top = `${Math.max(0, top)}px`;
}

export function hideTip() {
  tip.hidden = true;
}
