// What the visitor does: move, click, type, paste and drop; and what the page then asks the server for.

function redraw() {
  draw();
  readout();
  if (mode !== "kept") legend();
  find(".edit").hidden = !toggled.size;
  if (find(".table").open) table();
}

function setBudget(tokens) {
  const range = slider();
  range.value = tokens;
  range.dispatchEvent(new Event("input", { bubbles: true }));
  setTimeout(() => trigger("release")); // once the slider has taken its new value
}

function patchAt(event) {
  const area = canvas.getBoundingClientRect();
  const x = frame[0] + ((event.clientX - area.left) / area.width) * (frame[2] - frame[0]);
  const y = frame[1] + ((event.clientY - area.top) / area.height) * (frame[3] - frame[1]);
  const found = map.boxes.findIndex(
    ([x0, y0, x1, y1], patch) => x >= x0 && x < x1 && y >= y0 && y < y1 && shownHere(patch),
  );
  return found < 0 ? null : found;
}

function look(patch) {
  if (patch === cursor) return;
  cursor = patch;
  draw();
  about();
}

function toggle(patch) {
  if (patch === null) return;
  toggled.has(patch) ? toggled.delete(patch) : toggled.add(patch);
  if (!kept().length) toggled.delete(patch); // no answer is given with nothing
  redraw();
  about();
}

canvas.addEventListener("pointermove", (event) => map && look(patchAt(event)));
canvas.addEventListener("pointerleave", () => look(null));
canvas.addEventListener("click", (event) => map && !own && toggle(patchAt(event)));
canvas.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!map || !(step || [" ", "Enter", "Escape"].includes(event.key))) return;
  event.preventDefault();
  if (event.key === "Escape") return look(null);
  if (cursor === null) return look(map.boxes.findIndex((_, patch) => shownHere(patch)));
  if (step) look(neighbour(cursor, step));
  else if (!own) toggle(cursor);
});

// The nearest patch whose centre lies that way.
function neighbour(from, [dx, dy]) {
  const centre = (patch) => [(map.boxes[patch][0] + map.boxes[patch][2]) / 2, (map.boxes[patch][1] + map.boxes[patch][3]) / 2];
  const [x, y] = centre(from);
  let [best, least] = [from, Infinity];
  map.boxes.forEach((_, patch) => {
    if (patch === from || !shownHere(patch)) return;
    const [a, b] = centre(patch);
    const ahead = (a - x) * dx + (b - y) * dy;
    const aside = Math.abs((a - x) * dy) + Math.abs((b - y) * dx);
    if (ahead > 0.01 && ahead + 3 * aside < least) [best, least] = [patch, ahead + 3 * aside];
  });
  return best;
}

find(".exactly").addEventListener("click", () => trigger("apply", { indices: kept() }));
find(".undo").addEventListener("click", () => {
  toggled = new Set();
  redraw();
  about();
});
find(".auto").addEventListener("click", () => setBudget(map.auto));
find(".table").addEventListener("toggle", () => map && find(".table").open && table());
find(".change").addEventListener("click", () => trigger("clear"));

document.addEventListener("input", (event) => {
  if (!(own ?? event.target.closest?.("#budget"))?.contains(event.target)) return;
  touched = true;
  toggled = new Set();
  redraw();
});

// A picture dropped on the stage or pasted anywhere on the page takes the place of the one before.
async function take(file) {
  try {
    const { path, url } = await upload(file);
    const meta = { _type: "gradio.FileData" };
    props.value = { file: { path, url, orig_name: file.name, mime_type: file.type, size: file.size, meta } };
    trigger("upload");
  } catch (error) {
    find(".hint").textContent = "The picture could not be uploaded: it may be too large.";
  }
}

const picked = (transfer) => [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));

document.addEventListener("paste", (event) => {
  const file = picked(event.clipboardData);
  if (!file || own) return;
  event.preventDefault();
  event.stopPropagation();
  take(file);
}, true);

for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    if (own || !event.target.closest?.("#stage")) return;
    event.preventDefault();
    const file = name === "drop" && picked(event.dataTransfer);
    if (!file) return;
    event.stopPropagation();
    take(file);
  }, true);
}

new ResizeObserver(() => {
  fit();
  automatic();
}).observe(figure);
watch("value", show);
(function start() {
  if (slider()) show();
  else requestAnimationFrame(start); // the slider is drawn after the map
})();
