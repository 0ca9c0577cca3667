// Within the map of a story: what it says where nothing is asked. These take the place of the page's own.
function hints(count, total) {
  canvas.setAttribute("aria-label", `The picture with its ${count} kept patches of ${total}. Arrow keys move.`);
}
function automatic() {}
function turn(name) {
  mode = name;
  noun = null;
}
return { turn, redraw: () => (words(), fit()) };
