// The patch map. Gradio calls this once with element, trigger, props, upload and watch.
// The order of the patches is nested, so every budget is drawn here from one answer, without the server.

const figure = element.querySelector(".map");
const canvas = element.querySelector("canvas");
const readout = element.querySelector(".readout");
const hint = element.querySelector(".hint");
const OUTLINE = 1; // CSS pixels

let map = null; // what the server sent: src, size, boxes, order, kept
let picture = null; // its Image
let dimmed = null; // the picture as dropped patches look, at the canvas's size
let rank = []; // of each patch: its place in the order

const slider = () => document.querySelector("#budget input[type=range]");

function show() {
  const value = props.value;
  map = value && value.src ? value : null;
  figure.hidden = !map;
  if (!map) return describe();
  rank = new Array(map.order.length);
  map.order.forEach((patch, place) => (rank[patch] = place));
  const image = new Image();
  image.onload = () => {
    picture = image;
    fit();
  };
  image.src = map.src;
}

// Size the canvas to the picture as large as the stage allows, in the screen's own pixels.
function fit() {
  if (!map || !picture || !figure.clientWidth) return;
  const [width, height] = map.size;
  const scale = Math.min(figure.clientWidth / width, figure.clientHeight / height);
  canvas.style.width = `${width * scale}px`;
  canvas.style.height = `${height * scale}px`;
  canvas.width = Math.max(1, Math.round(width * scale * devicePixelRatio));
  canvas.height = Math.max(1, Math.round(height * scale * devicePixelRatio));
  dim();
  draw();
}

// Box edges on whole pixels, so that neighbours share them and no seam shows.
function box(patch) {
  const [sx, sy] = [canvas.width / map.size[0], canvas.height / map.size[1]];
  const [x0, y0, x1, y1] = map.boxes[patch];
  const [left, top] = [Math.round(x0 * sx), Math.round(y0 * sy)];
  return [left, top, Math.round(x1 * sx) - left, Math.round(y1 * sy) - top];
}

// Dropped patches: grey and dark. What the processor cropped away, and the model never saw: hatched as well.
function dim() {
  dimmed = document.createElement("canvas");
  [dimmed.width, dimmed.height] = [canvas.width, canvas.height];
  const c = dimmed.getContext("2d");
  c.drawImage(picture, 0, 0, dimmed.width, dimmed.height);
  c.globalCompositeOperation = "saturation";
  c.fillStyle = "#808080";
  c.fillRect(0, 0, dimmed.width, dimmed.height);
  c.globalCompositeOperation = "source-over";
  c.fillStyle = "rgba(14, 18, 26, 0.72)";
  c.fillRect(0, 0, dimmed.width, dimmed.height);
  const unseen = new Path2D();
  unseen.rect(0, 0, dimmed.width, dimmed.height);
  map.boxes.forEach((_, patch) => unseen.rect(...box(patch)));
  c.clip(unseen, "evenodd");
  c.strokeStyle = "rgba(255, 255, 255, 0.25)";
  c.lineWidth = devicePixelRatio;
  for (let x = -dimmed.height; x < dimmed.width; x += 9 * devicePixelRatio) {
    c.beginPath();
    c.moveTo(x, dimmed.height);
    c.lineTo(x + dimmed.height, 0);
    c.stroke();
  }
}

function cropped() {
  const [width, height] = map.size;
  const [left, top] = [0, 1].map((edge) => Math.min(...map.boxes.map((box) => box[edge])));
  const [right, bottom] = [2, 3].map((edge) => Math.max(...map.boxes.map((box) => box[edge])));
  return left > 1 || top > 1 || right < width - 1 || bottom < height - 1;
}

function draw() {
  describe();
  if (!map || !dimmed) return;
  const c = canvas.getContext("2d");
  const kept = map.order.slice(0, budget()).map(box);
  c.drawImage(dimmed, 0, 0);
  c.fillStyle = getComputedStyle(element).getPropertyValue("--pruned");
  const rim = OUTLINE * devicePixelRatio;
  for (const [x, y, w, h] of kept) c.fillRect(x - rim, y - rim, w + 2 * rim, h + 2 * rim);
  const windows = new Path2D();
  for (const rect of kept) windows.rect(...rect);
  c.save();
  c.clip(windows);
  c.drawImage(picture, 0, 0, canvas.width, canvas.height);
  c.restore();
}

function budget() {
  const chosen = slider() ? Number(slider().value) : map ? map.kept : 0;
  return map ? Math.min(chosen, map.order.length) : chosen;
}

function describe() {
  const range = slider();
  if (!range) return;
  const total = map ? map.order.length : Number(range.max);
  const kept = Math.min(budget(), total);
  const share = (100 * kept) / total;
  const ratio = total / kept;
  const times = ratio < 10 ? ratio.toFixed(1) : Math.round(ratio);
  readout.replaceChildren(
    bold(kept),
    ` of ${total} visual tokens`,
    part(`${share < 1 ? share.toFixed(1) : Math.round(share)} %`),
    part(kept === total ? "all kept" : `${times}× fewer`),
  );
  const notes = [];
  if (map && kept !== map.kept) notes.push(`The answer used ${map.kept}. Ask again to answer with ${kept}.`);
  if (map && cropped()) notes.push("Hatched parts were cut off before the model saw the picture.");
  hint.textContent = notes.join(" ");
  canvas.setAttribute("aria-label", map ? `The picture with its ${kept} kept patches of ${total} bright, the others dark` : "");
}

function bold(text) {
  const b = document.createElement("b");
  b.textContent = text;
  return b;
}

function part(text) {
  const span = document.createElement("span");
  span.textContent = text;
  return span;
}

// A picture dropped on the stage or pasted anywhere on the page takes the place of the one before.
async function take(file) {
  try {
    const { path, url } = await upload(file);
    const meta = { _type: "gradio.FileData" };
    props.value = { file: { path, url, orig_name: file.name, mime_type: file.type, size: file.size, meta } };
    trigger("picture");
  } catch (error) {
    hint.textContent = "The picture could not be uploaded: it may be too large.";
  }
}

const picked = (transfer) => [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));

document.addEventListener("paste", (event) => {
  const file = picked(event.clipboardData);
  if (!file) return;
  event.preventDefault();
  event.stopPropagation();
  take(file);
}, true);

for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    if (!event.target.closest?.("#stage")) return;
    event.preventDefault();
    const file = name === "drop" && picked(event.dataTransfer);
    if (!file) return;
    event.stopPropagation();
    take(file);
  }, true);
}

document.addEventListener("input", (event) => {
  if (event.target.closest?.("#budget")) draw();
});
element.querySelector(".change").addEventListener("click", () => trigger("another"));
new ResizeObserver(fit).observe(figure);
watch("value", show);
(function start() {
  if (slider()) show();
  else requestAnimationFrame(start); // the slider is drawn after the map
})();
